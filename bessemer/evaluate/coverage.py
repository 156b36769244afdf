"""Coverage: the share of rows whose truth lies between the lowest and the highest quantile; as good as it is near their distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import mean_metric

if TYPE_CHECKING:
    import numpy as np


class Coverage(Config):
    """Share of true values inside the outermost quantiles."""


@register("evaluate", "coverage")
def coverage(config: Coverage) -> Metric:
    """Build the metric; it needs two quantiles at least; nan without rows."""

    def of(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
        if values.shape[1] < 3:
            raise ValueError(f"coverage needs two quantiles at least, not {values.shape[1] - 1}")
        found: np.ndarray = (values[:, 1] <= truth) & (truth <= values[:, -1])
        return found

    return mean_metric(of, kind="number", higher_is_better=True)
