"""Keyed randomness: uniform, reproducible, independent of what it is drawn with."""

from __future__ import annotations

import numpy as np

from bessemer.core.keyed import uniform


def splitmix(state: int) -> int:
    """SplitMix64's output function in plain integers, the reference."""
    mask = 2**64 - 1
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_equals_plain_integers() -> None:
    """The vectorised form equals the definition, negative epochs and row ids included."""
    gamma, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    for seed, epoch, row, stream in ((0, 0, 0, 0), (7, -1, 123456789012, 3), (-5, 2, -4, 9)):
        key = 0
        for part in (seed, stream, epoch, row):
            key = splitmix(((key ^ (part & mask)) + gamma) & mask)
        expected = [(splitmix((key + j * gamma) & mask) >> 11) * 2.0**-53 for j in (1, 2, 3)]
        assert uniform(seed, epoch, np.array([row]), 3, stream)[0].tolist() == expected


def test_independent_of_batch_and_count() -> None:
    """A row's numbers do not depend on the other rows nor on how many are asked for."""
    rows = np.arange(50)
    whole = uniform(3, 1, rows, 20)
    assert np.array_equal(uniform(3, 1, rows[::-7], 20), whole[::-7])
    assert np.array_equal(uniform(3, 1, rows, 5), whole[:, :5])


def test_statistics() -> None:
    """Mean, variance, neighbours and streams are those of independent uniform numbers."""
    draw = uniform(0, 0, np.arange(2000), 100)
    assert draw.min() >= 0 and draw.max() < 1
    assert abs(draw.mean() - 0.5) < 0.003 and abs(draw.var() - 1 / 12) < 0.001
    other = uniform(0, 0, np.arange(2000), 100, stream=1)
    for left, right in ((draw[1:], draw[:-1]), (draw[:, 1:], draw[:, :-1]), (draw, other)):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 0.01
