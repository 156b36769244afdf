"""Recall of spans: the share of the spans that are there which are said, its type and both ends the same."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import recall_of
from bessemer.evaluate._tags import span_metric


class SpanRecall(Config):
    """The tags whose spans are counted."""

    labels: tuple[str, ...]
    """Names in code order: O, or B, I (M), E, S with or without a type."""


@register("evaluate", "span_recall")
def span_recall(config: SpanRecall) -> Metric:
    """Build the metric; equals seqeval's `recall_score` (Nakayama 2018) of all types together; 0 where it would divide by 0."""
    return span_metric(recall_of, config.labels)
