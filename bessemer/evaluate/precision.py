"""Precision: of the rows predicted as a class, the share that truly is."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import Average, count_metric, precision_of


class Precision(Config):
    """Precision; 0 where it would divide by 0, as in scikit-learn."""

    average: Average = "macro"
    """How classes are combined: macro, micro, weighted, or binary (class code 1 alone)."""


@register("evaluate", "precision")
def precision(config: Precision) -> Metric:
    """Build the metric; equals scikit-learn's `precision_score` with its default labels."""
    return count_metric(precision_of, config.average)
