"""Precision, recall and F1 are one count of hits read three ways: the shared half of their three plug-ins.

Legend: N rows, C classes, R weightings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.types import Metric
from bessemer.evaluate._rows import bins, divide, grow, join, labelled, shaped, weightings

if TYPE_CHECKING:
    import numpy as np

Average = Literal["macro", "micro", "weighted", "binary"]
"""`macro`: mean over classes that occur in truth or prediction; `weighted`: by support; `binary`: class 1 alone."""

Ratio = Callable[["np.ndarray", "np.ndarray", "np.ndarray"], "np.ndarray"]
"""(hits, predicted, support), each [R, …] -> score of the same shape."""


def precision_of(hits: np.ndarray, predicted: np.ndarray, _support: np.ndarray) -> np.ndarray:
    """Hits of all that was predicted; 0 where nothing was."""
    return divide(hits, predicted, 0.0)


def recall_of(hits: np.ndarray, _predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Hits of all that was there; 0 where nothing was."""
    return divide(hits, support, 0.0)


def f1_of(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, 2 hits / (predicted + support); 0 where the class does not occur."""
    return divide(2 * hits, predicted + support, 0.0)


def counts(truth: np.ndarray, guess: np.ndarray, num_classes: int, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return weighted hits, predicted and support, each [R, C]."""
    import numpy as np

    ones = np.ones(len(truth))
    hits = bins(truth, (truth == guess).astype(np.float64), weights, num_classes)
    return hits, bins(guess, ones, weights, num_classes), bins(truth, ones, weights, num_classes)


def averaged(ratio: Ratio, average: Average, found: tuple[np.ndarray, ...]) -> np.ndarray:
    """Average a ratio over classes as scikit-learn does with its default labels: [R, C] counts -> [R].

    A weighting without any row gives nan.
    """
    import numpy as np

    hits, predicted, support = found
    total = support.sum(axis=1)
    if average == "micro":
        value = ratio(hits.sum(axis=1), predicted.sum(axis=1), total)
    elif average == "binary":
        if hits.shape[1] != 2:
            raise ValueError(f"average 'binary' needs exactly two classes, not {hits.shape[1]}: use 'macro'")
        value = ratio(hits, predicted, support)[:, 1]
    else:
        by_class = ratio(hits, predicted, support)
        share = support if average == "weighted" else ((support + predicted) > 0).astype(np.float64)
        value = divide((by_class * share).sum(axis=1), share.sum(axis=1), np.nan)
    return np.where(total > 0, value, np.nan)


def count_metric(ratio: Ratio, average: Average) -> Metric:
    """Build the metric of one ratio; its state is (truth [N], predicted class [N], zeros [0 or more, C])."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        truth, probabilities = labelled(truth, probabilities)
        return grow(state, (truth, probabilities.argmax(axis=1), probabilities[:0]))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        truth, guess, shape = state
        found = counts(truth, guess, shape.shape[1], weightings(weights, len(truth)))
        return shaped(averaged(ratio, average, found), weights)

    return Metric(update=update, merge=join, finalise=finalise, share=True)
