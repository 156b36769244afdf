"""Is one form better than another on the very same rows? A paired bootstrap and McNemar's exact test.

The difference on shared resamples is far tighter than two separate intervals, which is why forms are compared by it.
Sources: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993); McNemar, Psychometrika 12 (1947).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.evaluate.score import TRUTHS, affordable, interval, known_rows, measurable, named, number, resampled

if TYPE_CHECKING:
    import numpy as np

    from bessemer.core.types import Answer

COMPARED: Mapping[str, tuple[str, ...]] = {"label": ("accuracy", "f1"), "number": ("rmse", "r2", "mae"), "flags": ("f1_micro",),
                                              "tags": ("accuracy", "span_f1")}
"""Kind of answer -> the metrics that are compared; the first decides."""


ROUNDING = 1e-7
"""Scores that differ by less, relative to the larger, differ by the rounding of float32, however sure the interval is."""


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


def verdict(low: float | None, high: float | None, larger_is_better: bool = True) -> str:
    """Return `better`, `worse` or `no difference` for the first of two, by where the interval of the difference lies.

    >>> verdict(0.1, 0.2), verdict(0.1, 0.2, larger_is_better=False)
    ('better', 'worse')
    """
    if low is not None and low > 0:
        return "better" if larger_is_better else "worse"
    if high is not None and high < 0:
        return "worse" if larger_is_better else "better"
    return "no difference"


def paired(truth: np.ndarray, a: Answer, b: Answer, seed: int, resamples: int = 1000) -> dict[str, Any]:
    """Compare answer `a` with `b` on the same rows.

    Args:
        truth: as in `score`; rows without a truth are left out.
        a: of N rows.
        b: of the same rows, of the same kind and labels.
        seed: keys the resamples; the same as in `score`.
        resamples: how many to draw; fewer on very large sets, the number is in the result.

    Returns:
        JSON values: kind, rows, seed, resamples; each metric of `COMPARED[kind]`: a, b, difference (a - b), low, high, verdict (`better`:
        a is better, whichever direction of the metric that is); label: mcnemar: only_a, only_b (rows that only one gets right), p;
        verdict (that of the first metric).

    Raises:
        UserError: no row has a truth.
        ValueError: the answers are of different kinds or labels.
    """
    import numpy as np

    given, kind = len(truth), a.kind
    if (b.kind, b.labels) != (a.kind, a.labels):
        raise ValueError(f"only answers of one kind with the same labels can be compared, not {a.kind} {a.labels} and {b.kind} {b.labels}")
    (codes, first), (_, second) = known_rows(truth, a), known_rows(truth, b)
    if not len(codes):
        raise UserError(f"none of the {given:,} rows to compare has a {TRUTHS[kind]}; give rows with a known {TRUTHS[kind]}")
    metrics = {name: named(name, kind, labels=a.labels) for name in COMPARED[kind]
               if kind != "tags" or name in measurable(kind, labels=a.labels)}
    truths = codes.astype(np.int8) if kind == "flags" else codes
    sides = {name: (metric.update(None, truths, first), metric.update(None, truths, second)) for name, metric in metrics.items()}
    drawn = affordable(len(codes), len(a.labels), resamples)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for weights in resampled(len(codes), seed, drawn):
        for name, metric in metrics.items():
            parts[name].append(metric.finalise(sides[name][0], weights) - metric.finalise(sides[name][1], weights))
    found: dict[str, Any] = {"kind": kind, "rows": len(codes), "seed": seed, "resamples": drawn}
    for name, metric in metrics.items():
        scores = [float(metric.finalise(side)) for side in sides[name]]
        low, high = interval(np.concatenate(parts[name]), scores[0] - scores[1]) if drawn else (None, None)
        rounded = abs(scores[0] - scores[1]) <= ROUNDING * max(map(abs, scores))
        found[name] = {"a": number(scores[0]), "b": number(scores[1]), "difference": number(scores[0] - scores[1]), "low": low,
                       "high": high, "verdict": "no difference" if rounded else verdict(low, high, metric.higher_is_better)}
    if kind == "label":
        right_a, right_b = first.argmax(axis=1) == codes, second.argmax(axis=1) == codes
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        found["mcnemar"] = {"only_a": only_a, "only_b": only_b, "p": mcnemar(only_a, only_b)}
    found["verdict"] = found[COMPARED[kind][0]]["verdict"]
    return found
