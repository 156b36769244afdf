"""The score sheet: intervals, curves, tables, and that the same seed gives the same numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from bessemer.core.errors import UserError
from bessemer.evaluate import score as module
from bessemer.evaluate.score import affordable, most_confident_errors, named, resampled, score


def draw(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    raw = rng.gamma(1.0, size=(rows, classes))
    raw[np.arange(rows), truth] += 1.0
    return truth, raw / raw.sum(axis=1, keepdims=True)


def test_intervals_hold_the_value_repeat_and_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prob = draw(400, 3)
    first = score(truth, prob, ("a", "b", "c"), seed=7, resamples=200)
    for found in first["metrics"].values():
        assert found["low"] <= found["value"] <= found["high"]
    monkeypatch.setattr(module, "CHUNK", 1700)
    again = score(truth, prob, ("a", "b", "c"), seed=7, resamples=200)
    assert again["metrics"]["f1"] == first["metrics"]["f1"]
    assert score(truth, prob, ("a", "b", "c"), seed=8, resamples=200)["metrics"] != first["metrics"]
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_interval_equals_a_bootstrap_that_draws_rows() -> None:
    truth, prob = draw(60, 3)
    found = score(truth, prob, ("a", "b", "c"), seed=3, resamples=50)["metrics"]["f1"]
    values = []
    for index in range(50):
        drawn = np.random.default_rng((3, index)).integers(0, 60, 60)
        values.append(sk.f1_score(truth[drawn], prob[drawn].argmax(1), average="macro"))
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-9)


def test_accuracy_interval_is_as_wide_as_the_binomial_says() -> None:
    truth = np.zeros(2000, dtype=int)
    prob = np.tile([0.8, 0.2], (2000, 1))
    prob[:400] = [0.2, 0.8]
    found = score(truth, prob, ("no", "yes"), seed=1)
    half = 1.96 * (0.8 * 0.2 / 2000) ** 0.5
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * half, rel=0.1)
    assert found["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None} and found["roc"] == []


def test_tables_equal_scikit_learn() -> None:
    truth, prob = draw(500, 4)
    truth[:5] = -1
    found = score(truth, prob, tuple("abcd"), seed=0, resamples=20)
    known, guess = truth[5:], prob[5:].argmax(axis=1)
    assert (found["rows"], found["unlabelled"], found["resamples"]) == (495, 5, 20)
    assert found["confusion"] == sk.confusion_matrix(known, guess).tolist()
    report = sk.classification_report(known, guess, target_names=list("abcd"), output_dict=True)
    for row in found["per_class"]:
        expected = report[row["label"]]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [expected["precision"], expected["recall"], expected["f1-score"], expected["support"]], abs=1e-9)
    assert sum(row["count"] for row in found["calibration"]) == 495
    ece = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in found["calibration"]) / 495
    assert ece == pytest.approx(found["metrics"]["ece"]["value"], abs=1e-9)


@pytest.mark.parametrize("rows", [40, 5000])
def test_roc_curve_lies_on_scikit_learns(rows: int) -> None:
    truth, prob = draw(rows, 2)
    [curve] = score(truth, prob, ("no", "yes"), seed=0, resamples=5)["roc"]
    fpr, tpr, _ = sk.roc_curve(truth, prob[:, 1], drop_intermediate=False)
    assert {(round(x, 9), round(y, 9)) for x, y in zip(curve["fpr"], curve["tpr"], strict=True)} <= {
        (round(x, 9), round(y, 9)) for x, y in zip(fpr, tpr, strict=True)}
    assert (curve["label"], curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == ("yes", 0, 0, 1, 1)
    assert len(curve["fpr"]) <= 200
    assert sk.auc(curve["fpr"], curve["tpr"]) == pytest.approx(curve["auc"], abs=2e-3)
    assert curve["auc"] == pytest.approx(sk.roc_auc_score(truth, prob[:, 1]), abs=1e-9)


def test_large_sets_draw_fewer_resamples_and_small_ones_all() -> None:
    assert affordable(10_000, 2, 1000) == 1000
    assert affordable(2_000_000, 2, 1000) == 100
    assert affordable(200_000, 2, 1000) == 500
    tables = list(resampled(3_000_000, 0, 2))
    assert [table.shape for table in tables] == [(1, 3_000_000)] * 2 and tables[0].sum() == 3_000_000


def test_most_confident_errors_come_first_and_skip_unlabelled_rows() -> None:
    prob = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.05, 0.95], [0.3, 0.7]])
    assert most_confident_errors(np.array([0, 0, 0, -1, 0]), prob, 2).tolist() == [1, 4]
    assert most_confident_errors(np.array([0, 1, 1, 1, 1]), prob, 2).tolist() == []


def test_no_labelled_row_and_an_unknown_metric_are_one_clear_sentence() -> None:
    with pytest.raises(UserError, match="none of the 2 rows to score has a label"):
        score(np.array([-1, -1]), np.ones((2, 2)) / 2, ("a", "b"), seed=0)
    with pytest.raises(UserError, match="there is no metric 'acuracy'; did you mean 'accuracy'"):
        named("acuracy")
    with pytest.raises(UserError, match="there is no metric 'accuracy_macro'"):
        named("accuracy_macro")
