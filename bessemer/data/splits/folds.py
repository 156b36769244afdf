"""Folds of cross-validation: each row is a test row in one of k runs, which differ in the number of the fold alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import STREAM, Population, Splitter, divide, order, share

if TYPE_CHECKING:
    import numpy as np


class Folds(Config):
    """One fold of stratified cross-validation, keyed by seed and content: run the recipe once for each fold."""

    folds: Annotated[int, Field(ge=2, le=1000)] = 5
    """Into how many parts the rows are divided."""
    fold: Annotated[int, Field(ge=0)] = 0
    """The part that is the test, from 0 to folds - 1."""
    validation: Part = 0.1
    """Rows for validation, stratified, out of the other parts: a fraction of all rows, or a whole number of rows."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Folds:
        if self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but with {self.folds} folds they are numbered 0 to {self.folds - 1}")
        return self


@register("data/splits", "folds")
def splitter(config: Folds) -> Splitter:
    """Return the split of one fold."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        fold_N = fold_of(population, config.folds)
        if len(np.unique(fold_N)) < config.folds:
            raise UserError(f"{len(fold_N):,} rows, of which {len(np.unique(population.keys)):,} differ in their inputs, are too few for "
                            f"{config.folds} folds; give more rows or fewer folds")
        result = np.where(fold_N == config.fold, 2, 0).astype(np.int8)
        rest = np.flatnonzero(result == 0)
        carved, notes = divide(population, rest, share(len(fold_N), config.validation), 0, stratified=True)
        result[rest] = carved
        return result, notes

    return Splitter(assign)


def fold_of(population: Population, folds: int) -> np.ndarray:
    """Return the fold of each row, int64 [N]: every label spread evenly, rows of equal inputs in the same fold.

    Rows are drawn in an order of their own, not in that by which `divide` draws validation rows.
    """
    import numpy as np

    ranked = order(population.keys, population.seed, STREAM + 1)
    ranked = ranked[np.argsort(population.strata[ranked], kind="stable")]
    first = np.unique(population.keys[ranked], return_index=True)[1]  # of rows with equal inputs the first decides
    place_U = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    _, inverse = np.unique(population.keys, return_inverse=True)
    found: np.ndarray = (place_U % folds)[inverse]
    return found
