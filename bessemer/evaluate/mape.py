"""Mean absolute percentage error, as a share (0.1 is 10%): the distance from the truth in parts of the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, shaped, valued, weightings

if TYPE_CHECKING:
    import numpy as np


class Mape(Config):
    """Mean absolute percentage error; undefined where a true value is 0."""


@register("evaluate", "mape")
def mape(config: Mape) -> Metric:
    """Build the metric; equals scikit-learn's `mean_absolute_percentage_error` where no true value is 0, and is nan where one is."""

    def update(state: Any, truth: np.ndarray, values: np.ndarray) -> Any:
        truth, values = valued(truth, values)
        return grow(state, (divide(abs(truth - values[:, 0]), abs(truth), 0.0), truth == 0))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        share, zero = state
        table = weightings(weights, len(share))
        found = divide(table @ share, table.sum(axis=1), np.nan)
        return shaped(np.where(table @ zero.astype(float) > 0, np.nan, found), weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=False, kind="number")
