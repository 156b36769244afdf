"""How sure a cheap model must be for its answer to stand. N rows, C classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

NEVER = 2.0
"""A threshold that no probability reaches: every row goes on."""


def calibrate_cascade(answers_cheap: np.ndarray, answers_dear: np.ndarray, truth: np.ndarray, drop: float) -> float:
    """Return the lowest threshold at which the rows that stop early are answered well enough.

    A row stops where its largest probability is at least the threshold. Of the rows that stop, the cheap answers are right at most `drop`
    less often than the dear answers are on the same rows. Every prefix of the rows by confidence is looked at, the longest one that holds
    is taken; rows of equal confidence stop together.

    Args:
        answers_cheap: probabilities [N, C].
        answers_dear: probabilities [N, C] of the model that rows go on to.
        truth: codes int [N]; rows below 0 have no label and play no part.
        drop: share of rows, 0 to 1.

    Returns:
        The threshold, or `NEVER` where no row may stop.

    >>> import numpy as np
    >>> cheap = np.array([[.9, .1], [.8, .2], [.4, .6]])
    >>> calibrate_cascade(cheap, np.eye(2)[[0, 0, 0]], np.array([0, 0, 0]), 0.0)
    0.8
    """
    import numpy as np

    known = truth >= 0
    cheap, dear, truth = answers_cheap[known], answers_dear[known], truth[known]
    sure = cheap.max(axis=1) if len(cheap) else np.zeros(0)
    order = np.argsort(-sure, kind="stable")
    lost = (dear.argmax(axis=1) == truth).astype(np.int64) - (cheap.argmax(axis=1) == truth) if len(cheap) else np.zeros(0, np.int64)
    total = np.cumsum(lost[order])
    stops = np.arange(1, len(order) + 1)
    whole = np.append(sure[order][1:] < sure[order][:-1], True) if len(order) else np.zeros(0, bool)  # not within equal confidences
    fine = np.flatnonzero(whole & (total <= drop * stops + 1e-9))
    return float(sure[order][fine[-1]]) if len(fine) else NEVER
