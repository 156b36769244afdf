"""What every predictor of text shares: raw rows -> clean text -> batches of ids -> logits -> probabilities. No torch here.

Legend: N rows, B rows in a batch, L tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.heads import FILE, Head, answers, load_heads
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Answer, Codec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MAX_ROWS, MAX_TOKENS = 32, 4096
FEW = 256
"""Rows at most that are cleaned one by one; of more, Arrow's calls cost less."""


@dataclass(eq=False)
class NetworkPredictor:
    """A network that scores batches of token ids, whatever runs it.

    Attributes:
        schema: of the data that it was trained on.
        form: name of the form.
        codec: of the input column.
        max_length: longest input in tokens; what is beyond is cut, as in training.
        predict_batch: ({input_ids, attention_mask, token_type_ids}, each int64 [B, L]) -> float32 logits [B, C].
        heads: what of the logits belongs to which target.
        rows_at_once: most rows of a batch; 1 where a row's answer would depend on its neighbours.
    """

    schema: Schema
    form: str
    codec: Codec
    max_length: int
    predict_batch: Callable[[dict[str, np.ndarray]], np.ndarray]
    heads: tuple[Head, ...]
    rows_at_once: int = MAX_ROWS

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order; rows are scored sorted by length, so that little is padding."""
        return self.answer(self.encode(self.clean(rows)))

    def clean(self, rows: pa.Table) -> list[str]:
        """Return the clean texts of raw rows; see `clean_texts`."""
        return texts_of(rows, self._input, self.codec.tidy)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of clean texts, without special tokens."""
        if self.codec.ids is None:
            raise UserError(f"the column '{self._input.name}' is no text, and the form '{self.form}' reads texts")
        return self.codec.ids(texts)

    def cost(self, ids: Sequence[int]) -> int:
        """Return how many tokens the network reads of a row."""
        return min(len(ids) + 2, self.max_length)

    def longest(self) -> Any:
        """Return an encoded row that is as long as the network reads."""
        return [0] * self.max_length

    def answer(self, ids: Sequence[Sequence[int]]) -> dict[str, Answer]:
        """Return the answers of rows of token ids, in their order."""
        import numpy as np

        cost_N = np.array([self.cost(row) for row in ids], np.int64)
        logits_NC = np.zeros((len(ids), sum(head.width for head in self.heads)), np.float32)
        for chosen_B in batches(cost_N, self.rows_at_once):
            logits_NC[chosen_B] = self.predict_batch(self.collated([ids[row] for row in chosen_B.tolist()]))
        if not np.isfinite(logits_NC).all():
            broken = np.flatnonzero(~np.isfinite(logits_NC).all(axis=1))
            raise GuardError(f"the form '{self.form}' gives scores that are no finite numbers, first in row {broken[0] + 1}; its "
                             "weights are damaged: train or export it again")
        return answers(self.heads, logits_NC[:, None, :])

    def collated(self, ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
        """Return what the network reads of rows of token ids, int64 [B, L] each."""
        from bessemer.modalities.tokens import collate_ids

        return collate_ids(ids, self.max_length, self.codec.info)

    @cached_property
    def _input(self) -> Column:
        return input_column(self.schema)



def heads_of(folder: Path, schema: Schema) -> tuple[Head, ...]:
    """Return what a folder's logits mean: by its heads.json, or the labels of the schema's one category target."""
    if (folder / FILE).is_file():
        return load_heads(folder)
    target, labels = schema.only(Role.TARGET, "category"), class_names(schema)
    return (Head(target=target.name, kind="label", width=len(labels), labels=labels),)


def input_column(schema: Schema) -> Column:
    """Return the column that is read."""
    return schema.only(Role.INPUT, "text")


def class_names(schema: Schema) -> tuple[str, ...]:
    """Return the class names of the one category target in code order."""
    return names_of(schema.only(Role.TARGET, "category"))


def names_of(target: Column) -> tuple[str, ...]:
    """Return the class names of a target of labels in code order."""
    if len(target.labels) < 2:
        raise UserError(f"the schema has {len(target.labels)} label(s) for the target '{target.name}'; a classifier needs two or "
                        "more: this folder holds no trained classifier")
    return target.labels


def label_answer(schema: Schema, probabilities_NC: np.ndarray) -> dict[str, Answer]:
    """Return probabilities as the answer of the schema's one category target."""
    target = schema.only(Role.TARGET, "category")
    return {target.name: Answer("label", probabilities_NC, target.labels)}


def texts_of(rows: pa.Table, column: Column, quick: Callable[[Sequence[str]], list[str]] | None) -> list[str]:
    """Return the same as `clean_texts`, as a list; `quick`: tidies a few texts without Arrow."""
    if quick is not None and len(rows) <= FEW and rows.column_names.count(column.name) == 1:
        values = rows.column(column.name)
        if values.type == "string" and not values.null_count:
            found = quick([value.as_py() for chunk in values.chunks for value in chunk])
            if all(found):
                return found
    clean: list[str] = clean_texts(rows, column).to_pylist()
    return clean


def clean_texts(rows: pa.Table, column: Column) -> pa.Array:
    """Return the column's clean texts [N] by the modality's own cleaning.

    A missing column, a missing value or an empty text is a UserError: nothing can be said about nothing, and a silent guess
    would look like an answer.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.modalities import modality_of

    name = column.named_in(rows.column_names)
    found = rows.column_names.count(name)
    if name is None:
        raise UserError(f"the rows have no column '{column.name}', which the model reads{nearest(column.name, rows.column_names)}")
    if found > 1:
        raise UserError(f"the rows have {found} columns named '{name}'; the model reads one: rename or remove the others")
    values = rows.column(name).combine_chunks()
    kind = modality_of(column)
    if pa.types.is_nested(values.type) and not (kind.lists and pa.types.is_list(values.type)):
        raise UserError(f"the column '{column.name}' has type {values.type}; expected text or numbers"
                        f"{', or lists of words' if kind.lists else ''}")
    try:
        clean, _ = kind.clean(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"the column '{column.name}' of type {values.type} cannot be read as text "
                        f"({str(error).splitlines()[0]}); give UTF-8 text") from None
    # Limits of length guard the training data; here a long text is cut and a short one is answered.
    empty = pc.equal(pc.fill_null(pc.utf8_length(clean), 0), 0)
    first = pc.index(empty, True).as_py()
    if first >= 0:
        what = "is missing" if clean[first].as_py() is None else "is empty"
        raise UserError(f"row {first + 1}: the value of the column '{column.name}' {what}; every row to predict needs a text: "
                        "leave this row out")
    return clean


def batches(cost_N: np.ndarray, max_rows: int) -> Iterator[np.ndarray]:
    """Yield the positions of rows, shortest first, in batches of at most `max_rows` rows and MAX_TOKENS tokens with padding."""
    import numpy as np

    order_N = np.argsort(cost_N, kind="stable")
    start = 0
    for stop in range(1, len(order_N) + 1):
        full = stop == len(order_N) or stop - start == max_rows
        if full or (stop - start + 1) * int(cost_N[order_N[stop]]) > MAX_TOKENS:
            yield order_N[start:stop]
            start = stop


def softmax(logits_NC: np.ndarray) -> np.ndarray:
    """Return float32 probabilities [N, C], computed in float64."""
    import numpy as np

    exact_NC = logits_NC.astype(np.float64)
    power_NC = np.exp(exact_NC - exact_NC.max(axis=1, keepdims=True, initial=-np.inf))
    result: np.ndarray = (power_NC / power_NC.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
