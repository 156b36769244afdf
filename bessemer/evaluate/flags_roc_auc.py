"""ROC AUC of flags: each label's area under the curve; the mean over the labels that both hold and do not hold for some row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import flagged, grow, join, shaped
from bessemer.evaluate.average_precision import mean_over_labels
from bessemer.evaluate.roc_auc import area

if TYPE_CHECKING:
    import numpy as np


class FlagsRocAuc(Config):
    """Area under the receiver operating characteristic of flags, macro."""


@register("evaluate", "flags_roc_auc")
def flags_roc_auc(config: FlagsRocAuc) -> Metric:
    """Build the metric; equals scikit-learn's `roc_auc_score` of flags (macro); nan where it is undefined for every label."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        return grow(state, flagged(truth, probabilities))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        return shaped(mean_over_labels(area, state, weights), weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="flags")
