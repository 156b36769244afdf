"""Expected calibration error: how far the confidence of the top class is from its accuracy, over equal-width bins.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import bins, divide, grow, join, labelled, shaped, weightings

if TYPE_CHECKING:
    import numpy as np


class Ece(Config):
    """Expected calibration error of the most probable class."""

    num_bins: int = Field(default=15, ge=1)
    """Bins of equal width over confidence; a bin is open below and closed above."""


def bin_of(confidence: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the bin of each confidence in [0, 1]: int [N]; bin b is (b/num_bins, (b+1)/num_bins]."""
    import numpy as np

    edges = np.linspace(0, 1, num_bins + 1)
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)


@register("evaluate", "ece")
def ece(config: Ece) -> Metric:
    """Build the metric; its state is (confidence, right or not) of each labelled row; nan without rows."""
    num_bins = config.num_bins

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        import numpy as np

        truth, probabilities = labelled(truth, probabilities)
        return grow(state, (probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == truth))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        confidence, right = state
        table = weightings(weights, len(right))
        gaps = bins(bin_of(confidence, num_bins), right - confidence, table, num_bins)
        return shaped(divide(np.abs(gaps).sum(axis=1), table.sum(axis=1), float("nan")), weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=False)
