"""Sparse storage: the zeros of pruned weights are not stored; the graph loads to the same dense weights, bit for bit.

A processor is no faster for zeros in between, so what is saved is the file. ONNX's own sparse tensor spends 8 bytes on the place of each
value: for float32 it is smaller than the dense tensor only where two of three values are zero, for int8 where eight of nine are. A bit for
each place and the values beside it are smaller at every density above 1 in 64. Each tensor gets the smallest of the three. The bits are
unpacked by operators of constants, which a runtime computes once, when it loads the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.compress._graph import facts, load_graph, save_graph
from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Calibration

if TYPE_CHECKING:
    import numpy as np
    import onnx

_PLACE = 8  # bytes of a place in ONNX's sparse tensors
_OPERATORS = 900  # bytes of the operators that unpack one tensor, about


class SparseStorage(Config):
    """Which tensors are stored so."""

    min_values: Annotated[int, Field(ge=1)] = 4096
    """Tensors of fewer values stay as they are."""


@register("compress", "sparse_storage")
def sparse_storage(config: SparseStorage) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (graph, float or quantized, file to write, rows, which it does not need) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, _calibration: Calibration) -> dict[str, Any]:
        import numpy as np
        from onnx import numpy_helper

        model = load_graph(source)
        kept, nodes = [], []
        counts = {"bitmaps": 0, "coordinates": 0, "zeros": 0}
        for item in list(model.graph.initializer):
            values = numpy_helper.to_array(item) if np.prod(item.dims) >= config.min_values else np.ones(1, np.float32)
            way = _smallest(values)
            if way == "dense":
                kept.append(item)
                continue
            counts[way] += 1
            counts["zeros"] += int(values.size - np.count_nonzero(values))
            if way == "coordinates":
                model.graph.sparse_initializer.append(_coordinates(item.name, values))
            else:
                parts, unpack = _bitmap(item.name, values)
                kept += parts
                nodes += unpack
        _put(model, kept, nodes)
        save_graph(model, target)
        return {**facts(source, target, lossy=False), **counts}

    return compress


def _smallest(values: np.ndarray) -> str:
    """Return how a tensor takes the fewest bytes: `dense`, `bitmaps` or `coordinates`."""
    import numpy as np

    size = values.itemsize
    if values.dtype not in (np.float32, np.float16, np.int8, np.uint8) or values.size >= 2**31:
        return "dense"
    there = int(np.count_nonzero(values))  # minus zero, which a product with a mask gives, is a zero
    ways = {"dense": values.nbytes, "bitmaps": values.size // 8 + there * size + _OPERATORS}
    if values.dtype == np.float32:
        ways["coordinates"] = there * (size + _PLACE)
    return min(ways, key=lambda way: ways[way])


def _coordinates(name: str, values: np.ndarray) -> onnx.SparseTensorProto:
    import numpy as np
    from onnx import helper, numpy_helper

    flat = values.ravel()
    places = np.flatnonzero(flat).astype(np.int64)
    return helper.make_sparse_tensor(numpy_helper.from_array(flat[places], name), numpy_helper.from_array(places, f"{name}_places"),
                                     list(values.shape))


def _bitmap(name: str, values: np.ndarray) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Return constants and operators: bits -> places (running count of bits) -> the values at these places, zero elsewhere."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    flat = values.ravel()
    there = flat != 0
    constants = {"bits": np.packbits(there, bitorder="little")[:, None], "powers": np.array([[1, 2, 4, 8, 16, 32, 64, 128]], np.uint8),
                 "values": np.concatenate([np.zeros(1, values.dtype), flat[there]]), "two": np.array(2, np.uint8),
                 "all": np.array([-1], np.int64), "begin": np.array([0], np.int64), "end": np.array([flat.size], np.int64),
                 "axis": np.array(0, np.int64), "shape": np.array(values.shape, np.int64)}
    at = {key: f"{name}/{key}" for key in [*constants, "shifted", "odd", "count", "flat", "cut", "running", "place", "found"]}
    nodes = [helper.make_node("Div", [at["bits"], at["powers"]], [at["shifted"]]),
             helper.make_node("Mod", [at["shifted"], at["two"]], [at["odd"]]),
             helper.make_node("Cast", [at["odd"]], [at["count"]], to=TensorProto.INT32),
             helper.make_node("Reshape", [at["count"], at["all"]], [at["flat"]]),
             helper.make_node("Slice", [at["flat"], at["begin"], at["end"]], [at["cut"]]),
             helper.make_node("CumSum", [at["cut"], at["axis"]], [at["running"]]),
             helper.make_node("Mul", [at["running"], at["cut"]], [at["place"]]),
             helper.make_node("Gather", [at["values"], at["place"]], [at["found"]], axis=0),
             helper.make_node("Reshape", [at["found"], at["shape"]], [name])]
    return [numpy_helper.from_array(array, at[key]) for key, array in constants.items()], nodes


def _put(model: onnx.ModelProto, initializers: list[Any], nodes: list[Any]) -> None:
    """Give a graph these initializers, and these nodes before its own."""
    graph = model.graph
    contents = [item.SerializeToString() for item in initializers]
    del graph.initializer[:]
    for content in contents:
        graph.initializer.add().ParseFromString(content)
    contents = [node.SerializeToString() for node in [*nodes, *graph.node]]
    del graph.node[:]
    for content in contents:
        graph.node.add().ParseFromString(content)
