"""Given splits: rows come with their split and keep it; nothing in them is removed for being a duplicate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import SPLITS, Population, Splitter, divide

if TYPE_CHECKING:
    import numpy as np


class Given(Config):
    """The split that a column, or the `split` of each source, says; validation is carved from training where none is given."""

    column: str | None = None
    """The column that holds train, validation or test (or a usual other name of them)."""
    validation: Part = 0.1
    """Rows to carve from training, stratified, where no validation is given: a fraction, or a whole number of rows."""


@register("data/splits", "given")
def splitter(config: Given) -> Splitter:
    """Return the splits as given."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        result = population.given.copy()
        present = [name for code, name in enumerate(SPLITS) if (result == code).any()]
        if "train" not in present or "test" not in present:
            raise UserError(f"the given splits hold {' and '.join(present)} rows only; expected training and test rows")
        if "validation" in present:
            return result, []
        rows = np.flatnonzero(result == 0)
        carved, notes = divide(population, rows, config.validation, 0, stratified=True)
        result[rows] = carved
        return result, [*notes, f"no validation split is given: {int((carved == 1).sum()):,} rows are carved from training"]

    return Splitter(assign, given=True, column=config.column)
