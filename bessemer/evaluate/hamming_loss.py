"""Hamming loss: the share of all flags that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import held, mean_metric

if TYPE_CHECKING:
    import numpy as np


class HammingLoss(Config):
    """Share of flags that are wrong."""


@register("evaluate", "hamming_loss")
def hamming_loss(config: HammingLoss) -> Metric:
    """Build the metric; equals scikit-learn's `hamming_loss`; nan without rows."""

    def of(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        found: np.ndarray = (held(probabilities) != truth).mean(axis=1)
        return found

    return mean_metric(of, kind="flags", higher_is_better=False)
