"""float16 on disk: weights stored in half the bytes and made float32 again when the graph is loaded.

Processors of today compute no faster in 16-bit floats through ONNX Runtime, so speed and memory are those of float32; the file is half
as large, and answers are within about 1e-3. After int8 it halves what is float still.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bessemer.compress._graph import facts, load_graph, save_graph
from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Calibration

_SUFFIX, _LARGEST = "_float16", 65504


class Float16(Config):
    """Which weights are stored so."""

    min_values: Annotated[int, Field(ge=1)] = 256
    """Tensors of fewer values stay float32: they weigh nothing."""


@register("compress", "float16")
def float16(config: Float16) -> Callable[[Path, Path, Calibration], dict[str, Any]]:
    """Return (graph, file to write, rows, which it does not need) -> facts; same input, same bytes."""

    def compress(source: Path, target: Path, _calibration: Calibration) -> dict[str, Any]:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        model = load_graph(source)
        casts = []
        for item in model.graph.initializer:
            if item.data_type != TensorProto.FLOAT or np.prod(item.dims) < config.min_values:
                continue
            values = numpy_helper.to_array(item)
            if not (np.abs(values) <= _LARGEST).all():
                continue
            name = item.name
            item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + _SUFFIX))
            casts.append(helper.make_node("Cast", [name + _SUFFIX], [name], to=TensorProto.FLOAT))
        nodes = [node.SerializeToString() for node in [*casts, *model.graph.node]]
        del model.graph.node[:]
        for content in nodes:
            model.graph.node.add().ParseFromString(content)
        save_graph(model, target)
        return {**facts(source, target), "tensors": len(casts)}

    return compress
