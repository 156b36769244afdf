"""Split by group: rows of one group (a user, a document, a patient) are all in one split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import By, Population, Splitter, order, share

if TYPE_CHECKING:
    import numpy as np


class Group(Config):
    """Whole groups drawn at random, keyed by seed and the group's name, so many that each split is about as large as asked."""

    column: Annotated[str, Field(min_length=1)]
    """The column that names a row's group; it need not be an input. Rows without a group are set aside."""
    validation: Part = 0.1
    """Rows for validation: a fraction, or a whole number of rows; what whole groups come nearest to."""
    test: Part = 0.1
    """The same for the test."""


@register("data/splits", "group")
def splitter(config: Group) -> Splitter:
    """Return the split by group."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        assert population.by is not None
        groups, member_N, rows_G = np.unique(population.by, return_inverse=True, return_counts=True)
        total = len(member_N)
        split_G = np.zeros(len(groups), np.int8)
        ranked = order(groups, population.seed)
        sizes = []
        for code, name, part in ((2, "test", config.test), (1, "validation", config.validation)):
            wanted = share(total, part)
            if part and not wanted:
                raise UserError(f"{total:,} rows are too few for a {name} split of {part}; give more rows or a larger fraction")
            chosen = _fill(ranked[split_G[ranked] == 0], rows_G, wanted)
            split_G[chosen] = code
            sizes.append(f"{name} {int(rows_G[chosen].sum()):,} rows in {len(chosen):,}")
        asked = [0, *(code for code, part in ((1, config.validation), (2, config.test)) if part)]
        if not all((split_G == code).any() for code in asked):
            raise UserError(f"the column '{config.column}' has {len(groups):,} groups, too few (or too large ones) for training, "
                            "validation and test, since a group is never divided; make the splits larger or smaller, or choose another "
                            "column")
        return split_G[member_N], [f"of {len(groups):,} groups, each in one split: {', '.join(reversed(sizes))}"]

    return Splitter(assign, by=By(config.column, "group"))


def _fill(ranked: np.ndarray, rows_G: np.ndarray, wanted: int) -> np.ndarray:
    """Return the first groups whose rows come nearest to what is wanted; larger groups are passed over, and one group stays."""
    import numpy as np

    fit = ranked[rows_G[ranked] <= wanted][:max(0, len(ranked) - 1)]
    if not wanted or not len(fit):
        return fit[:0]
    off = np.abs(np.cumsum(rows_G[fit]) - wanted)
    found: np.ndarray = fit[:int(off.argmin()) + 1]
    return found
