from __future__ import annotations

import numpy as np
import pytest

from bessemer.evaluate.abstention import COVERAGES, accuracy_at_coverage, threshold_for_accuracy, thresholds


def answers(rows, seed):
    """Calibrated two-class probabilities: a row is right with the probability that it states."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.5, 1, rows)
    values = np.stack([sure, 1 - sure], axis=1)
    return np.where(rng.uniform(size=rows) < sure, 0, 1), values


def test_a_threshold_answers_the_wished_part_and_no_more_than_ties_ask_for():
    confidence = np.array([0.9, 0.6, 0.8, 0.7, 0.99])
    found = thresholds(confidence, (1.0, 0.8, 0.6, 0.2))
    assert found == {1.0: 0.0, 0.8: 0.7, 0.6: 0.8, 0.2: 0.99}
    assert thresholds(np.full(4, 0.5), (0.5,)) == {0.5: 0.5}
    with pytest.raises(ValueError, match="a coverage is above 0 and at most 1, not 0"):
        thresholds(confidence, (0,))


def test_calibrated_answers_give_the_accuracy_that_integration_does():
    validation, test = answers(20_000, 0), answers(20_000, 1)
    for item in accuracy_at_coverage(validation, test, 0, 1000):
        # confidence is uniform on [.5, 1]: the surest part c has mean confidence 1 - c / 4
        assert item["answered"] == pytest.approx(item["coverage"], abs=0.02)
        assert item["low"] - 0.005 <= 1 - item["coverage"] / 4 <= item["high"] + 0.005
        assert item["rows"] == round(item["answered"] * 20_000)
    assert [item["coverage"] for item in accuracy_at_coverage(validation, test, 0, 100)] == list(COVERAGES)


def test_rows_without_a_label_are_left_out():
    truth, values = answers(100, 2)
    truth[:50] = -1
    with_unknown = accuracy_at_coverage((truth, values), (truth, values), 0, 100)
    without = accuracy_at_coverage((truth[50:], values[50:]), (truth[50:], values[50:]), 0, 100)
    assert with_unknown == without and with_unknown[0]["rows"] == 50


def test_the_threshold_for_an_accuracy_keeps_as_many_rows_as_it_may():
    confidence = np.array([0.99, 0.95, 0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, True, False, True, True, False])
    assert threshold_for_accuracy(confidence, correct, 1.0) == 0.95
    assert threshold_for_accuracy(confidence, correct, 0.8) == 0.7
    assert threshold_for_accuracy(confidence, correct, 0.6) == 0.6
    assert threshold_for_accuracy(np.array([0.9, 0.9]), np.array([True, False]), 1.0) is None  # equal confidence: both or none


def test_where_every_answer_is_right_the_interval_is_the_exact_one():
    truth, values = np.zeros(16, np.int64), np.tile([0.9, 0.1], (16, 1))
    first = accuracy_at_coverage((truth, values), (truth, values), 0, 100)[0]
    assert (first["accuracy"], first["high"]) == (1.0, 1.0)
    assert first["low"] == pytest.approx(0.025 ** (1 / 16))
