"""Is one form better than another on the very same rows? A paired bootstrap and McNemar's exact test.

The difference on shared resamples is far tighter than two separate intervals, which is why forms are compared by it.
Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993); McNemar, Psychometrika 12 (1947).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.evaluate._rows import labelled
from bessemer.evaluate.score import affordable, interval, named, number, resampled

if TYPE_CHECKING:
    import numpy as np

COMPARED = ("accuracy", "f1")


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test: are rows that only one gets right split evenly?

    >>> round(mcnemar(1, 9), 6)
    0.021484
    """
    total, least = only_a + only_b, min(only_a, only_b)
    if total == 0:
        return 1.0
    term = math.exp(math.lgamma(total + 1) - math.lgamma(least + 1) - math.lgamma(total - least + 1)
                    - total * math.log(2))
    tail = term
    for count in range(least, 0, -1):  # the binomial's tail downwards from its largest term
        term *= count / (total - count + 1)
        tail += term
        if term < tail * 1e-18:
            break
    return min(1.0, 2 * tail)


def verdict(low: float | None, high: float | None) -> str:
    """Return `better`, `worse` or `no difference` by where the interval of the difference lies."""
    if low is not None and low > 0:
        return "better"
    return "worse" if high is not None and high < 0 else "no difference"


def paired(truth: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int, resamples: int = 1000) -> dict[str, Any]:
    """Compare probabilities `a` with `b` on the same rows.

    Args:
        truth: int [N], class codes; below 0 where a row has no label (left out).
        a: float [N, C].
        b: float [N, C].
        seed: keys the resamples; the same as in `score`.
        resamples: how many to draw; fewer on very large sets, the number is in the result.

    Returns:
        JSON values: rows, seed, resamples; accuracy and f1 (macro): a, b, difference (a - b), low, high, verdict;
        mcnemar: only_a, only_b (rows that only one gets right), p; verdict (that of accuracy).

    Raises:
        UserError: no row has a label.
    """
    import numpy as np

    given = len(truth)
    (codes, a), (_, b) = labelled(truth, a), labelled(truth, b)
    if not len(codes):
        raise UserError(f"none of the {given:,} rows to compare has a label; give rows with a known label")
    metrics = {name: named(name) for name in COMPARED}
    sides = {name: (metric.update(None, codes, a), metric.update(None, codes, b)) for name, metric in metrics.items()}
    drawn = affordable(len(codes), a.shape[1], resamples)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for weights in resampled(len(codes), seed, drawn):
        for name, metric in metrics.items():
            parts[name].append(metric.finalise(sides[name][0], weights) - metric.finalise(sides[name][1], weights))
    found: dict[str, Any] = {"rows": len(codes), "seed": seed, "resamples": drawn}
    for name, metric in metrics.items():
        first, second = (metric.finalise(side) for side in sides[name])
        low, high = interval(np.concatenate(parts[name])) if drawn else (None, None)
        found[name] = {"a": number(first), "b": number(second), "difference": number(first - second), "low": low,
                       "high": high, "verdict": verdict(low, high)}
    right_a, right_b = a.argmax(axis=1) == codes, b.argmax(axis=1) == codes
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    found["mcnemar"] = {"only_a": only_a, "only_b": only_b, "p": mcnemar(only_a, only_b)}
    found["verdict"] = found["accuracy"]["verdict"]
    return found
