"""Root mean squared error: an estimate's typical distance from the truth, large errors weighing more, in the target's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, shaped, valued, weightings

if TYPE_CHECKING:
    import numpy as np


class Rmse(Config):
    """Root mean squared error."""


@register("evaluate", "rmse")
def rmse(config: Rmse) -> Metric:
    """Build the metric; equals scikit-learn's `root_mean_squared_error`; its state is the error of each row; nan without rows."""

    def update(state: Any, truth: np.ndarray, values: np.ndarray) -> Any:
        truth, values = valued(truth, values)
        return grow(state, (truth - values[:, 0],))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        table = weightings(weights, len(state[0]))
        unit = float(np.abs(state[0]).max(initial=0.0)) or 1.0  # squares of very large or very small errors would leave float64
        return shaped(unit * np.sqrt(divide(table @ (state[0] / unit) ** 2, table.sum(axis=1), np.nan)), weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=False, kind="number")
