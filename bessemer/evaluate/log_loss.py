"""Log loss: the mean of -log(probability of the true class), in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Metric
from bessemer.evaluate._rows import divide, grow, join, labelled, shaped, weightings

if TYPE_CHECKING:
    import numpy as np


class LogLoss(Config):
    """Cross-entropy of the probabilities, clipped at the smallest step of their own precision, as in scikit-learn."""


@register("evaluate", "log_loss")
def log_loss(config: LogLoss) -> Metric:
    """Build the metric; its state is the loss of each labelled row; nan without rows."""

    def update(state: Any, truth: np.ndarray, probabilities: np.ndarray) -> Any:
        import numpy as np

        truth, probabilities = labelled(truth, probabilities)
        step = float(np.finfo(probabilities.dtype).eps)
        chosen = probabilities[np.arange(len(truth)), truth].astype(np.float64)
        return grow(state, (-np.log(np.clip(chosen, step, 1 - step)),))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        table = weightings(weights, len(state[0]))
        return shaped(divide(table @ state[0], table.sum(axis=1), float("nan")), weights)

    return Metric(update=update, merge=join, finalise=finalise, higher_is_better=False)
