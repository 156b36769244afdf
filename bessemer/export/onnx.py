"""ONNX: a trained network as one graph with free batch and length, which ONNX Runtime runs without torch.

Legend: B rows, L tokens, H heads, K width of a head, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.quiet import quiet
from bessemer.core.registry import register

if TYPE_CHECKING:
    import onnx
    import torch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
# A protobuf file may have 2 GiB; a larger network's weights go to a second file beside it.
_MAX_BYTES = 1_900_000_000


class Onnx(Config):
    """How the graph is written."""

    opset: Annotated[int, Field(ge=18, le=23)] = 20
    """Version of ONNX's operators: 20 is the first with GELU as one operator, and every ONNX Runtime since 1.17 reads it."""


@register("export", "onnx")
def onnx_graph(config: Onnx) -> Callable[[Any, Path], None]:
    """Return (network in evaluation mode, file to write) -> None; the same weights give the same bytes."""

    def write(network: torch.nn.Module, file: Path) -> None:
        import onnx

        model = _clean(_trace(network, config.opset))
        if model.ByteSize() > _MAX_BYTES:
            onnx.save_model(model, str(file), save_as_external_data=True, location=f"{file.name}.data")
        else:
            file.write_bytes(model.SerializeToString(deterministic=True))

    return write


def _trace(network: torch.nn.Module, opset: int) -> onnx.ModelProto:
    """Return the graph of `network.forward`."""
    import torch

    from bessemer.nn.text_rnn import TextRnn

    if network.training:
        raise ValueError("the network is in training mode, so dropout would be exported; call eval() first")
    if isinstance(network, TextRnn):
        from bessemer.export._recurrent import recurrent_graph

        return recurrent_graph(network, opset)
    inputs, free, outputs = example(network)
    with quiet(), torch.no_grad():  # it remarks on packages that are not needed and on its own deprecations
        program = torch.export.export(network, (), kwargs=inputs, dynamic_shapes=free)
        program = program.run_decompositions({torch.ops.aten.scaled_dot_product_attention.default: _plain_attention})
        traced: Any = torch.onnx.export(program, input_names=list(inputs), output_names=outputs, opset_version=opset, dynamo=True,
                                        verbose=False, external_data=False)
        if traced is None:
            raise UserError("torch gave no graph of this network; its architecture cannot be exported to ONNX")
        found: onnx.ModelProto = traced.model_proto
        return found


def example(network: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any], list[str]]:
    """Return inputs to trace a network with, their free axes, and the names of its outputs; sizes of 0 and 1 would be constants."""
    import torch

    from bessemer.nn.early_exit import Segment
    from bessemer.nn.table import TableNetwork

    free = torch.export.Dim.DYNAMIC
    if isinstance(network, TableNetwork):
        config = network.config
        found = {"numbers": torch.zeros(3, config.num_numbers), "codes": torch.zeros(3, len(config.cardinalities), dtype=torch.int64)}
        return found, {name: {0: free} for name in found}, ["outputs"]
    if isinstance(network, Segment):
        found = network.example()
        return found, {name: {0: free, 1: free} for name in found}, network.outputs()
    return {name: torch.ones(2, 7, dtype=torch.int64) for name in INPUTS}, {name: {0: free, 1: free} for name in INPUTS}, [OUTPUT]


def _plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
                     *positional: Any, **named: Any) -> torch.Tensor:
    """Return softmax(query key^T scale + mask) value [B, H, L, K] in as few operators as there can be.

    The exporter's own translation splits the scale and guards rows without any key by operators over [B, H, L, L], which ONNX
    Runtime does not fuse: 1.3 times slower in all.
    """
    import torch

    # torch's own order: dropout_p, is_causal; scale and enable_gqa by name. In evaluation there is no dropout.
    if any(positional[1:]) or named.get("is_causal", False) or named.get("enable_gqa", False):
        raise UserError("causal and grouped attention are not exported; expected an encoder such as BERT")
    scale = named.get("scale")
    scores_BHLL = (query @ key.transpose(-1, -2)) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.where(attn_mask, 0.0, torch.finfo(torch.float32).min)
        scores_BHLL = scores_BHLL + attn_mask
    result: torch.Tensor = scores_BHLL.softmax(-1) @ value
    return result


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what names the machine and the source (stack traces with paths) and intermediate shapes; name the free axes."""
    graph = model.graph
    # Shapes noted by the tracer contradict those of a graph that is quantized later; ONNX Runtime infers them itself.
    del graph.value_info[:]
    for part in [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *model.functions]:
        del part.metadata_props[:]
        part.doc_string = ""
    for item in [*graph.input, *graph.output]:
        for axis, name in zip(item.type.tensor_type.shape.dim, ("batch", "length"), strict=False):
            if axis.HasField("dim_param"):
                axis.dim_param = name
    return model
