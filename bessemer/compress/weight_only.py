"""Weights as 8 or 4 bits in blocks, each with its own scale; activations are rounded block by block too, a row at a time, or stay float.

A row's answer does not depend on the rows beside it. Closest of all to the float answers at 8 bits, smallest of all at 4. Only ONNX Runtime
knows the operators (`MatMulNBits`, `GatherBlockQuantized`):
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
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


class WeightOnly(Config):
    """How many bits, for how many weights a scale, and how the products are computed."""

    bits: Literal[8, 4] = 8
    """Bits of a weight."""
    block_size: Literal[16, 32, 64, 128, 256] = 128
    """Weights that share a scale: fewer are closer, more are smaller and faster."""
    compute: Literal["int8", "float32"] = "int8"
    """int8: inputs are rounded to 8 bits a block, which is faster; float32: weights become float again as they are read."""
    embeddings: bool = True
    """Store tables of embeddings in as many bits: of 8 with a scale a row, of 4 with a scale a block."""


@register("compress", "weight_only", revision=2)
def weight_only(config: WeightOnly) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (float graph, file to write, rows, which it does not need) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, _calibration: Calibration) -> dict[str, Any]:
        model = graphs.load_graph(source)
        _plain_products(model, graphs.floats_left(model, source), config)
        lookups = list(graphs.tables(model)) if config.embeddings else []
        if config.bits == 8:
            edit = graphs.Edit()
            for table in lookups:
                graphs.int8_table(table, edit)
            graphs.apply(model, edit)
        result = _quantized(model, config, {table.output for table in lookups})
        graphs.save_graph(result, target)
        kinds = [node.op_type for node in result.graph.node]
        embeddings = len(lookups) if config.bits == 8 else kinds.count("GatherBlockQuantized")
        return {**graphs.facts(source, target), "matmuls": kinds.count("MatMulNBits"), "embeddings": embeddings, "bits": config.bits,
                "block_size": config.block_size}

    return compress


def _plain_products(model: Any, found: list[graphs.Product], config: WeightOnly) -> None:
    """Write products that Gemm computes (those of networks for tables) as MatMul and Add, which the quantizer knows, in place.

    Those that blocks would not make smaller, as they have fewer rows than a block, stay.
    """
    from onnx import helper

    gemms = {node.output[0] for node in model.graph.node if node.op_type == "Gemm"}
    edit = graphs.Edit()
    for product in found:
        rows = product.weight_IO.shape[0]
        blocks = -(-rows // config.block_size)
        if product.output not in gemms or blocks * (config.block_size * config.bits / 8 + 4) >= 4 * rows:
            continue
        weight = edit.constant(f"{product.output}_weight", product.weight_IO)
        y = f"{product.output}_product" if product.bias else product.output
        # the quantizer leaves out nodes by their names, so that each needs one of its own
        edit.nodes[product.output] = [helper.make_node("MatMul", [product.x, weight], [y], name=f"{product.output}_matmul")]
        if product.bias:
            edit.nodes[product.output].append(helper.make_node("Add", [y, product.bias], [product.output], name=f"{product.output}_add"))
    graphs.apply(model, edit)


def _quantized(model: Any, config: WeightOnly, lookups: set[str]) -> Any:
    """Return the model with its matrices in blocks, and at 4 bits the tables whose lookups are named."""
    import numpy as np
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    left = [node.name for node in model.graph.node if node.op_type == "Gather" and node.output[0] not in lookups]
    kinds = ("MatMul", "Gather") if config.bits == 4 and lookups else ("MatMul",)
    settings = DefaultWeightOnlyQuantConfig(
        block_size=config.block_size, is_symmetric=True, accuracy_level=4 if config.compute == "int8" else 1, bits=config.bits,
        op_types_to_quantize=kinds, quant_axes=(("MatMul", 0), ("Gather", 1)))
    # it tells each node that it looks at; a block of zeros has no scale, and needs none
    with quiet(), np.errstate(divide="ignore", invalid="ignore"):
        quantizer = MatMulNBitsQuantizer(model, bits=config.bits, block_size=config.block_size, is_symmetric=True, nodes_to_exclude=left,
                                         algo_config=settings)
        quantizer.process()
    return quantizer.model.model
