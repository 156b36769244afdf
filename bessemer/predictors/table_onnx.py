"""A table's network as a graph run by ONNX Runtime: what is shipped. Torch is not imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.heads import answers, load_heads
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._tables import MAX_ROWS, TableInput, open_predictor
from bessemer.predictors.onnx_form import ROWS_AT_ONCE, open_session

INPUTS, OUTPUT = ("numbers", "codes"), "outputs"


class TableOnnx(Config):
    """A folder with an ONNX graph and heads.json."""

    file: str
    """The graph, relative to the folder."""


@register("predictors", "table_onnx")
def table_onnx(config: TableOnnx) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        file = folder / config.file
        session, heads = open_session(file), load_heads(folder)
        names = {item.name for item in session.get_inputs()}
        outputs = {item.name: item.shape for item in session.get_outputs()}
        width = sum(head.width for head in heads)
        if not names or not names <= set(INPUTS) or OUTPUT not in outputs or outputs[OUTPUT][-1] != width:
            raise UserError(f"'{file}' is no graph of this table: it reads {', '.join(sorted(names))} and gives "
                            f"{', '.join(f'{name} {shape}' for name, shape in outputs.items())}; expected {', '.join(INPUTS)} and {OUTPUT} "
                            f"of {width} values a member: export again")

        def answer(rows: TableInput) -> dict[str, Answer]:
            import numpy as np

            given = {"numbers": rows.numbers, "codes": rows.codes.astype("int64")}
            count = len(rows.numbers)
            if not count:  # the runtime divides by the number of rows: none would end the process
                given = {name: np.zeros((1, array.shape[1]), array.dtype) for name, array in given.items()}
            return answers(heads, session.run([OUTPUT], {name: given[name] for name in names})[0][:count])

        found = open_predictor(folder, schema, form, answer)
        found.rows_at_once = int(session.get_modelmeta().custom_metadata_map.get(ROWS_AT_ONCE, MAX_ROWS))
        return found

    return open_folder
