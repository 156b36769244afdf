"""Parity: the largest difference and its row are named."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.core.errors import GuardError
from bessemer.core.types import Answer
from bessemer.export.parity import agreement, assert_close, same_answers


def test_the_largest_difference_and_its_row_are_named() -> None:
    reference = np.zeros((4, 2), np.float32)
    other = reference.copy()
    other[1, 0], other[2, 1] = 5e-4, 0.25
    with pytest.raises(GuardError, match=r"^int8: the largest difference is 0.25, in row 3; at most 0.0001 is allowed$"):
        assert_close(reference, other, what="int8")
    assert_close(reference, other, tolerance=0.3)
    assert_close(reference[:0], other[:0])


def test_numbers_are_compared_by_the_spread_of_the_truths_where_the_network_says_nearly_the_same_of_all() -> None:
    said = {"y": Answer("number", np.array([[100.0], [100.001]]))}
    other = {"y": Answer("number", np.array([[100.0], [100.00101]]))}
    with pytest.raises(GuardError, match="at most 0.0001 is allowed"):
        same_answers(said, other, "it")
    assert same_answers(said, other, "it", truths={"y": np.array([90.0, 110.0])}) == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(GuardError, match="at most 0.0001 is allowed"):  # truths that are missing or all the same allow nothing more
        same_answers(said, other, "it", truths={"y": np.array([np.nan, 100.0])})


def test_what_is_not_finite_is_never_close() -> None:
    with pytest.raises(GuardError, match="inf, in row 1"):
        assert_close(np.zeros((1, 2)), np.array([[0.0, np.nan]]))
    with pytest.raises(GuardError, match=r"shape \[2, 2\] instead of \[1, 2\]"):
        assert_close(np.zeros((1, 2)), np.zeros((2, 2)))


def test_agreement_counts_equal_labels() -> None:
    assert agreement(np.array([[.9, .1], [.2, .8], [.6, .4]]), np.array([[.6, .4], [.7, .3], [.9, .1]])) == pytest.approx(2 / 3)
    assert agreement(np.zeros((0, 2)), np.zeros((0, 2))) == 1.0
