"""How long an input must be: the fewest tokens that lose no more quality than allowed, learnt from validation answers.

A row costs its tokens; cutting at the length that the data need makes the long rows cheap and changes no weight.

Legend: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

SHORTEST = 8


def candidate_lengths(lengths: np.ndarray, longest: int, count: int = 6) -> tuple[int, ...]:
    """Return lengths worth a try, rising, `longest` last: at even quantiles of what the rows have, in multiples of eight.

    Args:
        lengths: tokens of each row, special ones included, [N].
        longest: the length so far.
        count: how many at most.

    >>> import numpy as np
    >>> candidate_lengths(np.arange(1, 101), 64, 4)
    (32, 56, 64)
    >>> candidate_lengths(np.array([5, 5, 6]), 128)
    (8, 128)
    """
    import numpy as np

    cut = np.minimum(lengths, longest)
    found = np.quantile(cut, np.linspace(0, 1, count + 1)[1:]) if len(cut) else np.array([float(longest)])
    steps = {max(SHORTEST, min(longest, int(-(-value // 8) * 8))) for value in found.tolist()}
    return tuple(sorted(steps | {longest})[-count:])


def shortest_length(lengths: np.ndarray, answers: Mapping[int, np.ndarray], truth: np.ndarray, drop: float) -> int:
    """Return the smallest maximal length that keeps accuracy: within `drop` of the longest's, and so at every length above it.

    Args:
        lengths: tokens of each row, special ones included, [N].
        answers: maximal length -> probabilities of the classes at it, [N, C]. Rows no longer than it have the longest's answer.
        truth: class of each row, [N]; below 0 where it has none.
        drop: accuracy that may be lost.

    >>> import numpy as np
    >>> right, wrong = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    >>> at = {8: np.repeat(wrong, 4, 0), 16: np.concatenate([right, right, right, wrong]), 32: np.repeat(right, 4, 0)}
    >>> shortest_length(np.full(4, 20), at, np.zeros(4, int), 0.25), shortest_length(np.full(4, 20), at, np.zeros(4, int), 0.1)
    (16, 32)
    """
    import numpy as np

    if not answers:
        raise UserError("there are no answers to choose a length by; give those of one maximal length or more")
    known, longest = truth >= 0, max(answers)
    odd = [limit for limit, values in answers.items() if len(values) != len(truth) or len(lengths) != len(truth)]
    if odd:
        raise UserError(f"the answers at {odd[0]} tokens are of {len(answers[odd[0]])} rows, the truth of {len(truth)}, the lengths of "
                        f"{len(lengths)}; give the same rows")
    whole = answers[longest].argmax(1) == truth

    def accuracy(limit: int) -> float:
        # A row that is not cut is answered as before: a difference there would be rounding, not a loss.
        right = np.where(lengths > limit, answers[limit].argmax(1) == truth, whole)
        return float(right[known].mean()) if known.any() else 0.0

    return _within({limit: accuracy(limit) for limit in answers}, drop)


def _within(scores: Mapping[int, float], drop: float) -> int:
    """Return the smallest length from which on no score is more than `drop` below the longest's."""
    order: Sequence[int] = sorted(scores, reverse=True)
    best = order[0]
    for limit in order[1:]:
        if scores[limit] < scores[order[0]] - drop - 1e-12:
            break
        best = limit
    return best
