"""F1: the harmonic mean of precision and recall."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import Average, count_metric, f1_of


class F1(Config):
    """F1; 0 where it would divide by 0, as in scikit-learn."""

    average: Average = "macro"
    """How classes are combined: macro, micro, weighted, or binary (class code 1 alone)."""


@register("evaluate", "f1")
def f1(config: F1) -> Metric:
    """Build the metric; equals scikit-learn's `f1_score` with its default labels."""
    return count_metric(f1_of, config.average)
