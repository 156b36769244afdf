"""What methods share: graphs read and written, their products with constant matrices and their tables of embeddings, and int8 of these.

Legend: I inputs, O outputs of a product; V rows, D columns of a table of embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import onnx

FULL, REDUCED = 127, 64
"""Largest absolute value of an 8-bit weight. Without VNNI instructions a processor adds two 8-bit products in 16 bits, which weights up
to 127 overflow: silently wrong answers there. Up to 64 the sum fits everywhere."""
_MAX_BYTES = 1_900_000_000


@dataclass(frozen=True)
class Product:
    """A product with a constant matrix, and perhaps a sum with a constant vector (Gemm).

    Attributes:
        output: name of its result, which identifies it.
        x: name of its input.
        weight: name of the matrix.
        weight_IO: the matrix, float32.
        bias: name of the vector that Gemm adds; empty without.
    """

    output: str
    x: str
    weight: str
    weight_IO: np.ndarray
    bias: str = ""


@dataclass(frozen=True)
class Table:
    """A lookup in a constant table of float32 rows: `output` = `table_VD`[`codes`]."""

    output: str
    codes: str
    name: str
    table_VD: np.ndarray


@dataclass
class Edit:
    """Nodes in place of others, and constants for them.

    Attributes:
        nodes: output of a node -> what stands in its place.
        constants: new initializers.
    """

    nodes: dict[str, list[Any]] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, name: str, values: np.ndarray) -> str:
        """Add a constant, once, and return its name."""
        from onnx import numpy_helper

        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(values, name)
        return name


def load_graph(source: Path) -> onnx.ModelProto:
    """Read a graph; a missing, damaged or too large file is a UserError."""
    import onnx
    from google.protobuf.message import DecodeError

    if not source.is_file():
        raise UserError(f"there is no graph '{source}' to compress; export the network first")
    try:
        model = onnx.load(str(source))
    except DecodeError:
        raise UserError(f"'{source}' is damaged: it is no ONNX graph; export the network again") from None
    if model.ByteSize() > _MAX_BYTES:
        raise UserError(f"'{source}' has {model.ByteSize():,} bytes; the methods of compression take graphs of up to {_MAX_BYTES:,}: "
                        "train a smaller network")
    return model


def save_graph(model: onnx.ModelProto, target: Path) -> int:
    """Write a graph, the same one as the same bytes, and return how many."""
    content = model.SerializeToString(deterministic=True)
    target.write_bytes(content)
    return len(content)


def facts(source: Path, target: Path, lossy: bool = True) -> dict[str, Any]:
    """Return what every method tells: bytes before and after, and whether answers may change."""
    return {"bytes": target.stat().st_size, "bytes_before": source.stat().st_size, "lossy": lossy}


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the graph's initializers by name."""
    return {item.name: item for item in model.graph.initializer}


def products(model: onnx.ModelProto) -> Iterator[Product]:
    """Yield MatMul and Gemm nodes whose second input is a constant float32 matrix, in the graph's order."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    known = constants(model)
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in known:
            continue
        item = known[node.input[1]]
        if len(item.dims) != 2 or item.data_type != TensorProto.FLOAT:
            continue
        settings = {part.name: part for part in node.attribute}
        plain = all(settings[name].f == 1 for name in ("alpha", "beta") if name in settings)
        if not plain or ("transA" in settings and settings["transA"].i):
            continue
        weight = numpy_helper.to_array(item)
        if "transB" in settings and settings["transB"].i:
            weight = weight.T
        yield Product(node.output[0], node.input[0], item.name, np.ascontiguousarray(weight), node.input[2] if len(node.input) > 2 else "")


def tables(model: onnx.ModelProto) -> Iterator[Table]:
    """Yield Gather nodes that look up rows of a constant float32 matrix."""
    from onnx import TensorProto, numpy_helper

    known = constants(model)
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in known and all(part.i == 0 for part in node.attribute if part.name == "axis"):
            item = known[node.input[0]]
            if len(item.dims) == 2 and item.data_type == TensorProto.FLOAT:
                yield Table(node.output[0], node.input[1], item.name, numpy_helper.to_array(item))


def apply(model: onnx.ModelProto, edit: Edit) -> None:
    """Change a graph in place: nodes replaced, constants added, those that nobody reads dropped."""
    graph = model.graph
    nodes: list[Any] = []
    for node in graph.node:
        nodes.extend(edit.nodes.get(node.output[0], [node]))
    kept = [node.SerializeToString() for node in nodes]
    del graph.node[:]
    for content in kept:
        graph.node.add().ParseFromString(content)
    read = {name for node in graph.node for name in node.input} | {item.name for item in graph.output}
    weights = [item for item in [*graph.initializer, *edit.constants.values()] if item.name in read]
    weights = [item.SerializeToString() for item in weights]
    del graph.initializer[:]
    for content in weights:
        graph.initializer.add().ParseFromString(content)


def int8_of(weight_IO: np.ndarray, largest: int, per_channel: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix as (int8 [I, O], scale float32 [O], or [] for the whole): round(w / scale), scale = largest |w| / `largest`.

    Symmetric: zero is zero, which padding and pruned weights rest on. A column of zeros has scale 1.
    """
    import numpy as np

    peak = np.abs(weight_IO).max(axis=0 if per_channel else None, initial=0.0)
    scale = (np.where(peak > 0, peak, largest) / np.float32(largest)).astype(np.float32)
    return np.clip(np.rint(weight_IO / scale), -largest, largest).astype(np.int8), scale


