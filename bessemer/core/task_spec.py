"""What a task is built from: one prepared split, read by position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
        lengths: int64 [N], tokens of each row without special tokens.
        codec: of the input column.
        column: name of the input column.
        seed: of the run.
        max_length: longest input in tokens, special tokens included.
        fitted_on: the training split's spec where this is another split: what a task fits (class weights, the guard of
            labels that never occur) is taken from it. None where this is the training split itself.
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
