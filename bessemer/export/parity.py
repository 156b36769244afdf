"""Whether two forms of one model answer the same. N rows, C classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bessemer.core.errors import GuardError
from bessemer.core.types import Answer

if TYPE_CHECKING:
    import numpy as np


def assert_close(reference: np.ndarray, other: np.ndarray, tolerance: float = 1e-4, what: str = "the exported form") -> None:
    """Raise a GuardError that names the largest difference and its row (1-based), unless all of [N, C] are within `tolerance`.

    A value that is no finite number is never close to anything.
    """
    import numpy as np

    if reference.shape != other.shape:
        raise GuardError(f"{what}: shape {list(other.shape)} instead of {list(reference.shape)}")
    gap_NC = np.abs(reference.astype(np.float64) - other.astype(np.float64))
    gap_NC[~np.isfinite(gap_NC)] = np.inf
    if gap_NC.size and gap_NC.max() > tolerance:
        row = int(gap_NC.reshape(len(gap_NC), -1).max(axis=1).argmax())
        raise GuardError(f"{what}: the largest difference is {gap_NC.max():.3g}, in row {row + 1}; at most {tolerance:g} is allowed")


def same_answers(reference: Mapping[str, Answer], other: Mapping[str, Answer], what: str, tolerance: float = 1e-4,
                 truths: Mapping[str, np.ndarray] | None = None) -> float:
    """Raise a GuardError unless all answers are within `tolerance`; return the largest difference.

    Probabilities are compared as they are, numbers relative to the spread (standard deviation) of the reference's, or of the truths where
    these are given and spread wider: a network that says nearly the same of every row rounds no better for it.
    """
    import numpy as np

    def spread(values: np.ndarray) -> float:
        known = values[np.isfinite(values)]
        return float(np.std(known)) if len(known) > 1 else 0.0

    largest = 0.0
    for target, answer in reference.items():
        first, second = answer.values, other[target].values
        scale = 1.0
        if answer.kind == "number" and len(first) > 1:
            scale = max(spread(first), 0.0 if truths is None else spread(truths[target]), 1e-12)
        assert_close(first / scale, second / scale, tolerance, f"{what}, target '{target}'")
        largest = max(largest, float(np.abs(first / scale - second / scale).max(initial=0.0)))
    return largest


def agreement(reference: np.ndarray, other: np.ndarray) -> float:
    """Return the part of N rows (0 to 1) whose most probable class is the same; 1 without rows.

    >>> import numpy as np
    >>> agreement(np.array([[.9, .1], [.2, .8]]), np.array([[.6, .4], [.7, .3]]))
    0.5
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes {reference.shape} and {other.shape} differ")
    return float((reference.argmax(axis=1) == other.argmax(axis=1)).mean()) if len(reference) else 1.0
