"""Stratified split: every split has each label in its proportion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import Population, Splitter, divide

if TYPE_CHECKING:
    import numpy as np


class Stratified(Config):
    """Rows drawn label by label, keyed by seed and content; the counts are exact (largest remainders)."""

    validation: Part = 0.1
    """Rows for validation: a fraction, or a whole number of rows."""
    test: Part = 0.1
    """Rows for the test: a fraction, or a whole number of rows."""


@register("data/splits", "stratified")
def splitter(config: Stratified) -> Splitter:
    """Return the stratified split."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        return divide(population, np.arange(len(population.keys)), config.validation, config.test, stratified=True)

    return Splitter(assign)
