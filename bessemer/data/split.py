"""Which split each row goes to: what the plug-ins of `data/splits` are made of. Keyed by content, so order plays no part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bessemer.core.errors import UserError
from bessemer.core.keyed import uniform

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "validation", "test")
STREAM = 1_001
NAMED = 10


@dataclass(frozen=True)
class Population:
    """The rows to divide.

    Attributes:
        keys: int64 [N], a digest of each row's inputs; equal rows have equal keys and stay together.
        strata: int32 [N], the code of each row's label (0 where there is none).
        given: int8 [N], the position in SPLITS of the split that a row came with, -1 where it came with none.
        names: the label of each stratum, for messages.
        seed: of the run.
        by: what rows are divided by where the splitter asks for it: a number for each group, int64 [N], or the moment, float64 [N].
    """

    keys: np.ndarray
    strata: np.ndarray
    given: np.ndarray
    names: tuple[str, ...]
    seed: int
    by: np.ndarray | None = None


@dataclass(frozen=True)
class By:
    """A column by whose values rows are divided.

    Attributes:
        column: its name.
        kind: `"group"` or `"time"`.
        day_first: how dates are read that may be two.
    """

    column: str
    kind: Literal["group", "time"]
    day_first: bool | None = None


@dataclass(frozen=True)
class Splitter:
    """A way to divide rows.

    Attributes:
        assign: Population -> (int8 [N], positions in SPLITS; notes for people).
        given: rows come with their splits, which are then never altered.
        column: the column that names a row's split, where there is one.
        by: the column by whose values rows are divided, where there is one.
        drawn: the seed decides.
    """

    assign: Callable[[Population], tuple[np.ndarray, list[str]]]
    given: bool = False
    column: str | None = None
    by: By | None = None
    drawn: bool = True


def order(keys: np.ndarray, seed: int, stream: int = STREAM) -> np.ndarray:
    """Return the positions of rows in a random order that depends on the seed and each row's key alone."""
    import numpy as np

    draw = uniform(seed, 0, keys, 1, stream)[:, 0]
    found: np.ndarray = np.lexsort((keys, draw))
    return found


def share(size: int, wanted: float | int) -> int:
    """Return the rows of `size` that a fraction (float) or a count (int) asks for."""
    return min(size, wanted) if isinstance(wanted, int) else round(size * wanted)


def divide(population: Population, rows: np.ndarray, validation: float | int, test: float | int, *,
           stratified: bool) -> tuple[np.ndarray, list[str]]:
    """Divide some rows into training, validation and test.

    Args:
        population: all rows.
        rows: positions of those to divide, [R].
        validation: fraction (float) or count (int) for validation.
        test: the same for test.
        stratified: each label in its proportion; the counts of a split are then exact.

    Returns:
        int8 [R], positions in SPLITS; and notes about labels too rare for every split.
    """
    import numpy as np

    total = len(rows)
    counts = np.array([share(total, validation), share(total, test)])
    if counts.sum() >= total:
        raise UserError(f"validation ({counts[0]:,} rows) and test ({counts[1]:,}) leave nothing of {total:,} rows for training; "
                        "make them smaller in the recipe's split")
    for name, wanted, count in (("validation", validation, counts[0]), ("test", test, counts[1])):
        if wanted and not count:
            raise UserError(f"{total:,} rows are too few for a {name} split of {wanted}; give more rows or a larger fraction")
    ranked = rows[order(population.keys[rows], population.seed)]
    strata = population.strata[ranked] if stratified else np.zeros(total, np.int32)
    sizes = np.bincount(strata)
    quotas = [_quotas(sizes, int(count), total) for count in counts]
    result, rare = np.zeros(len(population.keys), np.int8), []
    for code, size in enumerate(sizes):
        members = ranked[strata == code]
        first, second = int(quotas[0][code]), int(quotas[1][code])
        if stratified and size and (first == 0 and counts[0] or second == 0 and counts[1] or first + second >= size):
            rare.append((population.names[code], int(size)))
            while first + second >= size:
                first, second = (first - 1, second) if first > second else (first, second - 1)
        result[members[:second]] = 2
        result[members[second:second + first]] = 1
        _together(result, members, population.keys)
    found = result[rows]
    for code, (name, wanted) in enumerate((("training", 1), ("validation", validation), ("test", test))):
        if wanted and not (found == code).any():
            different = len(np.unique(population.keys[rows]))
            raise UserError(f"{total:,} rows, of which {different:,} differ in their inputs, are too few for a {name} split"
                            f"{f' of {wanted}' if code else ''}, since rows of equal inputs stay together; give more rows or a larger "
                            "fraction")
    return found, _said(rare)


def _said(rare: list[tuple[str, int]]) -> list[str]:
    """Return the note about labels with too few rows, the first of them named; none where every label has enough."""
    if len(rare) == 1:
        return [f"the label '{rare[0][0]}' has {rare[0][1]} row{'s' if rare[0][1] > 1 else ''}, too few for every split"]
    named = ", ".join(f"{name} ({size})" for name, size in rare[:NAMED]) + (f" and {len(rare) - NAMED:,} more" if len(rare) > NAMED else "")
    return [f"{len(rare):,} labels have too few rows for every split: {named}"] if rare else []


def _quotas(sizes: np.ndarray, count: int, total: int) -> np.ndarray:
    """Return how many rows each stratum gives so that they sum to `count` (largest remainders)."""
    import numpy as np

    exact = sizes * (count / total)
    quotas = np.floor(exact).astype(np.int64)
    missing = count - int(quotas.sum())
    quotas[np.argsort(-(exact - quotas), kind="stable")[:missing]] += 1
    return quotas


def _together(result: np.ndarray, members: np.ndarray, keys: np.ndarray) -> None:
    """Give rows of equal key, neighbours in `members`, the split of the first of them: a duplicate must not leak."""
    import numpy as np

    if not len(members):
        return
    sorted_keys = keys[members]
    starts = np.flatnonzero(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]])
    group = np.cumsum(np.r_[True, sorted_keys[1:] != sorted_keys[:-1]]) - 1
    result[members] = result[members[starts]][group]
