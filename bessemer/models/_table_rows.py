"""What the models of tables that are no networks share: targets, weights, and rows of a split up to a bound.

Legend: N rows, P features, C classes, L labels.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Modality

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["label", "number", "flags"]
KINDS: tuple[Kind, ...] = ("label", "number", "flags")


@dataclass(frozen=True)
class Rows:
    """Rows of one split in memory.

    Attributes:
        blocks: their features, each [n, P] of what the reader's `features` gives.
        truth: target -> what it holds, see `truth_of`; N rows.
        weights: float64 [N], 1 where the data have no weights.
        read: rows that were looked at.
        all: whether these are all rows of the split.
    """

    blocks: list[np.ndarray]
    truth: dict[str, np.ndarray]
    weights: np.ndarray
    read: int
    all: bool

    def chosen(self, keep: np.ndarray) -> list[np.ndarray]:
        """Return the features of the rows where bool [N] `keep` holds, block by block."""
        found, start = [], 0
        for block in self.blocks:
            inside = keep[start:start + len(block)]
            start += len(block)
            if inside.any():
                found.append(block if inside.all() else block[inside])
        return found


def kind_of(target: Column) -> Kind:
    """Return the kind of answer that a target has by its modality: label, number or flags."""
    config = make("modalities", dict(target.modality))
    modality: Modality = plugin_of("modalities", config).function(config)
    for kind in KINDS:
        if modality.answer == kind:
            return kind
    raise UserError(f"the target '{target.name}' is of kind '{target.modality['kind']}', which a model of tables does not learn; expected "
                    "labels (category, boolean), numbers (number) or several labels a row (multilabel)")


def truth_of(table: pa.Table, target: Column) -> np.ndarray:
    """Return what a target holds: label: int64 [N], number: float64 [N], flags: int64 [N, L]; -1 or nan where missing."""
    import numpy as np

    column = table.column(target.name).combine_chunks()
    if kind_of(target) == "flags":
        return _lists(column, np.int64)
    kind = np.float64 if kind_of(target) == "number" else np.int64
    return column.to_numpy(zero_copy_only=False).astype(kind)


def present_in(truth: np.ndarray) -> np.ndarray:
    """Return where a target is known, bool [N] (of flags: where any label is)."""
    import numpy as np

    known: Any = np.isfinite(truth) if truth.dtype == np.float64 else truth >= 0
    found: np.ndarray = known.any(axis=1) if truth.ndim == 2 else known
    return found


def numbers_of(table: pa.Table) -> np.ndarray:
    """Return the stored numbers, float32 [N, F]."""
    import numpy as np

    return _stored(table, ".numbers", np.float32)


def codes_of(table: pa.Table) -> np.ndarray:
    """Return the stored codes, int32 [N, K]."""
    import numpy as np

    return _stored(table, ".codes", np.int32)


def _stored(table: pa.Table, name: str, kind: Any) -> np.ndarray:
    import numpy as np

    if name not in table.column_names:
        return np.zeros((len(table), 0), kind)
    return _lists(table.column(name).combine_chunks(), kind)


def _lists(column: Any, kind: Any) -> np.ndarray:
    import numpy as np

    if hasattr(column, "chunks"):  # older Arrow keeps an empty or single chunk as chunked
        column = column.chunk(0) if column.num_chunks else column.combine_chunks()
    width = column.type.list_size
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False)).astype(kind, copy=False).reshape(len(column), width)


def weights_of(table: pa.Table, schema: Schema) -> np.ndarray:
    """Return the rows' weights, float64 [N]: 1 where the data have none. They are stored as `weight`, whatever their name was."""
    import numpy as np

    if not schema.by_role(Role.WEIGHT):
        return np.ones(len(table))
    return np.asarray(table.column("weight").to_numpy(), np.float64)


@dataclass(frozen=True)
class Bounds:
    """How much of a split is taken.

    Attributes:
        rows: rows that are kept at most.
        read: rows that are looked at, at most; where more are looked at than kept, whole blocks are drawn.
        seed: of the draw.
    """

    rows: int
    read: int
    seed: int


def read_rows(tables: Iterator[pa.Table], schema: Schema, features: Callable[[pa.Table], np.ndarray], bounds: Bounds) -> Rows:
    """Return the rows of a split, or a seeded sample of its blocks where it has more than `bounds.rows`.

    Each block has a key that depends on (seed, its number) alone; those with the smallest keys are kept, in their order. Memory is
    bounded by `bounds.rows` and one block.
    """
    import numpy as np

    kept: list[tuple[float, int, pa.Table, np.ndarray]] = []
    held, read, whole = 0, 0, True
    for index, table in enumerate(tables):
        if read >= bounds.read:
            whole = False
            break
        if not len(table):
            continue
        table = table.slice(0, bounds.rows)
        read += len(table)
        key = float(np.random.default_rng((bounds.seed, index)).random())
        heapq.heappush(kept, (-key, index, table.select(_needed(table, schema)), features(table)))
        held += len(table)
        while held > bounds.rows and len(kept) > 1:
            whole = False
            held -= len(heapq.heappop(kept)[2])
    kept.sort(key=lambda item: item[1])
    parts = [table for _, _, table, _ in kept]
    truth = {target.name: np.concatenate([truth_of(part, target) for part in parts]) for target in schema.by_role(Role.TARGET)
             if parts}
    weights = np.concatenate([weights_of(part, schema) for part in parts]) if parts else np.ones(0)
    return Rows([block for _, _, _, block in kept], truth, weights, read, whole)


def _needed(table: pa.Table, schema: Schema) -> list[str]:
    wanted = {"weight", *(column.name for column in schema.by_role(Role.TARGET))}
    return [name for name in table.column_names if name in wanted]


def check_targets(schema: Schema, train: Rows, validation: Rows) -> None:
    """Raise where a target cannot be learnt: no known value, one class only, no validation rows."""
    import numpy as np

    if not schema.by_role(Role.TARGET):
        raise UserError("the data have no target, so there is nothing to learn; name one under prepare's 'targets'")
    for target in schema.by_role(Role.TARGET):
        for rows, split in ((train, "training"), (validation, "validation")):
            if target.name not in rows.truth or not present_in(rows.truth[target.name]).any():
                raise UserError(f"the {split} split has no row with a value of '{target.name}'; a model of tables needs some in both "
                                "splits")
        if kind_of(target) == "label":
            codes = train.truth[target.name]
            if len(np.unique(codes[codes >= 0])) < 2:
                raise GuardError(f"the target '{target.name}' has one label only among the {len(codes):,} training rows; give rows of two "
                                 "labels or more")
