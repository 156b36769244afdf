"""F1 of spans: the harmonic mean of their precision and recall, its type and both ends the same."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import f1_of
from bessemer.evaluate._tags import span_metric


class SpanF1(Config):
    """The tags whose spans are counted."""

    labels: tuple[str, ...]
    """Names in code order: O, or B, I (M), E, S with or without a type."""


@register("evaluate", "span_f1")
def span_f1(config: SpanF1) -> Metric:
    """Build the metric; equals seqeval's `f1_score` (Nakayama 2018) of all types together; 0 where it would divide by 0."""
    return span_metric(f1_of, config.labels)
