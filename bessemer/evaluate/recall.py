"""Recall: of the rows of a class, the share that was found."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import Average, count_metric, recall_of


class Recall(Config):
    """Recall; 0 where it would divide by 0, as in scikit-learn."""

    average: Average = "macro"
    """How classes are combined: macro, micro, weighted, or binary (class code 1 alone)."""


@register("evaluate", "recall")
def recall(config: Recall) -> Metric:
    """Build the metric; equals scikit-learn's `recall_score` with its default labels."""
    return count_metric(recall_of, config.average)
