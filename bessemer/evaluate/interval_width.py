"""Width of the interval between the lowest and the highest quantile, averaged over rows, in the target's unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import mean_metric

if TYPE_CHECKING:
    import numpy as np


class IntervalWidth(Config):
    """Mean distance of the outermost quantiles; narrower is better at the same coverage."""


@register("evaluate", "interval_width")
def interval_width(config: IntervalWidth) -> Metric:
    """Build the metric; it needs two quantiles at least; nan without rows."""

    def of(_truth: np.ndarray, values: np.ndarray) -> np.ndarray:
        if values.shape[1] < 3:
            raise ValueError(f"interval_width needs two quantiles at least, not {values.shape[1] - 1}")
        found: np.ndarray = values[:, -1] - values[:, 1]
        return found

    return mean_metric(of, kind="number", higher_is_better=False)
