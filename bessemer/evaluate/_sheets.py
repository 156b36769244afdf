"""The tables and curves of a score sheet beside its metrics: one function a kind of answer.

Legend: N rows with a truth, C classes, L labels, Q quantiles.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bessemer.evaluate._counts import counts, f1_of, precision_of, recall_of
from bessemer.evaluate._rows import held
from bessemer.evaluate.average_precision import precision_area
from bessemer.evaluate.ece import bin_of
from bessemer.evaluate.flags_f1 import flag_counts
from bessemer.evaluate.roc_auc import area

if TYPE_CHECKING:
    import numpy as np

    from bessemer.core.types import Answer

NUM_BINS = 15
MAX_CURVES = 10
MAX_POINTS = 200
MAX_SCATTER = 300
RESIDUAL_BINS = 24
RESIDUAL_ENDS = (0.5, 99.5)


def sheet(truth: np.ndarray, answer: Answer) -> dict[str, Any]:
    """Return what a kind's score sheet has beside metrics, of rows that all have a truth; see `score`."""
    if answer.kind == "number":
        return _number(truth, answer)
    if answer.kind == "flags":
        return {"labels": list(answer.labels), "per_label": per_label(truth, answer.values, answer.labels)}
    if answer.kind == "tags":
        there = truth >= 0
        return {"labels": list(answer.labels), "units": int((truth != -1).sum()), "unknown_tags": int((truth == -2).sum()),
                "per_label": per_tag(truth[there], answer.values[there], answer.labels)}
    guess = answer.values.argmax(axis=1)
    return {"labels": list(answer.labels), "per_class": per_class(truth, guess, answer.labels),
            "confusion": confusion(truth, guess, len(answer.labels)).tolist(), "roc": roc(truth, answer.values, answer.labels),
            "calibration": calibration(truth, answer.values)}


# ---- labels ----------------------------------------------------------------------------------------------------------

