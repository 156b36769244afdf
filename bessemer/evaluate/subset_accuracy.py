"""Subset accuracy: the share of rows of which every flag is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import held, mean_metric

if TYPE_CHECKING:
    import numpy as np


class SubsetAccuracy(Config):
    """Share of rows whose flags are all right."""


@register("evaluate", "subset_accuracy")
def subset_accuracy(config: SubsetAccuracy) -> Metric:
    """Build the metric; equals scikit-learn's `accuracy_score` of flags; nan without rows."""

    def of(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        found: np.ndarray = (held(probabilities) == truth).all(axis=1)
        return found

    return mean_metric(of, kind="flags", higher_is_better=True)
