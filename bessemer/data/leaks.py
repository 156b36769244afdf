"""Columns that give the target away, as they look in a sample: copies of it, its order, its threshold, what is filled for one label alone.

N: rows of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bessemer.data.looks import Found, marks, words_of
from bessemer.data.written import floats

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EXACT_ROWS = 20
LIKELY_ROWS, LEAST_LABEL, LEAST_DISTINCT = 100, 10, 50
"""What no formula shows is believed from so many rows, rows of the rarer label, and different numbers."""
RANK, LINE, LINE_RANK = 0.9999, 1 - 5e-6, 0.999


@dataclass(frozen=True)
class _Target:
    """The target as the columns are compared with it.

    Attributes:
        found: how it looks.
        words: its values, null where missing, [N].
        numbers: its values where they are numbers, else not a number, [N].
        side: 0 or 1 for its two labels, -1 where it is missing, [N]; None where it has not two labels.
        labels: the two labels that `side` stands for.
    """

    found: Found
    words: pa.Array
    numbers: np.ndarray
    side: np.ndarray | None
    labels: tuple[str, ...]


def set_aside(columns: Sequence[Found], target: Found, table: pa.Table, task: str) -> tuple[Found, ...]:
    """Return the columns, without a modality and with the reason where they give the target away.

    What a formula shows (equal, one to one, a straight line) is set aside always. What is only practically certain (the same order, filled
    for one label alone) is kept with a note where nothing else would be left to learn from. That one threshold tells two labels apart is
    told alone: a petal's length honestly does so for two species of flowers.

    Args:
        columns: of the table, the target among them.
        target: the column to learn.
        table: the sample, [N].
        task: what is learnt; only a classification has labels.
    """
    seen = _target(target, table, task)
    if seen is None:
        return tuple(columns)
    sure: dict[str, str] = {}
    likely: dict[str, str] = {}
    perhaps: dict[str, str] = {}
    for column in columns:
        left = words_of(table[column.name]) if column.name != target.name and column.modality is not None else None
        if left is None:
            continue
        if why := _exact(column, left, seen):
            sure[column.name] = why
        elif why := _likely(column, left, seen):
            likely[column.name] = why
        elif rows := _apart(column, left, seen):
            perhaps[column.name] = f"one threshold tells the two labels of the target '{target.name}' apart in all {rows:,} rows"
    free = [column for column in columns if column.name != target.name and column.modality is not None and column.name not in sure]
    perhaps = {name: f"{why}: is it known before the target is? if not, remove it" for name, why in perhaps.items()}
    if likely and all(column.name in likely for column in free):
        perhaps.update({name: f"{why}; kept, because nothing else is left to learn from" for name, why in likely.items()})
        likely = {}
    return tuple(_without(_told(column, perhaps), {**likely, **sure}) for column in columns)


def _told(column: Found, why: dict[str, str]) -> Found:
    return replace(column, note="; ".join(filter(None, (column.note, why.get(column.name)))))


def _without(column: Found, why: dict[str, str]) -> Found:
    return replace(column, modality=None, reason=f"leak: {why[column.name]}") if column.name in why else column


def _target(target: Found, table: pa.Table, task: str) -> _Target | None:
    import pyarrow.compute as pc

    words = words_of(table[target.name]) if target.kind not in ("list", "vector") and len(table) >= EXACT_ROWS else None
    if words is None:
        return None
    plain = _spelt(words, target)
    labels = pc.unique(plain.drop_null()).sort()
    side = None
    if len(labels) == 2 and task == "classification":
        side = pc.fill_null(pc.index_in(plain, value_set=labels), -1).to_numpy()
    return _Target(target, words, _numbers(words, target), side, tuple(labels.to_pylist()[:2]))


def _spelt(words: pa.Array, found: Found) -> pa.Array:
    """Return the words of a column of true and false in one spelling; others as they are."""
    import pyarrow.compute as pc

    return pc.utf8_lower(pc.if_else(pc.is_in(words, value_set=marks()), None, words)) if found.kind == "boolean" else words


def _exact(column: Found, left: pa.Array, target: _Target) -> str:
    """Return which formula makes the target of a column, or nothing."""
    import pyarrow.compute as pc

    name = target.found.name
    if left.equals(target.words):
        return f"equal to the target '{name}' in every row"
    if column.numeric and target.found.numeric and min(column.distinct, target.found.distinct) > 2:
        return f"a straight line of the target '{name}'" if _line(_numbers(left, column), target.numbers) else ""
    one, other = _spelt(left, column), _spelt(target.words, target.found)
    distinct = [len(pc.unique(words.drop_null())) if found.kind == "boolean" else found.distinct
                for words, found in ((one, column), (other, target.found))]
    same = distinct[0] == distinct[1] <= len(left) / 5 and _pairs(one, other) == distinct[0]
    return f"one to one with the target '{name}'" if same else ""


def _likely(column: Found, left: pa.Array, target: _Target) -> str:
    """Return what makes it practically certain that a column is made of the target, or nothing."""
    import numpy as np

    name = target.found.name
    if target.side is not None:
        filled = _filled(left, target.side)
        if filled is not None:
            return f"filled in every row of the label '{target.labels[filled]}' of the target '{name}' and in no other"
    if not (column.numeric and target.found.numeric) or min(column.distinct, target.found.distinct) < LEAST_DISTINCT:
        return ""
    rank = _same_order(_numbers(left, column), target.numbers)
    if not rank:
        return ""
    order = "the same order as" if rank > 0 else "the reverse order of"
    return f"in {order} the target '{name}' (rank correlation {np.trunc(rank * 1e5) / 1e5:.5f})"


def _apart(column: Found, left: pa.Array, target: _Target) -> int:
    """Return the rows in which one threshold of a column of numbers tells two labels apart; 0 where none does."""
    return _separated(_numbers(left, column), target.side) if column.numeric and target.side is not None else 0


def _filled(left: pa.Array, side_N: np.ndarray) -> int | None:
    """Return the label (0 or 1) for which alone a column is filled, in every row; None where there is none, or too few rows."""
    import numpy as np
    import pyarrow.compute as pc

    here_N = pc.and_(left.is_valid(), pc.invert(pc.is_in(left, value_set=marks()))).to_numpy(zero_copy_only=False)[side_N >= 0]
    side_N = side_N[side_N >= 0]
    if len(side_N) < LIKELY_ROWS or np.bincount(side_N, minlength=2).min() < LEAST_LABEL:
        return None
    return next((label for label in (0, 1) if np.array_equal(here_N, side_N == label)), None)


def _separated(x_N: np.ndarray, side_N: np.ndarray) -> int:
    """Return the rows in which one threshold of a number tells two labels apart without an error; 0 where it does not, or they are few."""
    import numpy as np

    low, high = (x_N[np.isfinite(x_N) & (side_N == label)] for label in (0, 1))
    rows = len(low) + len(high)
    if rows < LIKELY_ROWS or min(len(low), len(high)) < LEAST_LABEL:
        return 0
    return rows if low.max() < high.min() or high.max() < low.min() else 0


def _same_order(x_N: np.ndarray, y_N: np.ndarray) -> float:
    """Return the rank correlation (Spearman 1904) of two numbers that are in one order but for noise; 0 where they are not."""
    import numpy as np

    from bessemer.data.profile import pearson, ranks

    both = np.isfinite(x_N) & np.isfinite(y_N)
    if both.sum() < LIKELY_ROWS:
        return 0.0
    x_N, y_N = x_N[both], y_N[both]
    rank = pearson(ranks(x_N), ranks(y_N)) or 0.0
    line = abs(pearson(x_N / 2, y_N / 2) or 0.0) if abs(rank) >= LINE_RANK else 0.0
    return rank if abs(rank) >= RANK or line > LINE else 0.0


def _pairs(left: pa.Array, right: pa.Array) -> int:
    import pyarrow as pa

    pairs = pa.table({"left": left, "right": right}).drop_null()
    return len(pairs.group_by(["left", "right"]).aggregate([]))


def _numbers(words: pa.Array, found: Found) -> np.ndarray:
    import numpy as np

    return floats(words, found.decimal) if found.numeric else np.full(len(words), np.nan)


def _line(x_N: np.ndarray, y_N: np.ndarray) -> bool:
    """Tell whether two columns of numbers lie on one straight line."""
    import numpy as np

    both = np.isfinite(x_N) & np.isfinite(y_N)
    if both.sum() < EXACT_ROWS or not (np.ptp(x_N[both] / 2) and np.ptp(y_N[both] / 2)):
        return False
    x_N, y_N = (values[both] / np.abs(values[both]).max() for values in (x_N, y_N))  # so that squares are numbers
    return bool(abs(np.corrcoef(x_N, y_N)[0, 1]) > 1 - 1e-9) if x_N.std() and y_N.std() else False
