"""What a task is built from: one prepared split, read by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

    from bessemer.core.schema import Schema
    from bessemer.core.types import Codec


@dataclass(frozen=True)
class TaskSpec:
    """One split of the prepared data as a task reads it.

    Attributes:
        schema: of the prepared data.
        take: (positions int64 [B]) -> the stored columns of those rows, in that order. A text column `c` is stored as
            `c` (clean string), `c.ids` (list<int32>, without special tokens, never truncated) and `c.starts`
            (list<int32>: the index in `c.ids` at which each sentence begins, the first 0); `row_id` is int64.
        count: number of rows N.
        stored: (name of an integer column) -> the whole column, [N]; a target's codes, -1 where a row has no label.
        lengths: int64 [N], tokens of each row without special tokens (of a pair: with the one between its texts).
        codec: of the input column.
        column: name of the input column.
        second: name of the column that is read after it (the second text of a pair); empty where there is none.
        seed: of the run.
        max_length: longest input in tokens, special tokens included.
        fitted_on: the training split's spec where this is another split: what a task fits (class weights, the guard of
            labels that never occur) is taken from it. None where this is the training split itself.
        teacher: the folder of a trained network that a task may learn from, or None.
        targets: target -> info of its codec, and the `kind` of its answer.
        learnt: (target, positions int64 [B]) -> what is learnt, as in TableRows.targets; None where the split was made by hand.
    """

    schema: Schema
    take: Callable[[np.ndarray], pa.Table]
    count: int
    stored: Callable[[str], np.ndarray]
    lengths: np.ndarray
    codec: Codec
    column: str
    seed: int
    max_length: int
    fitted_on: TaskSpec | None = None
    teacher: Path | None = None
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learnt: Callable[[str, np.ndarray], np.ndarray] | None = None
    second: str = ""

    def inputs(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return what a network reads of rows that `take` gave: input_ids, attention_mask, token_type_ids, int64 [B, L]."""
        stored = {"ids": rows[f"{self.column}.ids"].combine_chunks()}
        if self.second:
            stored["second"] = rows[f"{self.second}.ids"].combine_chunks()
        return self.codec.collate(stored, self.max_length)


@dataclass(frozen=True)
class TableRows:
    """Some rows of a table, ready for a network.

    Attributes:
        numbers: float32 [B, F].
        codes: int64 [B, K].
        targets: target -> what is learnt: int32 codes [B] (-1: none), float32 scaled numbers [B] (nan: none), int8 flags [B, L].
        weights: float32 [B].
        row_ids: int64 [B].
        teachers: target -> what teachers answer, where the rows hold it: log-probabilities float32 [B, C], a scaled estimate float32 [B],
            or a logit a label float32 [B, L].
    """

    numbers: np.ndarray
    codes: np.ndarray
    targets: Mapping[str, np.ndarray]
    weights: np.ndarray
    row_ids: np.ndarray
    teachers: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TableSpec:
    """One split of prepared tables as a task reads it.

    Attributes:
        schema: of the prepared data.
        read: (positions int64 [B]) -> those rows, in that order.
        count: number of rows N.
        info: of all inputs together: numbers F, cardinalities [K], names, columns, edges.
        targets: target -> info of its codec, and the `kind` of its answer.
        truth: (target) -> its raw values of all rows, as metrics take them. Not for a stream.
        seed: of the run.
        fitted_on: the training split's spec where this is another split.
        order: (epoch, rows a batch) -> batches of positions, where the rows have an order of their own (a stream, which is
            read block by block); None where any order will do.
        left_out: () -> rows that were asked for and left out so far, because cleaning rejects them, counted each time; None where
            all rows were cleaned before.
        taught: whether the rows hold teachers' answers.
    """

    schema: Schema
    read: Callable[[np.ndarray], TableRows]
    count: int
    info: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, Any]]
    truth: Callable[[str], np.ndarray]
    seed: int
    fitted_on: TableSpec | None = None
    order: Callable[[int, int], Sequence[np.ndarray]] | None = None
    left_out: Callable[[], int] | None = None
    taught: bool = False
