"""Mean absolute error: how far an estimate is from the truth on average, in the target's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import mean_metric

if TYPE_CHECKING:
    import numpy as np


class Mae(Config):
    """Mean absolute error."""


@register("evaluate", "mae")
def mae(config: Mae) -> Metric:
    """Build the metric; equals scikit-learn's `mean_absolute_error`; nan without rows."""

    def of(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
        found: np.ndarray = abs(truth - values[:, 0])
        return found

    return mean_metric(of, kind="number", higher_is_better=False)
