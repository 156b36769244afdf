"""Average precision of flags: each label's precision, averaged over the steps of its recall; then the mean over the labels that occur.

Source: Zhu, "Recall, precision and average precision", University of Waterloo (2004), as in scikit-learn: no interpolation, ties as one.
Legend: N rows, L labels, R weightings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, flagged, grow, join, shaped, weightings

if TYPE_CHECKING:
    import numpy as np


class AveragePrecision(Config):
    """Average precision, macro over labels that occur (mAP)."""


def precision_area(is_label: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision for each weighting: bool [N], float [N], float [R, N] -> [R]; nan where no row has the label."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last row of each group of ties
    inside = is_label[order]
    found = np.full(len(weights), np.nan)
    for index, row in enumerate(weights):
        mine = row[order]
        hits, all_rows = np.cumsum(mine * inside)[ends], np.cumsum(mine)[ends]
        if hits[-1] > 0:
            found[index] = np.diff(hits, prepend=0.0) @ divide(hits, all_rows, 0.0) / hits[-1]
    return found


@register("evaluate", "average_precision")
def average_precision(config: AveragePrecision) -> Metric:
    """Build the metric; equals scikit-learn's `average_precision_score` (macro) where every label occurs; nan where none does."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        return grow(state, flagged(truth, probabilities))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        return shaped(mean_over_labels(precision_area, state, weights), weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="flags")


def mean_over_labels(area: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], state: tuple[np.ndarray, np.ndarray],
                     weights: np.ndarray | None) -> np.ndarray:
    """Return [R] means of (flags, scores, weightings) -> [R] over the labels for which it is defined."""
    import numpy as np

    truth, probabilities = state
    table = weightings(weights, len(truth))
    if not len(truth):
        return np.full(len(table), np.nan)
    total, known = np.zeros(len(table)), np.zeros(len(table))
    for label in range(truth.shape[1]):
        found = area(truth[:, label], probabilities[:, label], table)
        defined = ~np.isnan(found)
        total += np.where(defined, found, 0.0)
        known += defined
    return divide(total, known, np.nan)
