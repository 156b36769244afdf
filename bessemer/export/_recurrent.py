"""Recurrent networks as ONNX, written node by node: ONNX has LSTM and GRU with each row's own length, which tracing cannot find.

Legend: B rows, L tokens, I inputs, H units of one direction, W ways (1 or 2), C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from bessemer.nn.text_rnn import TextRnn

# torch's order of the gates -> ONNX's: LSTM in, forget, cell, out -> in, out, forget, cell; GRU reset, update, new -> update, reset, new.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
_IR = 10


class _Graph:
    """Nodes and weights in the order in which they are asked for."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add a constant and return its name."""
        import numpy as np
        import onnx

        self.weights.append(onnx.numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node of one output and return the output's name."""
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name


def recurrent_graph(network: TextRnn, opset: int) -> onnx.ModelProto:
    """Return the graph of a `TextRnn`'s answers; batch and length are free."""
    import numpy as np
    import onnx

    graph = _Graph()
    graph.node("Cast", ["attention_mask"], "mask", to=onnx.TensorProto.BOOL)
    graph.node("Cast", ["attention_mask"], "mask_32", to=onnx.TensorProto.INT32)
    graph.node("ReduceSum", ["mask_32", graph.weight("axis_1", np.array([1], np.int64))], "lengths", keepdims=0)
    states = graph.node("Transpose", [_vectors(network, graph)], "steps", perm=[1, 0, 2])
    for index, layer in enumerate(network.layers):
        states = _layer(network, graph, layer, states, index)
    tags, axes = "tags" in network.heads, ["batch", "length"]
    if tags:
        by_row = graph.node("Transpose", [states], "states_by_row", perm=[1, 0, 2])
        head = network.classifier
        product = graph.node("MatMul", [by_row, graph.weight("weight", head.weight.detach().numpy().T)], "product")
        graph.node("Add", [product, graph.weight("bias", head.bias.detach().numpy())], "logits")
    else:
        features = _pooled(network, graph, states)
        weight, bias = (graph.weight(name, item.detach().numpy()) for name, item in network.classifier.named_parameters())
        graph.node("Gemm", [features, weight, bias], "logits", transB=1)
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, axes)
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    output = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [*(axes if tags else axes[:1]), len(network.labels)])
    made = onnx.helper.make_graph(graph.nodes, "main_graph", inputs, [output], graph.weights)
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", opset)], producer_name="bessemer", ir_version=_IR)
    onnx.checker.check_model(model)
    return model


def _vectors(network: TextRnn, graph: _Graph) -> str:
    """Look the tokens' vectors up, [B, L, I]."""
    import numpy as np

    rows, token_map = "input_ids", network.rows.token_map
    kind: Any = np.int64
    if token_map is not None:
        rows, kind = graph.node("Gather", [graph.weight("token_map", token_map.numpy()), rows], "rows"), np.int32
    padding = graph.weight("padding", np.array(network.rows.padding, kind))
    kept = graph.node("Where", ["mask", rows, padding], "kept_rows")
    found = graph.node("Gather", [graph.weight("words", network.words.weight.detach().numpy()), kept], "vectors")
    return _with_pairs(network, graph, kept, found) if network.config.bigrams else found


def _with_pairs(network: TextRnn, graph: _Graph, kept: str, vectors: str) -> str:
    """Add the vectors of hashed pairs of neighbours, as `TextRnn` does: [B, L, I]."""
    import numpy as np
    import onnx

    from bessemer.nn.ngrams import MODULUS, MULTIPLIER, SPREAD

    def number(name: str, value: int | list[int]) -> str:
        return graph.weight(name, np.array(value, np.int64))

    ids = graph.node("Cast", [kept], "pair_ids", to=onnx.TensorProto.INT64)
    ends = (number("pair_start", [0]), number("pair_last", [-1]), number("pair_axis", [1]))
    first = graph.node("Slice", [ids, *ends], "pair_firsts")
    shift = number("pair_shift", [0, 1, 0, 0])
    before = graph.node("Pad", [first, shift, number("pair_padding", network.rows.padding)], "pair_before")
    product = graph.node("Mul", [graph.node("Add", [before, number("pair_one", 1)], "pair_next"), number("pair_multiplier", MULTIPLIER)],
                         "pair_product")
    code = graph.node("Mod", [graph.node("Add", [product, ids], "pair_sum"), number("pair_modulus", MODULUS)], "pair_code")
    if network.config.spread:
        product = graph.node("Mul", [code, number("pair_spread", SPREAD)], "pair_spread_product")
        code = graph.node("Mod", [product, "pair_modulus"], "pair_spread_code")
    bucket = graph.node("Mod", [code, number("pair_buckets", network.config.bigrams)], "pair_bucket")
    rest = graph.node("Slice", [bucket, number("pair_second", [1]), number("pair_beyond", [2**31 - 1]), "pair_axis"], "pair_rest")
    behind = graph.node("Pad", [rest, number("pair_shift_back", [0, 0, 0, 1]), number("pair_zero", 0)], "pair_behind")
    weights = graph.weight("pairs", network.pairs.weight.detach().numpy())
    parts = [graph.node("Gather", [weights, place], f"{place}_vectors") for place in (bucket, behind)]
    return graph.node("Concat", [vectors, *parts], "vectors_and_pairs", axis=2)


