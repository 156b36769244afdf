"""Everything that is said about one form of a model on one split, from its probabilities.

Legend: N rows, C classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import plugins
from bessemer.core.types import Metric
from bessemer.evaluate._counts import counts, f1_of, precision_of, recall_of
from bessemer.evaluate._rows import labelled
from bessemer.evaluate.ece import bin_of
from bessemer.evaluate.roc_auc import area

if TYPE_CHECKING:
    import numpy as np

MAIN = ("accuracy", "precision", "recall", "f1", "f1_micro", "f1_weighted", "roc_auc", "log_loss", "ece")
"""The metrics that every evaluation gives, by the names that users expect."""

NUM_BINS = 15
MAX_CURVES = 10
MAX_POINTS = 200
CHUNK = 4_000_000
MAX_WORK = 200_000_000


def named(name: str) -> Metric:
    """Return a metric by the name that users expect, with an average as its ending: `f1`, `f1_micro`, `roc_auc`.

    Raises:
        UserError: no metric has this name; the nearest is given.
    """
    known = plugins("evaluate")
    base, _, average = name.rpartition("_")
    if name not in known and base in known and "average" in known[base].config.model_fields:
        if average in ("macro", "micro", "weighted", "binary"):
            found: Metric = known[base].function(known[base].config.model_validate({"average": average}))
            return found
    if name not in known:
        raise UserError(f"there is no metric '{name}'{nearest(name, {*known, *MAIN})}")
    plain: Metric = known[name].function(known[name].config())
    return plain


def affordable(num_rows: int, num_classes: int, resamples: int) -> int:
    """Return how many resamples are drawn: all that were asked for, fewer (at least 100) on very large sets."""
    work = max(1, num_rows * max(2, num_classes))
    return min(resamples, max(100, MAX_WORK // work))


def resampled(num_rows: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield bootstrap weights float64 [r, N] in chunks of bounded memory; resample i depends on (seed, i, N) alone."""
    import numpy as np

    step = max(1, CHUNK // max(1, num_rows))
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        table = np.empty((stop - start, num_rows))
        for index in range(start, stop):
            drawn = np.random.default_rng((seed, index)).integers(0, num_rows, num_rows)
            table[index - start] = np.bincount(drawn, minlength=num_rows)
        yield table


def interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """Return the central 95% of resampled values [R], leaving out undefined ones; (None, None) where none is left."""
    import numpy as np

    defined = values[~np.isnan(values)]
    if not len(defined):
        return None, None
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


def number(value: float) -> float | None:
    """Return a number that JSON can hold: None where it is undefined."""
    return None if math.isnan(value) else float(value)


def score(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...], seed: int,
          resamples: int = 1000) -> dict[str, Any]:
    """Score probabilities by every main metric, each with a percentile bootstrap 95% interval over the same resamples.

    Args:
        truth: int [N], class codes; below 0 where a row has no label (left out).
        probabilities: float [N, C].
        labels: the C class names in code order.
        seed: keys the resamples.
        resamples: how many to draw; fewer on very large sets, the number is in the result.

    Returns:
        JSON values: rows, unlabelled, seed, resamples, labels; metrics: name -> value, low, high (None: undefined);
        per_class; confusion [C][C] (rows are truth); roc: label, auc, fpr, tpr (≤ 200 points, ≤ 10 classes);
        calibration: low, high, confidence, accuracy, count of each bin that holds rows.

    Raises:
        UserError: no row has a label.
    """
    import numpy as np

    given = len(truth)
    truth, probabilities = labelled(truth, probabilities)
    if probabilities.shape[1] != len(labels):
        raise ValueError(f"{len(labels)} labels do not fit {probabilities.shape[1]} columns of probabilities")
    if not len(truth):
        raise UserError(f"none of the {given:,} rows to score has a label; give rows with a known label")
    metrics = {name: named(name) for name in MAIN}
    states = {name: metric.update(None, truth, probabilities) for name, metric in metrics.items()}
    drawn = affordable(len(truth), len(labels), resamples)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for weights in resampled(len(truth), seed, drawn):
        for name, metric in metrics.items():
            parts[name].append(metric.finalise(states[name], weights))
    found = {}
    for name, metric in metrics.items():
        low, high = interval(np.concatenate(parts[name])) if drawn else (None, None)
        found[name] = {"value": number(metric.finalise(states[name])), "low": low, "high": high}
    guess = probabilities.argmax(axis=1)
    return {"rows": len(truth), "unlabelled": given - len(truth), "seed": seed, "resamples": drawn,
            "labels": list(labels), "metrics": found, "per_class": per_class(truth, guess, labels),
            "confusion": confusion(truth, guess, len(labels)).tolist(), "roc": roc(truth, probabilities, labels),
            "calibration": calibration(truth, probabilities)}


def per_class(truth: np.ndarray, guess: np.ndarray, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return label, precision, recall, f1 and support of each class: truth int [N], guess int [N]."""
    import numpy as np

    found = counts(truth, guess, len(labels), np.ones((1, len(truth))))
    columns = [ratio(*found)[0] for ratio in (precision_of, recall_of, f1_of)]
    return [{"label": label, "precision": float(columns[0][code]), "recall": float(columns[1][code]),
             "f1": float(columns[2][code]), "support": int(found[2][0, code])} for code, label in enumerate(labels)]


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


def most_confident_errors(truth: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Return positions int64 [≤ k] of wrong rows, the most confident first (ties by position)."""
    import numpy as np

    truth = np.asarray(truth)
    wrong = np.flatnonzero((truth >= 0) & (probabilities.argmax(axis=1) != truth))
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:k]