def per_class(truth: np.ndarray, guess: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return label, precision, recall, f1 and support of each class: truth int [N], guess int [N]."""
    import numpy as np

    found = counts(truth, guess, len(labels), np.ones((1, len(truth))))
    columns = [ratio(*found)[0] for ratio in (precision_of, recall_of, f1_of)]
    return [{"label": label, "precision": float(columns[0][code]), "recall": float(columns[1][code]),
             "f1": float(columns[2][code]), "support": int(found[2][0, code])} for code, label in enumerate(labels)]


def per_tag(truth: np.ndarray, guess: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return label, precision, recall, f1 and support of each tag: truth int [units], guess int [units]."""
    import numpy as np

    size = len(labels)
    both = np.bincount(truth * size + guess, minlength=size * size).reshape(size, size)
    found = (both.diagonal().astype(float), both.sum(axis=0).astype(float), both.sum(axis=1).astype(float))
    columns = [ratio(*found) for ratio in (precision_of, recall_of, f1_of)]
    return [{"label": label, "precision": float(columns[0][code]), "recall": float(columns[1][code]),
             "f1": float(columns[2][code]), "support": int(found[2][code])} for code, label in enumerate(labels)]


def confusion(truth: np.ndarray, guess: np.ndarray, num_classes: int) -> np.ndarray:
    """Return counts int [C, C]: row is the true class, column the predicted one."""
    import numpy as np

    return np.bincount(truth * num_classes + guess, minlength=num_classes**2).reshape(num_classes, num_classes)


def roc(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the ROC curve of class 1 (two classes), or of each class against the rest, most frequent first."""
    import numpy as np

    support = np.bincount(truth, minlength=len(labels))
    codes = [1] if len(labels) == 2 else np.argsort(-support, kind="stable")[:MAX_CURVES].tolist()
    return [_curve(truth == code, probabilities[:, code], labels[code]) for code in codes
            if 0 < support[code] < len(truth)]


def _curve(is_class: np.ndarray, scores: np.ndarray, label: str) -> dict[str, Any]:
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last row of each group of ties
    hits = np.concatenate([[0], np.cumsum(is_class[order])[ends]])
    misses = np.concatenate([[0], (ends + 1) - hits[1:]])
    tpr, fpr = hits / hits[-1], misses / misses[-1]
    if len(tpr) > MAX_POINTS:  # evenly along the curve, so that steep and flat parts both keep their shape
        keep = np.unique(np.searchsorted(tpr + fpr, np.linspace(0, 2, MAX_POINTS)).clip(0, len(tpr) - 1))
        tpr, fpr = tpr[keep], fpr[keep]
    auc = area(is_class, scores, np.ones((1, len(scores))))[0]
    return {"label": label, "auc": float(auc), "fpr": fpr.tolist(), "tpr": tpr.tolist()}


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """Return confidence and accuracy of the top class in each of 15 equal-width bins that holds rows."""
    import numpy as np

    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    codes = bin_of(confidence, NUM_BINS)
    found = []
    for code in np.unique(codes).tolist():
        inside = codes == code
        found.append({"low": code / NUM_BINS, "high": (code + 1) / NUM_BINS, "count": int(inside.sum()),
                      "confidence": float(confidence[inside].mean()), "accuracy": float(right[inside].mean())})
    return found


# ---- numbers ---------------------------------------------------------------------------------------------------------

def _number(truth: np.ndarray, answer: Answer) -> dict[str, Any]:
    import numpy as np

    shown = np.unique(np.linspace(0, len(truth) - 1, min(MAX_SCATTER, len(truth))).astype(np.int64))
    found: dict[str, Any] = {
        "scatter": [[float(true), float(guess)] for true, guess in zip(truth[shown], answer.values[shown, 0], strict=True)],
        "residuals": residuals(truth - answer.values[:, 0])}
    if answer.quantiles:
        below = (truth[:, None] <= answer.values[:, 1:]).mean(axis=0)
        found["quantiles"] = [{"level": level, "below": float(share)} for level, share in zip(answer.quantiles, below, strict=True)]
    return found


def residuals(errors: np.ndarray) -> dict[str, Any]:
    """Return a histogram of truth - estimate, float [N].

    Returns:
        edges: rising; counts: of each bin, the outer ones with what lies beyond; lowest, highest, mean, median.
    """
    import numpy as np

    low, high = (float(end) for end in np.percentile(errors, RESIDUAL_ENDS))
    edges = np.linspace(low, high, RESIDUAL_BINS + 1)
    if not np.all(np.diff(edges) > 0):  # one value, or values too near for bins between them
        edges = np.array([float(errors.min()), float(errors.max())])
    places = np.clip(np.searchsorted(edges, errors, side="right") - 1, 0, len(edges) - 2)
    return {"edges": edges.tolist(), "counts": np.bincount(places, minlength=len(edges) - 1).tolist(), "lowest": float(errors.min()),
            "highest": float(errors.max()), "mean": float(errors.mean()), "median": float(np.median(errors))}


# ---- flags -----------------------------------------------------------------------------------------------------------

def per_label(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return label, precision, recall, f1, support, average_precision and roc_auc (None: undefined) of each label: bool [N, L]."""
    import numpy as np

    once = np.ones((1, len(truth)))
    found = flag_counts(truth, held(probabilities), once)
    columns = [ratio(*found)[0] for ratio in (precision_of, recall_of, f1_of)]
    rows = []
    for code, label in enumerate(labels):
        areas = [float(of(truth[:, code], probabilities[:, code], once)[0]) for of in (precision_area, area)]
        rows.append({"label": label, **{name: float(column[code]) for name, column in zip(("precision", "recall", "f1"), columns,
                                                                                        strict=True)},
                     "support": int(found[2][0, code]), **{name: None if math.isnan(value) else value
                                                           for name, value in zip(("average_precision", "roc_auc"), areas, strict=True)}})
    return rows
