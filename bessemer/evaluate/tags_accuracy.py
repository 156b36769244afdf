"""Accuracy of tags: the share of the units whose tag is right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, shaped, weightings
from bessemer.evaluate._tags import tagged

if TYPE_CHECKING:
    import numpy as np


class TagsAccuracy(Config):
    """Share of units whose tag is right."""


@register("evaluate", "tags_accuracy")
def tags_accuracy(config: TagsAccuracy) -> Metric:
    """Build the metric, over the units of all rows together; a tag that no training row had is never right; nan without rows."""

    def update(state: Any, truth: np.ndarray, guess: np.ndarray) -> Any:
        truth, guess = tagged(truth, guess)
        there = truth != -1
        return grow(state, ((there & (truth == guess)).sum(axis=1).astype(float), there.sum(axis=1).astype(float)))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        table = weightings(weights, len(state[0]))
        return shaped(divide(table @ state[0], table @ state[1], math.nan), weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="tags", share=True)
