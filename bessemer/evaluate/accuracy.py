"""Accuracy: the share of rows whose most probable class is the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, labelled, shaped, weightings

if TYPE_CHECKING:
    import numpy as np


class Accuracy(Config):
    """Share of rows predicted right."""


@register("evaluate", "accuracy")
def accuracy(config: Accuracy) -> Metric:
    """Build the metric; its state is one array, right or not for each labelled row; nan without rows."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        truth, probabilities = labelled(truth, probabilities)
        return grow(state, (probabilities.argmax(axis=1) == truth,))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        right, table = state[0].astype(float), weightings(weights, len(state[0]))
        return shaped(divide(table @ right, table.sum(axis=1), float("nan")), weights)

    return Metric(update=update, merge=join, finalise=finalise, share=True)
