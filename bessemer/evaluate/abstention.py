"""Answering only where the model is sure: thresholds chosen on validation rows, what they give on others.

A row is answered where the probability of its most probable class is at least the threshold (Chow 1970; Geifman & El-Yaniv 2017:
selective classification). Coverage is the part of the rows that is answered, and accuracy that of the answered ones.

Legend: N rows, C classes, R resamples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


def thresholds(confidence_N: np.ndarray, coverages: tuple[float, ...] = COVERAGES) -> dict[float, float]:
    """Return for each coverage the largest threshold that answers at least that part of these rows.

    Args:
        confidence_N: probability of the most probable class, of validation rows.
        coverages: wished for, each above 0 and at most 1; 1 answers everything.
    """
    import numpy as np

    falling = np.sort(confidence_N)[::-1]
    found = {}
    for coverage in coverages:
        if not 0 < coverage <= 1:
            raise ValueError(f"a coverage is above 0 and at most 1, not {coverage}")
        kept = int(np.ceil(coverage * len(falling) - 1e-9))
        found[coverage] = 0.0 if coverage == 1 or not len(falling) else float(falling[max(kept, 1) - 1])
    return found


def threshold_for_accuracy(confidence_N: np.ndarray, correct_N: np.ndarray, accuracy: float) -> float | None:
    """Return the smallest threshold from which on the answered validation rows are right often enough, None where none does.

    Args:
        confidence_N: probability of the most probable class.
        correct_N: whether that class is right, bool.
        accuracy: wished for.
    """
    import numpy as np

    order = np.argsort(-confidence_N, kind="stable")
    right = np.cumsum(correct_N[order]) / np.arange(1, len(order) + 1)
    falling = confidence_N[order]
    whole = np.append(falling[1:] != falling[:-1], True)  # rows of equal confidence are answered together
    good = np.flatnonzero((right >= accuracy) & whole)
    return float(falling[good[-1]]) if len(good) else None


def accuracy_at_coverage(validation: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], seed: int,
                         resamples: int) -> list[dict[str, Any]]:
    """Return what each threshold, chosen on validation rows, gives on test rows.

    Args:
        validation: truth (int [N], below 0 where unknown) and probabilities [N, C].
        test: the same of the rows that are reported.
        seed: of the resamples.
        resamples: bootstrap resamples behind an interval.

    Returns:
        for each coverage: `coverage` (wished for), `threshold`, `answered` (part of the test rows), `accuracy`, `low`, `high` (95%
        interval over the answered rows), `rows` (answered); accuracy and interval are None where no row is answered.
    """
    import numpy as np

    from bessemer.evaluate.score import interval

    chosen = thresholds(_known(*validation)[0])
    confidence_N, correct_N = _known(*test)
    rng = np.random.Generator(np.random.Philox(key=[seed, 2**34]))
    found = []
    for coverage, threshold in chosen.items():
        right = correct_N[confidence_N >= threshold]
        entry: dict[str, Any] = {"coverage": coverage, "threshold": threshold, "answered": len(right) / max(1, len(correct_N)),
                                 "rows": len(right), "accuracy": None, "low": None, "high": None}
        if len(right):
            drawn_R = rng.binomial(len(right), right.mean(), resamples) / len(right)  # resampling rows of 0 and 1 is a binomial draw
            low, high = interval(drawn_R, float(right.mean()), len(right))
            entry.update(accuracy=float(right.mean()), low=low, high=high)
        found.append(entry)
    return found


def _known(truth_N: np.ndarray, values_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return confidence and correctness of the rows that have a label."""
    known = truth_N >= 0
    return values_NC[known].max(axis=1), values_NC[known].argmax(axis=1) == truth_N[known]
