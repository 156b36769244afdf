"""What runtimes share that run a network of text or of a table from one graph: its inputs, its output, and what these mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError
from bessemer.core.heads import answers
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._rows import NetworkPredictor, heads_of
from bessemer.predictors._units import of_texts

if TYPE_CHECKING:
    import numpy as np

    from bessemer.predictors._tables import TableInput

TEXT, TABLE = ("input_ids", "attention_mask", "token_type_ids"), ("numbers", "codes")


@dataclass(frozen=True)
class Graph:
    """An opened graph.

    Attributes:
        file: where it lies, for messages.
        inputs: names of its inputs.
        run: (feeds of exactly these) -> its one output, [B, …].
    """

    file: Path
    inputs: Sequence[str]
    run: Callable[[Mapping[str, np.ndarray]], np.ndarray]

    def score(self, arrays: Mapping[str, np.ndarray], width: int) -> np.ndarray:
        """Return the output of a batch; one of another width than the schema asks for is a UserError."""
        found = self.run({name: arrays[name] for name in self.inputs})
        if found.shape[-1] != width:
            raise UserError(f"'{self.file}' gives {found.shape[-1]} values a row, the schema beside it needs {width}; the two are not of "
                            "the same run: export again")
        return found


def network_predictor(folder: Path, schema: Schema, form: str, graph: Graph, max_length: int) -> Predictor:
    """Return the predictor of a folder whose network is a graph, of text or of a table."""
    from bessemer.modalities import codec_of, modality_of

    table = all(modality_of(column).vector for column in schema.by_role(Role.INPUT))
    wanted = TABLE if table else TEXT
    if not graph.inputs or not set(graph.inputs) <= set(wanted):
        raise UserError(f"'{graph.file}' is no graph of this model: it reads {', '.join(graph.inputs)}; expected {', '.join(wanted)}: "
                        "export again")
    if table:
        return _table(folder, schema, form, graph)
    heads = heads_of(folder, schema)
    width = sum(head.width for head in heads)
    codec = codec_of(schema.texts()[0], folder)
    return of_texts(NetworkPredictor(schema, form, codec, max_length, lambda arrays: graph.score(arrays, width), heads))


def _table(folder: Path, schema: Schema, form: str, graph: Graph) -> Predictor:
    from bessemer.predictors._tables import open_predictor

    heads = heads_of(folder, schema)
    width = sum(head.width for head in heads)

    def answer(rows: TableInput) -> dict[str, Answer]:
        import numpy as np

        count = len(rows.numbers)
        given = {"numbers": rows.numbers, "codes": rows.codes.astype("int64")}
        if not count:
            given = {name: np.zeros((1, array.shape[1]), array.dtype) for name, array in given.items()}
        return answers(heads, graph.score(given, width)[:count])

    return open_predictor(folder, schema, form, answer)
