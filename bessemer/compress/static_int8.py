"""Static int8: weights and the inputs of products as 8-bit integers, the scales of inputs fixed by training rows.

A fixed scale makes a row's answer independent of the rows beside it, so rows are scored in batches, which dynamic_int8 cannot. Source:
Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
https://arxiv.org/abs/1712.05877; calibration as in https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from bessemer.compress import _graph as graphs
from bessemer.compress._calibrate import Range, needed, scales
from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Calibration


class StaticInt8(Config):
    """How weights and activations become integers."""

    calibration: Literal["min_max", "percentile", "entropy"] = "min_max"
    """Which range of an activation is covered: all that training rows show, all but the outermost values, or what loses least
    information."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Share of the values, in percent, that the calibration `percentile` covers."""
    per_channel: bool = True
    """One scale for each output of a projection instead of one for the whole matrix."""
    reduce_range: bool = True
    """Use 7 of the 8 bits of a weight; see dynamic_int8."""
    embeddings: bool = True
    """Store tables of embeddings as int8 with a scale a row."""


@register("compress", "static_int8")
def static_int8(config: StaticInt8) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (float graph, file to write, rows to calibrate on) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
        model = graphs.load_graph(source)
        found, lookups = graphs.floats_left(model, source), list(graphs.tables(model)) if config.embeddings else []
        needed(calibration, "static_int8")
        names = sorted({product.x for product in found})
        chosen = scales(model, names, calibration, Range(config.calibration, config.percentile))
        edit = graphs.Edit()
        for product in found:
            largest = graphs.REDUCED if config.reduce_range else graphs.FULL
            graphs.static_product(product, chosen[product.x], edit, largest, config.per_channel)
        for table in lookups:
            graphs.int8_table(table, edit)
        graphs.apply(model, edit)
        graphs.save_graph(model, target)
        return {**graphs.facts(source, target), "matmuls": len(found), "embeddings": len(lookups), "calibration": config.calibration,
                "rows": calibration.rows}

    return compress
