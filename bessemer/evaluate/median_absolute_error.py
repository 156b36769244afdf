"""Median absolute error: half of the estimates are nearer to the truth than this; a few large errors do not move it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import grow, join, shaped, valued, weightings

if TYPE_CHECKING:
    import numpy as np


class MedianAbsoluteError(Config):
    """Median absolute error."""


@register("evaluate", "median_absolute_error")
def median_absolute_error(config: MedianAbsoluteError) -> Metric:
    """Build the metric; equals scikit-learn's `median_absolute_error`, whole weights being repeated rows; nan without rows."""
    sorted_by: list[np.ndarray] = []  # errors and their order: the bootstrap asks for the same state many times, sorting is what costs

    def update(state: Any, truth: np.ndarray, values: np.ndarray) -> Any:
        truth, values = valued(truth, values)
        return grow(state, (abs(truth - values[:, 0]),))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        if not sorted_by or sorted_by[0] is not state[0]:
            sorted_by[:] = [state[0], np.argsort(state[0])]
        order = sorted_by[1]
        errors, table = state[0][order], weightings(weights, len(state[0]))
        found = np.full(len(table), np.nan)
        for index, row in enumerate(table):
            running = np.cumsum(row[order])
            if len(running) and running[-1] > 0:
                half = running[-1] / 2
                middle = [np.searchsorted(running, half, side=side) for side in ("left", "right")]  # type: ignore[call-overload]
                found[index] = errors[middle].mean()
        return shaped(found, weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=False, kind="number")
