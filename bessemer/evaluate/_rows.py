"""What every metric has in common: which rows count, and weighted sums over them.

Legend: n rows of one update, N rows of the set, C classes, Q quantiles, L labels, R weightings (resamples of the bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bessemer.core.types import Metric

if TYPE_CHECKING:
    import numpy as np


def labelled(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the rows without a label (code < 0), which no metric may count.

    Args:
        truth: int [n], class codes; below 0 where a row has no label.
        probabilities: float [n, C].

    Returns:
        truth int64 [m] and probabilities [m, C] of the labelled rows.

    Raises:
        ValueError: the shapes do not belong together, or a code has no column.
    """
    import numpy as np

    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1]:
        raise ValueError(f"expected truth [n] and probabilities [n, C], not {truth.shape} and {probabilities.shape}")
    if len(truth) and int(truth.max()) >= probabilities.shape[1]:
        raise ValueError(f"class code {int(truth.max())} has no column among {probabilities.shape[1]} probabilities")
    keep = truth >= 0
    return truth[keep].astype(np.int64), probabilities[keep]


def join(first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Merge two states that are tuples of arrays whose first dimension is the row."""
    import numpy as np

    return tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))


def grow(state: tuple[np.ndarray, ...] | None, more: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Add the rows of one update to a state that may not exist yet."""
    return more if state is None else join(state, more)


def weightings(weights: np.ndarray | None, num_rows: int) -> np.ndarray:
    """Return weights as float64 [R, N]; no weights are one weighting of ones.

    Raises:
        ValueError: the weights are not [R, N] for this N.
    """
    import numpy as np

    if weights is None:
        return np.ones((1, num_rows))
    if weights.ndim != 2 or weights.shape[1] != num_rows:
        raise ValueError(f"expected weights [R, {num_rows}], not {weights.shape}")
    return np.asarray(weights, dtype=np.float64)


def shaped(values: np.ndarray, weights: np.ndarray | None) -> float | np.ndarray:
    """Return [R] for R weightings, the plain number where no weights were given."""
    return float(values[0]) if weights is None else values


def divide(above: np.ndarray, below: np.ndarray, empty: float) -> np.ndarray:
    """Divide element by element; where the divisor is 0 the result is `empty`, without a warning."""
    import numpy as np

    above, below = np.broadcast_arrays(above, below)
    found: np.ndarray = np.full(above.shape, empty)
    np.divide(above, below, out=found, where=below != 0)
    return found


def bins(codes: np.ndarray, values: np.ndarray, weights: np.ndarray, num_bins: int) -> np.ndarray:
    """Return weighted sums of `values` [N] by bin: codes int [N], weights [R, N] -> [R, num_bins]."""
    import numpy as np

    table = np.zeros((len(codes), num_bins))
    table[np.arange(len(codes)), codes] = values
    sums: np.ndarray = weights @ table
    return sums


def valued(truth: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the rows without a value (nan), which no metric of a number may count.

    Args:
        truth: float [n]; nan where a row has none.
        values: float [n, 1 + Q], the estimate, then its quantiles.

    Returns:
        truth float64 [m] and values float64 [m, 1 + Q] of the rows with a value.

    Raises:
        ValueError: the shapes do not belong together.
    """
    import numpy as np

    truth, values = np.asarray(truth, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1] or truth.shape != values.shape[:1]:
        raise ValueError(f"expected truth [n] and values [n, 1 + Q], not {truth.shape} and {values.shape}")
    keep = ~np.isnan(truth)
    return truth[keep], values[keep]


def flagged(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the rows without flags (any below 0), which no metric of flags may count.

    Args:
        truth: int [n, L], 1 where a label holds, 0 where not; below 0 where a row has none.
        probabilities: float [n, L].

    Returns:
        truth bool [m, L] and probabilities [m, L] of the rows with flags.

    Raises:
        ValueError: the shapes do not belong together.
    """
    import numpy as np

    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if probabilities.ndim != 2 or truth.shape != probabilities.shape:
        raise ValueError(f"expected truth [n, L] and probabilities [n, L], not {truth.shape} and {probabilities.shape}")
    keep = (truth >= 0).all(axis=1)
    return truth[keep] > 0, probabilities[keep]


def held(probabilities: np.ndarray) -> np.ndarray:
    """Return which labels are said to hold: those at least as probable as not, bool of the same shape."""
    found: np.ndarray = probabilities >= 0.5
    return found


def mean_metric(of: Callable[[np.ndarray, np.ndarray], np.ndarray], *, kind: str, higher_is_better: bool) -> Metric:
    """Build the metric that is a mean over rows, of which more is better where it is a share of right ones; nan without rows.

    Its state is one float64 [N].

    Args:
        of: (truth, values) of rows with a truth -> float [m], each row's share.
        kind: `number` or `flags`.
        higher_is_better: whether more is better.
    """
    chosen = valued if kind == "number" else flagged

    def update(state: Any, truth: np.ndarray, values: np.ndarray) -> Any:
        return grow(state, (of(*chosen(truth, values)).astype(float),))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        table = weightings(weights, len(state[0]))
        return shaped(divide(table @ state[0], table.sum(axis=1), math.nan), weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=higher_is_better, kind=kind, share=higher_is_better)
