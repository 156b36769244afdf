"""A graph run by OpenVINO, of text or of a table: the second runtime. Neither torch nor ONNX Runtime is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor
from bessemer.predictors._network import Graph, network_predictor

if TYPE_CHECKING:
    import numpy as np


class OpenvinoForm(Config):
    """A folder with a graph in OpenVINO's format: `file` (.xml) and its weights beside it (.bin)."""

    file: str
    """The graph, relative to the folder."""
    max_length: Annotated[int, Field(ge=3)] = 128
    """Of texts, the longest input in tokens, special ones included; what is beyond is cut."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 computes float products in 16 bits where the processor can: twice as fast, within about 1e-2; elsewhere it is float32."""


@register("predictors", "openvino")
def openvino_form(config: OpenvinoForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        return network_predictor(folder, schema, form, open_graph(folder / config.file, config.precision), config.max_length)

    return open_folder


def open_graph(file: Path, precision: str) -> Graph:
    """Open a graph on the processor; a missing package, a missing or damaged file is a UserError."""
    try:
        import openvino
    except ImportError:
        raise UserError("this form is run by OpenVINO, which is not installed; run: pip install 'bessemer[openvino]'") from None
    weights = file.with_suffix(".bin")
    for part in (file, weights):
        if not part.is_file():
            raise UserError(f"there is no file '{part}', which predictor.json names; export again")
    core = openvino.Core()
    try:
        graph = core.read_model(str(file), str(weights))
        compiled = core.compile_model(graph, "CPU", {"PERFORMANCE_HINT": "LATENCY",
                                                     "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16"})
    except RuntimeError as error:
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        raise UserError(f"'{file}' is damaged or needs another version of OpenVINO ({reason.strip()[:200]}); export again") from None

    def run(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        import numpy as np

        request = compiled.create_infer_request()  # of its own for each call, so that threads may call at the same time
        return np.array(request.infer({name: np.ascontiguousarray(value) for name, value in feeds.items()})[0])

    return Graph(file, [item.get_any_name() for item in compiled.inputs], run)
