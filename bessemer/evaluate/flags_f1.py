"""F1 of flags: the harmonic mean of precision and recall over the labels of rows that may have several.

Legend: N rows, L labels, R weightings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._counts import f1_of
from bessemer.evaluate._rows import flagged, grow, held, join, shaped, weightings

if TYPE_CHECKING:
    import numpy as np


BLOCK = 4_000_000
"""Flags that are turned into numbers at once, which bounds memory."""


class FlagsF1(Config):
    """F1 of flags; 0 where it would divide by 0, as in scikit-learn."""

    average: Literal["macro", "micro"] = "macro"
    """How labels are combined: the mean of their F1, or F1 of all flags together."""


def flag_counts(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return weighted hits, predicted and support, each [R, L], of bool [N, L] and weights [R, N]."""
    import numpy as np

    step = max(1, BLOCK // max(1, len(truth)))
    found = tuple(np.empty((len(weights), truth.shape[1])) for _ in range(3))
    for start in range(0, truth.shape[1], step):
        part = np.s_[:, start:start + step]
        for table, flags in zip(found, (truth[part] & guess[part], guess[part], truth[part]), strict=True):
            table[part] = weights @ flags.astype(np.float64)
    return found


@register("evaluate", "flags_f1")
def flags_f1(config: FlagsF1) -> Metric:
    """Build the metric; equals scikit-learn's `f1_score` of flags; its state is (truth, guess), bool [N, L]; nan without rows."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        truth, probabilities = flagged(truth, probabilities)
        return grow(state, (truth, held(probabilities)))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        truth, guess = state
        table = weightings(weights, len(truth))
        if config.average == "micro":
            sums = [table @ flags.sum(axis=1).astype(np.float64) for flags in (truth & guess, guess, truth)]
            found = f1_of(sums[0], sums[1], sums[2])
        else:
            found = f1_of(*flag_counts(truth, guess, table)).mean(axis=1)
        return shaped(np.where(table.sum(axis=1) > 0, found, np.nan), weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="flags", share=True)
