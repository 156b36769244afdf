"""Split by time: the last rows are the test, those before them validation, as they would come in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import By, Population, Splitter, share

if TYPE_CHECKING:
    import numpy as np


class Time(Config):
    """Rows in order of a column: training first, then validation, then the test; the seed plays no part."""

    column: Annotated[str, Field(min_length=1)]
    """The column that orders rows: dates or numbers; it need not be an input. Dates are read as a column of dates reads them (2024-01-31,
    2024/1/31, 20240131 10:05, 31.01.2024, 31/01/2024, 01/31/2024, 31 Jan 2024, January 31, 2024, 2024年1月31日; with a time or without),
    and a month alone (2024-01). Rows without are set aside."""
    day_first: bool | None = None
    """How 05/01/2023 is read. By default as the rows that leave no choice are (31/01/2023). A date that can only be read the other way
    round is set aside where this is said."""
    validation: Part = 0.1
    """Rows for validation: a fraction, or a whole number of rows."""
    test: Part = 0.1
    """Rows for the test: a fraction, or a whole number of rows."""


@register("data/splits", "time", revision=2)
def splitter(config: Time) -> Splitter:
    """Return the split by time."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        assert population.by is not None
        total = len(population.by)
        held = [share(total, config.validation), share(total, config.test)]
        if sum(held) >= total:
            raise UserError(f"validation ({held[0]:,} rows) and test ({held[1]:,}) leave nothing of {total:,} rows for training; make them "
                            "smaller in the recipe's split")
        for name, part, count in (("validation", config.validation, held[0]), ("test", config.test, held[1])):
            if part and not count:
                raise UserError(f"{total:,} rows are too few for a {name} split of {part}; give more rows or a larger fraction")
        ranked = np.lexsort((population.keys, population.by))
        split_N = np.zeros(total, np.int8)
        split_N[ranked[total - held[1] - held[0]:total - held[1]]] = 1
        split_N[ranked[total - held[1]:]] = 2
        by, keys = population.by[ranked], population.keys[ranked]
        new = np.r_[True, (by[1:] != by[:-1]) | (keys[1:] != keys[:-1])]
        split_N[ranked] = split_N[ranked[new]][np.cumsum(new) - 1]  # equal rows of one moment stay together
        if len(np.unique(split_N)) < 1 + sum(count > 0 for count in held):
            raise UserError(f"the {total:,} rows are too much alike to be divided by '{config.column}': equal rows of one moment stay "
                            "together")
        torn = [name for code, name in ((1, "validation"), (2, "the test")) if (split_N == code).any() and _torn(by, split_N[ranked], code)]
        notes = [f"rows of one '{config.column}' lie on both sides of the beginning of {name}" for name in torn]
        return split_N, notes

    return Splitter(assign, by=By(config.column, "time", config.day_first), drawn=False)


def _torn(by: np.ndarray, splits: np.ndarray, code: int) -> bool:
    """Tell whether the first row of a split and the one before it are of one moment."""
    import numpy as np

    first = int(np.argmax(splits == code))
    return first > 0 and bool(by[first] == by[first - 1])
