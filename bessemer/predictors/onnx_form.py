"""A graph run by ONNX Runtime: what is shipped. Neither torch nor transformers is imported."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor
from bessemer.predictors._rows import MAX_ROWS, NetworkPredictor, heads_of
from bessemer.predictors._sessions import sessions

if TYPE_CHECKING:
    import numpy as np

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "logits"
THREADS = "BESSEMER_THREADS"
"""Variable that holds the threads of a session; all cores work where it is not set. Processes that share a machine set it."""
# A graph says in its own metadata how many rows it may score at once.
ROWS_AT_ONCE = "rows_at_once"


class OnnxForm(Config):
    """A folder with an ONNX graph."""

    file: str
    """The graph, relative to the folder."""
    max_length: Annotated[int, Field(ge=3)] = 128
    """Longest input in tokens, special ones included; what is beyond is cut."""


@register("predictors", "onnx")
def onnx_form(config: OnnxForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.modalities import codec_of
        from bessemer.predictors._units import of_texts

        file = folder / config.file
        session = open_session(file)
        heads = heads_of(folder, schema)
        width = sum(head.width for head in heads)
        names = [item.name for item in session.get_inputs()]
        outputs = {item.name: item.shape for item in session.get_outputs()}
        if sorted(names) != sorted(INPUTS) or OUTPUT not in outputs:
            raise UserError(f"'{file}' is no graph that was exported here: it reads {', '.join(names)} and gives "
                            f"{', '.join(outputs)}; expected {', '.join(INPUTS)} and {OUTPUT}")
        if outputs[OUTPUT][-1] != width:
            raise UserError(f"'{file}' tells {outputs[OUTPUT][-1]} classes apart, the schema beside it names {width}; the two "
                            "are not of the same run: export again")

        def predict_batch(arrays: dict[str, np.ndarray]) -> np.ndarray:
            result: np.ndarray = session.run([OUTPUT], arrays)[0]
            return result

        rows = int(session.get_modelmeta().custom_metadata_map.get(ROWS_AT_ONCE, MAX_ROWS))
        codec = codec_of(schema.texts()[0], folder)
        return of_texts(NetworkPredictor(schema, form, codec, config.max_length, predict_batch, heads, rows))

    return open_folder


def open_session(file: Path) -> Any:
    """Return an ONNX Runtime session on the CPU (or what chooses between two), all its graph optimisations on.

    A missing or damaged file is a UserError.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if not file.is_file():
        raise UserError(f"there is no file '{file}', which predictor.json names; export again")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # Threads that spin while they wait take the cores from whatever else works in this process, or on this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def opened(threads: int) -> Any:
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    try:
        return sessions(opened, os.environ.get(THREADS))
    except (state.Fail, state.InvalidGraph, state.InvalidProtobuf, state.InvalidArgument, state.NotImplemented, state.NoSuchFile,
            state.NoModel, state.ModelLoaded, state.EPFail, state.RuntimeException) as error:
        raise UserError(f"'{file}' is damaged or needs another version of ONNX Runtime ({str(error).splitlines()[0][:200]}); export "
                        "again") from None
