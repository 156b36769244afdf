"""Pinball loss of the quantiles, averaged over them: below by d costs level * d, above by d costs (1 - level) * d.

Source: Koenker and Bassett, "Regression Quantiles", Econometrica 46 (1978).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import mean_metric

if TYPE_CHECKING:
    import numpy as np


class Pinball(Config):
    """Mean pinball loss over the quantiles."""

    quantiles: tuple[float, ...] = Field(min_length=1)
    """The levels of the answer's quantiles."""


@register("evaluate", "pinball")
def pinball(config: Pinball) -> Metric:
    """Build the metric; equals the mean of scikit-learn's `mean_pinball_loss` over the levels; nan without rows."""

    def of(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
        import numpy as np

        if values.shape[1] != 1 + len(config.quantiles):
            raise ValueError(f"{len(config.quantiles)} levels do not fit values with {values.shape[1] - 1} quantiles")
        total = np.zeros(len(truth))
        for index, level in enumerate(config.quantiles):
            short = truth - values[:, 1 + index]
            total += np.maximum(level * short, (level - 1) * short)
        return total / len(config.quantiles)

    return mean_metric(of, kind="number", higher_is_better=False)
