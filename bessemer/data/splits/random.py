"""Random split: every row is drawn alike, whatever its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.data.parts import Part
from bessemer.data.split import Population, Splitter, divide

if TYPE_CHECKING:
    import numpy as np


class Random(Config):
    """Rows drawn at random, keyed by seed and content."""

    validation: Part = 0.1
    """Rows for validation: a fraction, or a whole number of rows."""
    test: Part = 0.1
    """Rows for the test: a fraction, or a whole number of rows."""


@register("data/splits", "random")
def splitter(config: Random) -> Splitter:
    """Return the random split."""

    def assign(population: Population) -> tuple[np.ndarray, list[str]]:
        import numpy as np

        return divide(population, np.arange(len(population.keys)), config.validation, config.test, stratified=False)

    return Splitter(assign)
