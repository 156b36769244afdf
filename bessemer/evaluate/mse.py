"""Mean squared error, in the square of the target's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import mean_metric

if TYPE_CHECKING:
    import numpy as np


class Mse(Config):
    """Mean squared error."""


@register("evaluate", "mse")
def mse(config: Mse) -> Metric:
    """Build the metric; equals scikit-learn's `mean_squared_error`; nan without rows."""

    def of(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = (truth - values[:, 0]) ** 2
        return found

    return mean_metric(of, kind="number", higher_is_better=False)
