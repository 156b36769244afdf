"""Mixed int8: as static_int8, but the products that hurt most stay float until the answers agree as often as wished.

Sensitivity is measured, one product at a time, on training rows (Wu et al. 2020, "Integer quantization for deep learning inference",
section 5.2 "partial quantization", https://arxiv.org/abs/2004.09602).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bessemer.compress import _graph as graphs
from bessemer.compress._calibrate import Range, needed, scales
from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Calibration

if TYPE_CHECKING:
    import numpy as np
    import onnx


class MixedInt8(Config):
    """How often the answers must agree, and how the rest becomes integers."""

    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.995
    """Part of the calibration rows on which the label must be that of the float graph; of a table's raw outputs, the share of their
    variance that must be kept."""
    sensitivity_rows: Annotated[int, Field(ge=1)] = 64
    """Calibration rows at most on which the harm of each product alone is measured."""
    calibration: Literal["min_max", "percentile", "entropy"] = "min_max"
    """Which range of an activation is covered; see static_int8."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Share of the values, in percent, that the calibration `percentile` covers."""
    reduce_range: bool = True
    """Use 7 of the 8 bits of a weight; see dynamic_int8."""
    embeddings: bool = True
    """Store tables of embeddings as int8 with a scale a row."""


@register("compress", "mixed_int8")
def mixed_int8(config: MixedInt8) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (float graph, file to write, rows to calibrate on) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
        model = graphs.load_graph(source)
        found, lookups = graphs.floats_left(model, source), list(graphs.tables(model)) if config.embeddings else []
        needed(calibration, "mixed_int8")
        chosen = scales(model, sorted({product.x for product in found}), calibration, Range(config.calibration, config.percentile))

        def made(quantized: Sequence[graphs.Product], stored: bool) -> onnx.ModelProto:
            edit = graphs.Edit()
            for product in quantized:
                graphs.static_product(product, chosen[product.x], edit, graphs.REDUCED if config.reduce_range else graphs.FULL)
            for table in lookups if stored else ():
                graphs.int8_table(table, edit)
            return _edited(model, edit)

        batches = [graphs.feeds_of(model, batch) for batch in calibration.batches()]
        few = batches[::-(-calibration.rows // config.sensitivity_rows)]
        reference = _outputs(model, few)
        harm = {product.output: _distance(reference, _outputs(made([product], False), few)) for product in found}
        worst = sorted(found, key=lambda product: -harm[product.output])
        reference = _outputs(model, batches)
        if lookups and _agreement(reference, _outputs(made([], True), batches)) < config.min_agreement:
            lookups = []

        def agrees(floats: int) -> bool:
            return _agreement(reference, _outputs(made(_but(found, worst[:floats]), True), batches)) >= config.min_agreement

        high = bisect.bisect_left(range(len(found)), True, key=agrees)  # as if more float products never agree less
        result = made(_but(found, worst[:high]), True)
        graphs.save_graph(result, target)
        return {**graphs.facts(source, target), "matmuls": len(found) - high, "float_matmuls": high, "embeddings": len(lookups),
                "agreement": _agreement(reference, _outputs(result, batches)), "calibration": config.calibration, "rows": calibration.rows,
                "kept_float": [product.weight for product in worst[:high]]}

    return compress


def _but(found: Sequence[graphs.Product], left: Sequence[graphs.Product]) -> list[graphs.Product]:
    """Return the products, in the graph's order, without some."""
    names = {product.output for product in left}
    return [product for product in found if product.output not in names]


def _edited(model: onnx.ModelProto, edit: graphs.Edit) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graphs.apply(copy, edit)
    return copy


def _outputs(model: onnx.ModelProto, batches: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Return the graph's answers to all rows [N, …]."""
    import numpy as np

    session = graphs.session_of(model)
    return np.concatenate([session.run(None, dict(batch))[0] for batch in batches])


def _distance(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the root mean square of the difference."""
    return float(((reference - other) ** 2).mean() ** 0.5)


def _agreement(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the part of rows with the same largest output [N, C]; of [N, members, outputs] the smallest share of variance kept."""
    if reference.ndim == 2:
        return float((reference.argmax(1) == other.argmax(1)).mean())
    first, second = reference.mean(1), other.mean(1)
    lost = ((first - second) ** 2).mean(0) / first.var(0).clip(1e-12)
    return float(1 - lost.max())