def _layer(network: TextRnn, graph: _Graph, layer: torch.nn.Module, given: str, index: int) -> str:
    """Add one layer: [L, B, I] -> [L, B, W x H]; the states beyond a row's length are 0."""
    import numpy as np
    import onnx

    cell, size = network.config.cell, network.config.hidden_size
    values = {name: item.detach().numpy() for name, item in layer.named_parameters()}
    ways = ("", "_reverse") if network.config.bidirectional else ("",)

    def ordered(name: str) -> np.ndarray:
        each = [values[f"{name}_l0{way}"] for way in ways]
        return np.stack([np.concatenate([np.split(item, len(_GATES[cell]))[gate] for gate in _GATES[cell]]) for item in each])

    weights = [graph.weight(f"W_{index}", ordered("weight_ih")), graph.weight(f"R_{index}", ordered("weight_hh")),
               graph.weight(f"B_{index}", np.concatenate([ordered("bias_ih"), ordered("bias_hh")], axis=1))]
    settings: dict[str, Any] = {"hidden_size": size, "direction": "bidirectional" if len(ways) == 2 else "forward"}
    if cell == "gru":
        settings["linear_before_reset"] = 1  # torch multiplies by the reset gate after the product
    found = f"layer_{index}"
    graph.nodes.append(onnx.helper.make_node(cell.upper(), [given, *weights, "lengths"], [found], name=found, **settings))
    turned = graph.node("Transpose", [found], f"{found}_turned", perm=[0, 2, 1, 3])
    return graph.node("Reshape", [turned, graph.weight(f"shape_{index}", np.array([0, 0, -1], np.int64))], f"{found}_states")


def _pooled(network: TextRnn, graph: _Graph, states: str) -> str:
    """Pool [L, B, W x H] to [B, features] over the tokens that are there."""
    import numpy as np
    import onnx

    axis_0 = graph.weight("axis_0", np.array([0], np.int64))
    found = []
    for name in network.config.pooling:
        if name == "max":
            there = graph.node("Transpose", ["mask"], "there", perm=[1, 0])
            wide = graph.node("Unsqueeze", [there, graph.weight("axis_2", np.array([2], np.int64))], "there_wide")
            shown = graph.node("Where", [wide, states, graph.weight("least", np.array(-2.0, np.float32))], "shown")
            found.append(graph.node("ReduceMax", [shown, axis_0], "largest", keepdims=0))
        elif name == "mean":
            count = graph.node("Cast", ["lengths"], "count", to=onnx.TensorProto.FLOAT)
            least = graph.node("Max", [count, graph.weight("one", np.array(1.0, np.float32))], "count_1")
            column = graph.node("Unsqueeze", [least, "axis_1"], "count_column")
            found.append(graph.node("Div", [graph.node("ReduceSum", [states, axis_0], "total", keepdims=0), column], "average"))
        else:
            found.append(_ends(network, graph, states))
    return found[0] if len(found) == 1 else graph.node("Concat", found, "features", axis=1)


def _ends(network: TextRnn, graph: _Graph, states: str) -> str:
    """Take the forward state at each row's last token and the backward state at its first."""
    import numpy as np
    import onnx

    size = network.config.hidden_size
    number = {name: graph.weight(name, np.array([value], np.int64))
              for name, value in (("zero", 0), ("units", size), ("way_axis", 2), ("axis_back", 1))}
    forward = graph.node("Slice", [states, number["zero"], number["units"], number["way_axis"]], "forward")
    by_row = graph.node("Transpose", [forward], "forward_by_row", perm=[1, 0, 2])
    long = graph.node("Cast", ["lengths"], "lengths_64", to=onnx.TensorProto.INT64)
    last = graph.node("Sub", [long, graph.weight("one_64", np.array(1, np.int64))], "last")
    column = graph.node("Unsqueeze", [last, number["axis_back"]], "last_column")
    end = graph.node("GatherND", [by_row, column], "end", batch_dims=1)
    if not network.config.bidirectional:
        return end
    first = graph.node("Gather", [states, graph.weight("first_step", np.array(0, np.int64))], "first", axis=0)
    every = graph.weight("all_units", np.array([2 * size], np.int64))
    back = graph.node("Slice", [first, number["units"], every, number["axis_back"]], "backward")
    return graph.node("Concat", [end, back], "ends", axis=1)
