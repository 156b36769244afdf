"""How many labels look wrong, from answers to rows that the model has not seen (confident learning, Northcutt, Jiang & Chuang 2021).

Legend: N rows, C classes, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bessemer.evaluate.score import least_share

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LabelNoise:
    """What is estimated.

    Attributes:
        share: of the labels that look wrong, with `low` and `high`, the 95% interval of rows drawn again; it holds as far as the model's
            probabilities do, and counts labels that even people would dispute.
        joint: float64 [C, C], sums to 1: how often a row has the label of its row and belongs to the class of its column.
        likely: int64 [N], the class that each row looks to belong to; its own label where the model is not sure enough of any.
        suspects: int64 [S], rows whose class is not their label, the surest first.
    """

    share: float
    low: float
    high: float
    joint: np.ndarray
    likely: np.ndarray
    suspects: np.ndarray


def label_noise(truth_N: np.ndarray, values_NC: np.ndarray, seed: int, resamples: int = 1000) -> LabelNoise:
    """Estimate which labels are wrong.

    A row is counted for the likeliest of the classes whose probability is at least what it is on average where that class is the label.

    Args:
        truth_N: int, labels in code order, 0 or more.
        values_NC: probabilities, from models that were not fitted on the row.
        seed: of the resamples.
        resamples: behind the interval.
    """
    import numpy as np

    count, classes = values_NC.shape
    truth_N, values_NC = truth_N.astype(np.int64), values_NC.astype(np.float64)
    rows_C = np.bincount(truth_N, minlength=classes)
    own_N = values_NC[np.arange(count), truth_N]
    sure_C = np.bincount(truth_N, own_N, classes) / np.maximum(rows_C, 1)
    sure_C[rows_C == 0] = np.inf
    over_NC = values_NC >= sure_C
    counted_N = np.where(over_NC.any(1), np.where(over_NC, values_NC, -1.0).argmax(1), classes)
    cells = np.bincount(truth_N * (classes + 1) + counted_N, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    joint = _joint(cells[None], rows_C[None])[0]
    drawn = np.random.default_rng(seed).multinomial(count, cells.ravel() / count, resamples).reshape(resamples, classes, classes + 1)
    shares_R = 1 - np.trace(_joint(drawn, drawn.sum(2)), axis1=1, axis2=2)
    low, high = np.quantile(shares_R, (0.025, 0.975))
    if cells[:, :classes].sum() == np.trace(cells):  # no row is another label's, nor in any resample
        low, high = 0.0, 1 - least_share(count)
    likely_N = np.where(counted_N < classes, counted_N, truth_N)
    found = np.flatnonzero(likely_N != truth_N)
    margin = own_N[found] - values_NC[found, likely_N[found]]
    return LabelNoise(float(1 - np.trace(joint)), float(low), float(high), joint, likely_N, found[np.argsort(margin, kind="stable")])


def _joint(cells: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return [R, C, C]: what was counted, each label's row scaled to how often it occurs; a label none was counted for is as given."""
    import numpy as np

    counted = cells[:, :, :-1].astype(np.float64)
    sums = counted.sum(2, keepdims=True)
    shares = np.where(sums > 0, counted / np.maximum(sums, 1), np.eye(counted.shape[1]))
    result: np.ndarray = shares * (rows / rows.sum(1, keepdims=True))[:, :, None]
    return result
