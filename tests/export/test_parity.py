"""Parity: the largest difference and its row are named."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.core.errors import GuardError
from bessemer.export.parity import agreement, assert_close


def test_the_largest_difference_and_its_row_are_named() -> None:
    reference = np.zeros((4, 2), np.float32)
    other = reference.copy()
    other[1, 0], other[2, 1] = 5e-4, 0.25
    with pytest.raises(GuardError, match=r"^int8: the largest difference is 0.25, in row 3; at most 0.0001 is allowed$"):
        assert_close(reference, other, what="int8")
    assert_close(reference, other, tolerance=0.3)
    assert_close(reference[:0], other[:0])


def test_what_is_not_finite_is_never_close() -> None:
    with pytest.raises(GuardError, match="inf, in row 1"):
        assert_close(np.zeros((1, 2)), np.array([[0.0, np.nan]]))
    with pytest.raises(GuardError, match=r"shape \[2, 2\] instead of \[1, 2\]"):
        assert_close(np.zeros((1, 2)), np.zeros((2, 2)))


def test_agreement_counts_equal_labels() -> None:
    assert agreement(np.array([[.9, .1], [.2, .8], [.6, .4]]), np.array([[.6, .4], [.7, .3], [.9, .1]])) == pytest.approx(2 / 3)
    assert agreement(np.zeros((0, 2)), np.zeros((0, 2))) == 1.0