def int8_table(table: Table, edit: Edit) -> None:
    """Put an int8 table with a scale a row in the place of a float one; the rows that are looked up become float again."""
    import numpy as np
    from onnx import TensorProto, helper

    codes_DV, scale_V = int8_of(table.table_VD.T, FULL)
    name, y = table.name, table.output
    edit.constant(f"{name}_int8", np.ascontiguousarray(codes_DV.T))
    edit.constant(f"{name}_scale", scale_V[:, None])
    edit.nodes[y] = [
        helper.make_node("Gather", [f"{name}_int8", table.codes], [f"{y}_int8"], axis=0),
        helper.make_node("Cast", [f"{y}_int8"], [f"{y}_whole"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}_scale", table.codes], [f"{y}_row_scale"], axis=0),  # a product may read y with a scale too
        helper.make_node("Mul", [f"{y}_whole", f"{y}_row_scale"], [y])]


def static_product(product: Product, scale: tuple[float, int], edit: Edit, largest: int, per_channel: bool = True) -> None:
    """Replace a product by one of integers: its input is rounded with a fixed scale, its result is float.

    ONNX Runtime and OpenVINO read the pair of (de)quantized inputs as one product of integers; the result is not quantized again, which
    costs more than it saves and loses most of what a fully quantized graph loses.

    Args:
        product: what is replaced; products are given in the graph's order.
        scale: scale and zero point of its input.
        edit: gets the nodes and constants; an input that several products share is quantized once.
        largest: absolute value of a weight.
        per_channel: one scale for each output.
    """
    import numpy as np
    from onnx import helper

    x, y = product.x, product.output
    first = f"{x}_scale" not in edit.constants
    step = [edit.constant(f"{x}_scale", np.array(scale[0], np.float32)), edit.constant(f"{x}_zero", np.array(scale[1], np.uint8))]
    edit.nodes[y] = [helper.make_node("QuantizeLinear", [x, *step], [f"{x}_uint8"])] if first else []
    edit.nodes[y] += [helper.make_node("DequantizeLinear", [f"{x}_uint8", *step], [f"{y}_x"]),
                      *_weighted(product, edit, largest, per_channel)]


def token_product(product: Product, edit: Edit, largest: int, per_channel: bool = True) -> None:
    """Replace a product by one of integers whose input is rounded with a scale a row: the largest |x| of that token (symmetric).

    It reads and gives float; products are given in the graph's order, and an input that several share is quantized once.
    """
    import numpy as np
    from onnx import helper

    x, y = product.x, product.output
    one, zero = edit.constant("one_scale", np.array(1, np.float32)), edit.constant("middle_zero", np.array(128, np.uint8))
    nodes = []
    if f"{x}_axes" not in edit.constants:
        edit.constant(f"{x}_axes", np.array([-1], np.int64))
        parts = [edit.constant("one_127th", np.array(1 / 127, np.float32)), edit.constant("smallest_scale", np.array(1e-12, np.float32))]
        nodes = [helper.make_node("Abs", [x], [f"{x}_abs"]),
                 helper.make_node("ReduceMax", [f"{x}_abs", f"{x}_axes"], [f"{x}_peak"], keepdims=1),
                 helper.make_node("Mul", [f"{x}_peak", parts[0]], [f"{x}_step"]),
                 helper.make_node("Max", [f"{x}_step", parts[1]], [f"{x}_row"]),
                 helper.make_node("Div", [x, f"{x}_row"], [f"{x}_unit"]),
                 helper.make_node("QuantizeLinear", [f"{x}_unit", one, zero], [f"{x}_uint8"])]
    inner = Product(f"{y}_unit", x, product.weight, product.weight_IO)
    nodes.append(helper.make_node("DequantizeLinear", [f"{x}_uint8", one, zero], [f"{y}_unit_x"]))
    nodes += _weighted(inner, edit, largest, per_channel)
    last = f"{y}_scaled" if product.bias else y
    nodes.append(helper.make_node("Mul", [f"{y}_unit", f"{x}_row"], [last]))
    edit.nodes[y] = [*nodes, helper.make_node("Add", [last, product.bias], [y])] if product.bias else nodes


def _weighted(product: Product, edit: Edit, largest: int, per_channel: bool) -> list[Any]:
    """Return the nodes of `{output}_x` times an int8 matrix, and the bias."""
    import numpy as np
    from onnx import helper

    y, weight = product.output, product.weight
    codes_IO, scale = int8_of(product.weight_IO, largest, per_channel)
    parts = [edit.constant(f"{weight}_int8", codes_IO), edit.constant(f"{weight}_scale", scale),
             edit.constant(f"{weight}_zero", np.zeros(scale.shape, np.int8))]
    whole = f"{y}_product" if product.bias else y
    found = [helper.make_node("DequantizeLinear", parts, [f"{y}_w"], axis=1), helper.make_node("MatMul", [f"{y}_x", f"{y}_w"], [whole])]
    if product.bias:
        found.append(helper.make_node("Add", [whole, product.bias], [y]))
    return found


def floats_left(model: onnx.ModelProto, source: Path) -> list[Product]:
    """Return the products of a graph; none is a UserError."""
    found = list(products(model))
    if not found:
        raise UserError(f"'{source.name}' has no product with a constant float matrix left to quantize; give this method the float graph")
    return found


def feeds_of(model: onnx.ModelProto, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those arrays of a batch that a graph reads."""
    return {item.name: batch[item.name] for item in model.graph.input}


def session_of(model: onnx.ModelProto) -> Any:
    """Return an ONNX Runtime session of a graph in memory, for looking at rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
