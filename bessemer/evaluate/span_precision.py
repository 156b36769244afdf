"""Precision of spans: the share of the spans that are said which are there, its type and both ends the same."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import precision_of
from bessemer.evaluate._tags import span_metric


class SpanPrecision(Config):
    """The tags whose spans are counted."""

    labels: tuple[str, ...]
    """Names in code order: O, or B, I (M), E, S with or without a type."""


@register("evaluate", "span_precision")
def span_precision(config: SpanPrecision) -> Metric:
    """Build the metric; equals seqeval's `precision_score` (Nakayama 2018) of all types together; 0 where it would divide by 0."""
    return span_metric(precision_of, config.labels)
