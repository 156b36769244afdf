"""The threshold of a cascade: held against trying every threshold, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.measure.cascade import NEVER, calibrate_cascade


def by_trying(cheap: np.ndarray, dear: np.ndarray, truth: np.ndarray, drop: float) -> float:
    best = NEVER
    for threshold in np.unique(cheap.max(1))[::-1]:
        stop = cheap.max(1) >= threshold
        right = [(answers.argmax(1) == truth)[stop].mean() for answers in (cheap, dear)]
        if right[0] >= right[1] - drop - 1e-12:
            best = threshold
    return float(best)


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.1])
def test_the_lowest_threshold_that_holds(drop: float) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 3, 200)
        cheap, dear = (rng.dirichlet(np.ones(3), 200) + weight * np.eye(3)[truth] * rng.random((200, 1)) for weight in (0.7, 2))
        cheap, dear = ((item / item.sum(1, keepdims=True)).round(2) for item in (cheap, dear))  # rounded: some are equally sure
        assert calibrate_cascade(cheap, dear, truth, drop) == by_trying(cheap, dear, truth, drop)


def test_edges() -> None:
    sure, wrong = np.array([[0.9, 0.1]] * 4), np.array([[0.1, 0.9]] * 4)
    zeros = np.zeros(4, int)
    assert calibrate_cascade(sure, sure, zeros, 0.0) == 0.9
    assert calibrate_cascade(wrong, sure, zeros, 0.5) == NEVER
    assert calibrate_cascade(wrong, sure, zeros, 1.0) == 0.9
    assert calibrate_cascade(sure, sure, zeros - 1, 0.0) == NEVER  # no row has a label
    assert calibrate_cascade(sure[:0], sure[:0], zeros[:0], 0.0) == NEVER
