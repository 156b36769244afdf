"""The length that the data need: what decides stands early, so later tokens go; what they decide is not given up."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.compress.lengths import candidate_lengths, shortest_length
from bessemer.core.errors import UserError


def answers_of(places: np.ndarray, truth: np.ndarray, limits: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Answers of a model that is right where the deciding token, at a place, is within the limit."""
    found = {}
    for limit in limits:
        seen = places < limit
        values = np.full((len(truth), 3), 0.1)
        values[np.arange(len(truth)), np.where(seen, truth, (truth + 1) % 3)] = 0.8
        found[limit] = values
    return found


def test_the_length_is_where_the_answers_are_decided() -> None:
    """With the deciding token of 95% of the rows in the first 20, a loss of 5% allows 24 tokens and none allows less than all."""
    rng = np.random.default_rng(0)
    truth, lengths = rng.integers(0, 3, 1000), np.full(1000, 128)
    places = np.where(np.arange(1000) < 950, rng.integers(0, 20, 1000), 120)
    answers = answers_of(places, truth, (8, 16, 24, 64, 128))
    assert shortest_length(lengths, answers, truth, 0.05) == 24
    assert shortest_length(lengths, answers, truth, 0.049) == 128
    assert shortest_length(lengths, answers, truth, 1.0) == 8


def test_rows_that_are_not_cut_lose_nothing() -> None:
    """Short rows answer as before whatever is said of them at that length; rows without a class do not count."""
    truth, lengths = np.array([0, 1, 2, -1]), np.array([5, 6, 7, 128])
    answers = answers_of(np.full(4, 100), np.abs(truth), (8, 128))
    assert shortest_length(lengths, answers, truth, 0.0) == 8


def test_a_worse_length_ends_the_search() -> None:
    """Below a length that loses too much no shorter one is taken, even if by luck it scores well."""
    truth, lengths = np.zeros(4, np.int64), np.full(4, 99)
    good, bad = np.array([[0.9, 0.1]] * 4), np.array([[0.1, 0.9]] * 4)
    assert shortest_length(lengths, {8: good, 16: bad, 32: good, 64: good}, truth, 0.1) == 32


def test_candidates_follow_the_rows() -> None:
    """Multiples of eight at the quantiles, the longest among them; nothing above it."""
    lengths = np.concatenate([np.full(50, 10), np.full(40, 40), np.full(10, 500)])
    found = candidate_lengths(lengths, 128)
    assert found[-1] == 128 and {16, 40} <= set(found) and all(item % 8 == 0 for item in found)
    assert candidate_lengths(np.array([], np.int64), 64) == (64,)


def test_rows_must_be_the_same() -> None:
    with pytest.raises(UserError, match="the answers at 8 tokens are of 3 rows, the truth of 2"):
        shortest_length(np.ones(2), {8: np.ones((3, 2))}, np.zeros(2, np.int64), 0.1)
    with pytest.raises(UserError, match="no answers to choose a length by"):
        shortest_length(np.ones(2), {}, np.zeros(2, np.int64), 0.1)
