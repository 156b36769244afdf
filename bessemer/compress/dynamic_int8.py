"""Dynamic int8: weights stored as 8-bit integers, activations quantized on the fly, by ONNX Runtime.

Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bessemer.compress import _graph as graphs
from bessemer.core.config import Config
from bessemer.core.quiet import quiet
from bessemer.core.registry import register
from bessemer.core.types import Calibration

# Activations share one scale a batch, so a row's answer would depend on its neighbours; alone, it is always the same.
_METADATA = {"rows_at_once": "1"}


class DynamicInt8(Config):
    """How weights become integers."""

    scales: Literal["batch", "row"] = "batch"
    """What shares a scale of activations: all rows that are scored together, which is fastest, but then rows are scored one at a time,
    so that none depends on its neighbours; or each token alone: closer to the float answers, and rows are scored in batches."""
    per_channel: bool = True
    """One scale for each output of a projection instead of one for the whole matrix: much closer answers at no cost."""
    reduce_range: bool = True
    """Use 7 of the 8 bits of a weight. Without VNNI instructions a processor adds two 8-bit products in 16 bits, which full-range
    weights overflow: silently wrong answers there. So that one file is right everywhere, this does not depend on the machine."""


@register("compress", "dynamic_int8", revision=2)
def dynamic_int8(config: DynamicInt8) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (float graph, file to write, rows, which it does not need) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, _calibration: Calibration) -> dict[str, Any]:
        import onnx

        model = graphs.load_graph(source)
        edit, lookups = graphs.Edit(), list(graphs.tables(model))
        for table in lookups:
            graphs.int8_table(table, edit)
        found = list(graphs.products(model)) if config.scales == "row" else []
        for product in found:
            graphs.token_product(product, edit, graphs.REDUCED if config.reduce_range else graphs.FULL, config.per_channel)
        graphs.apply(model, edit)
        if config.scales == "batch":
            model = _quantize(model, config)
            onnx.helper.set_model_props(model, _METADATA)
        graphs.save_graph(model, target)
        matmuls = sum(node.op_type == "MatMulInteger" for node in model.graph.node)
        return {**graphs.facts(source, target), "matmuls": matmuls or len(found), "embeddings": len(lookups)}

    return compress


def _quantize(model: Any, config: DynamicInt8) -> Any:
    """Return the quantized model; nothing is logged and nothing but memory and a temporary folder is used."""
    import tempfile

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # A product with a matrix for each feature would get zero points that the runtime does not take: it stays float.
    deep = {item.name for item in model.graph.initializer if len(item.dims) > 2}
    left = [node.name for node in model.graph.node if node.op_type == "MatMul" and deep & set(node.input)]
    # It advises shape inference and fusion beforehand; fused operators of its own are not quantized, so this is no loss.
    with quiet(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantize_dynamic(model, file, per_channel=config.per_channel, reduce_range=config.reduce_range, weight_type=QuantType.QInt8,
                         op_types_to_quantize=["MatMul", "Gemm"], nodes_to_exclude=left)
        return onnx.load(str(file))
