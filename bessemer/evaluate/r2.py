"""R², the coefficient of determination: the share of the truth's variance that the estimates explain.

1 - (sum of squared errors) / (sum of squared distances of the truth from its own weighted mean); below 0 where the mean alone would
do better. Both sums are of centred and scaled values, so a value such as 0.9999958 keeps its digits.
Legend: N rows, R weightings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, shaped, valued, weightings

if TYPE_CHECKING:
    import numpy as np


ROUNDING = 1e-28
"""A centred sum of squares below this share of the uncentred one is rounding: the truth is constant."""


class R2(Config):
    """R²; undefined where the truth is constant."""


@register("evaluate", "r2")
def r2(config: R2) -> Metric:
    """Build the metric; equals scikit-learn's `r2_score` where the truth varies, and is nan where it does not."""

    def update(state: Any, truth: np.ndarray, values: np.ndarray) -> Any:
        truth, values = valued(truth, values)
        return grow(state, (truth, truth - values[:, 0]))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        truth, error = state
        table = weightings(weights, len(truth))
        if not len(truth):
            return shaped(np.full(len(table), np.nan), weights)
        near = truth - truth.mean()
        unit = float(np.abs(near).max()) or 1.0  # squares of very large or very small distances would leave float64
        near, error = near / unit, error / unit
        means = divide(table @ near, table.sum(axis=1), 0.0)
        away = np.array([row @ (near - mean) ** 2 for row, mean in zip(table, means, strict=True)])
        varies = away > ROUNDING * (table @ near**2)
        found = 1.0 - divide(table @ error**2, np.where(varies, away, 0.0), np.nan)
        return shaped(found, weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="number")
