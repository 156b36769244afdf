"""Confident learning counts as the paper does, and finds the share of labels that were turned."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.evaluate.noise import label_noise


def test_the_joint_is_that_of_the_papers_counts() -> None:
    # Thresholds: mean probability of each class where it is the label: .6 for class 0, .7 for class 1.
    values = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.4, 0.6], [0.2, 0.8]])
    truth = np.array([0, 0, 0, 1, 1])
    found = label_noise(truth, values, 0)
    # Counted: rows 0 and 1 for class 0, row 2 (label 0) and row 4 for class 1; row 3 for none: (2, 1; 0, 1), scaled to 3/5 and 2/5.
    np.testing.assert_allclose(found.joint, [[0.4, 0.2], [0.0, 0.4]], atol=1e-12)
    assert found.share == pytest.approx(0.2) and found.suspects.tolist() == [2]
    assert found.likely.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("turned", [0.0, 0.05, 0.2])
def test_the_share_of_turned_labels_is_found(turned: float) -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 20_000)
    logits = rng.normal(size=(20_000, 3)) + 6 * np.eye(3)[true]
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = rng.random(20_000) < turned
    given = np.where(wrong, (true + rng.integers(1, 3, 20_000)) % 3, true)
    found = label_noise(given, values, 0)
    assert abs(found.share - turned) < 0.01 and found.low <= found.share <= found.high
    if turned:
        assert wrong[found.suspects].mean() > 0.95 and wrong[found.suspects].sum() > 0.95 * wrong.sum()
        joint = np.zeros((3, 3))
        np.add.at(joint, (given, true), 1 / 20_000)
        np.testing.assert_allclose(found.joint, joint, atol=0.006)


def test_where_no_label_looks_wrong_the_share_may_still_be_above_nothing() -> None:
    truth = np.arange(200) % 2
    found = label_noise(truth, np.where(truth[:, None] == np.arange(2), 0.99, 0.01), seed=0)
    assert found.share == pytest.approx(0) and (found.low, found.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 200)))
