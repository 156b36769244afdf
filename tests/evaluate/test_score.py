"""The score sheet: intervals, curves, tables, and that the same seed gives the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from bessemer.core.errors import GuardError, UserError
from bessemer.core.types import Answer
from bessemer.evaluate import score as module
from bessemer.evaluate.score import (
    MAIN,
    affordable,
    headline,
    larger_is_better,
    measure,
    most_confident_errors,
    named,
    resampled,
    score,
    worst,
)


def draw(rows: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    raw = rng.gamma(1.0, size=(rows, classes))
    raw[np.arange(rows), truth] += 1.0
    return truth, raw / raw.sum(axis=1, keepdims=True)


def test_intervals_hold_the_value_repeat_and_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prob = draw(400, 3)
    first = score(truth, Answer("label", prob, ("a", "b", "c")), seed=7, resamples=200)
    for found in first["metrics"].values():
        assert found["low"] <= found["value"] <= found["high"]
    monkeypatch.setattr(module, "CHUNK", 1700)
    again = score(truth, Answer("label", prob, ("a", "b", "c")), seed=7, resamples=200)
    assert again["metrics"]["f1"] == first["metrics"]["f1"]
    assert score(truth, Answer("label", prob, ("a", "b", "c")), seed=8, resamples=200)["metrics"] != first["metrics"]
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_interval_equals_a_bootstrap_that_draws_rows() -> None:
    truth, prob = draw(60, 3)
    found = score(truth, Answer("label", prob, ("a", "b", "c")), seed=3, resamples=50)["metrics"]
    values, means = [], []
    for index in range(50):
        drawn = np.random.default_rng((3, index)).integers(0, 60, 60)
        values.append(sk.accuracy_score(truth[drawn], prob[drawn].argmax(1)))
        means.append(sk.f1_score(truth[drawn], prob[drawn].argmax(1), average="macro"))
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-9)
    bias = np.mean(means) - found["f1"]["value"]  # of 60 rows it is three tenths of the standard error, which is not left in the interval
    assert 0.25 < abs(bias) / np.std(means)
    assert (found["f1"]["low"], found["f1"]["high"]) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5)) - bias), abs=1e-9)


def test_accuracy_interval_is_as_wide_as_the_binomial_says() -> None:
    truth = np.zeros(2000, dtype=int)
    prob = np.tile([0.8, 0.2], (2000, 1))
    prob[:400] = [0.2, 0.8]
    found = score(truth, Answer("label", prob, ("no", "yes")), seed=1)
    half = 1.96 * (0.8 * 0.2 / 2000) ** 0.5
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * half, rel=0.1)
    assert found["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None} and found["roc"] == []


def test_tables_equal_scikit_learn() -> None:
    truth, prob = draw(500, 4)
    truth[:5] = -1
    found = score(truth, Answer("label", prob, tuple("abcd")), seed=0, resamples=20)
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
    [curve] = score(truth, Answer("label", prob, ("no", "yes")), seed=0, resamples=5)["roc"]
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
        score(np.array([-1, -1]), Answer("label", np.ones((2, 2)) / 2, ("a", "b")), seed=0)
    with pytest.raises(UserError, match="there is no metric 'acuracy'; did you mean 'accuracy'"):
        named("acuracy")
    with pytest.raises(UserError, match="there is no metric 'accuracy_macro'"):
        named("accuracy_macro")


def numbers(rows: int, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, Answer]:
    """Return truth [rows] and an answer with three quantiles."""
    rng = np.random.default_rng(seed)
    truth = scale * (5.0 + rng.normal(size=rows))
    guess = truth + scale * 0.3 * rng.normal(size=rows)
    return truth, Answer("number", np.stack([guess, guess - scale * 0.5, guess, guess + scale * 0.5], axis=1), quantiles=(0.05, 0.5, 0.95))


def flags(rows: int, labels: int = 4, seed: int = 0) -> tuple[np.ndarray, Answer]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (rows, labels))
    prob = (0.4 * truth + 0.6 * rng.random(truth.shape)).astype(np.float32)
    return truth, Answer("flags", prob, tuple("abcdefgh"[:labels]))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_sheet_of_numbers_holds_whatever_their_size(scale: float) -> None:
    truth, answer = numbers(700, scale)
    truth[:3] = np.nan
    found = score(truth, answer, seed=1, resamples=50)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["kind"], found["rows"], found["unlabelled"]) == ("number", 697, 3)
    assert tuple(found["metrics"]) == MAIN["number"]
    for entry in found["metrics"].values():
        assert entry["low"] * (1 - 1e-12) <= entry["value"] <= entry["high"] * (1 + 1e-12)
    known, guess = truth[3:], answer.values[3:, 0]
    assert found["metrics"]["r2"]["value"] == pytest.approx(sk.r2_score(known, guess), abs=1e-10)
    assert len(found["scatter"]) == 300 and found["scatter"][0] == [known[0], guess[0]] and found["scatter"][-1] == [known[-1], guess[-1]]
    assert sum(found["residuals"]["counts"]) == 697 and found["residuals"]["highest"] == (known - guess).max()
    assert found["quantiles"][2] == {"level": 0.95, "below": (known <= answer.values[3:, 3]).mean()}


def test_a_number_without_quantiles_has_no_metrics_of_them() -> None:
    truth, answer = numbers(20)
    found = score(truth, Answer("number", answer.values[:, :1]), seed=0, resamples=5)
    assert tuple(found["metrics"]) == ("r2", "rmse", "mae", "mse", "median_absolute_error", "mape") and "quantiles" not in found


def test_r2_near_one_keeps_its_digits() -> None:
    rng = np.random.default_rng(3)
    truth = 1e6 + rng.normal(size=4000)
    guess = truth + np.sqrt(4.2e-6) * rng.normal(size=4000)
    found = score(truth, Answer("number", guess[:, None]), seed=0, resamples=200)["metrics"]["r2"]
    exact = [Fraction(float(value)) for value in truth]
    mean = sum(exact) / len(exact)
    error = sum((a - Fraction(float(b))) ** 2 for a, b in zip(exact, guess, strict=True))
    assert found["value"] == pytest.approx(float(1 - error / sum((a - mean) ** 2 for a in exact)), abs=1e-12)
    assert 1e-7 < found["high"] - found["low"] < 1e-6 and found["low"] < found["value"] < found["high"]


def test_the_interval_of_rmse_equals_a_bootstrap_that_draws_rows() -> None:
    truth, answer = numbers(60)
    found = score(truth, answer, seed=3, resamples=50)["metrics"]
    drawn = [np.random.default_rng((3, index)).integers(0, 60, 60) for index in range(50)]
    for name, of in (("rmse", sk.root_mean_squared_error), ("r2", sk.r2_score), ("median_absolute_error", sk.median_absolute_error)):
        values = [of(truth[rows], answer.values[rows, 0]) for rows in drawn]
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), rel=1e-9)


def test_the_sheet_of_flags_equals_scikit_learn() -> None:
    truth, answer = flags(300)
    truth[0] = -1
    found = score(truth, answer, seed=0, resamples=20)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["kind"], found["rows"], found["unlabelled"], tuple(found["metrics"])) == ("flags", 299, 1, MAIN["flags"])
    known, prob = truth[1:], answer.values[1:]
    for code, row in enumerate(found["per_label"]):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(known[:, code], prob[:, code] >= 0.5, average="binary")
        assert [row[name] for name in ("precision", "recall", "f1", "support", "average_precision", "roc_auc")] == pytest.approx(
            [precision, recall, f1, known[:, code].sum(), sk.average_precision_score(known[:, code], prob[:, code]),
             sk.roc_auc_score(known[:, code], prob[:, code])], abs=1e-10)


@pytest.mark.parametrize("made", [numbers, flags])
def test_measure_gives_the_values_of_the_sheet(made: Callable[[int], tuple[np.ndarray, Answer]]) -> None:
    truth, answer = made(50)
    sheet = score(truth, answer, seed=0, resamples=2)["metrics"]
    assert measure(truth, answer) == {name: entry["value"] for name, entry in sheet.items()}


def test_constant_truths_and_zeros_are_undefined_not_wrong() -> None:
    found = score(np.array([3.3, 3.3, 3.3]), Answer("number", np.array([[3.3], [3.4], [3.2]])), seed=0, resamples=20)["metrics"]
    assert found["r2"] == {"value": None, "low": None, "high": None}
    assert score(np.array([0.0, 1.0]), Answer("number", np.ones((2, 1))), seed=0, resamples=5)["metrics"]["mape"]["value"] is None
    one = score(np.array([[1, 1]]), Answer("flags", np.ones((1, 2)), ("a", "b")), seed=0, resamples=5)
    assert one["metrics"]["roc_auc"]["value"] is None and one["per_label"][0]["roc_auc"] is None
    assert one["per_label"][0]["average_precision"] == 1.0


def test_predictions_that_are_not_finite_are_refused() -> None:
    with pytest.raises(GuardError, match="1 of 2 predictions are not finite numbers, the first at row 1"):
        score(np.array([0.0, 1.0]), Answer("number", np.array([[1.0], [np.nan]])), seed=0)
    with pytest.raises(UserError, match="none of the 1 rows to score has a value; give rows with a known value"):
        score(np.array([np.nan]), Answer("number", np.ones((1, 1))), seed=0)


def test_names_of_each_kind() -> None:
    assert headline("label") == ("accuracy", "recall", "f1") and headline("flags")[0] == "f1_micro"
    assert [larger_is_better(name, "number") for name in MAIN["number"]] == [True, *[False] * 6, True, False]
    assert [larger_is_better(name, "flags") for name in MAIN["flags"]] == [True, True, True, False, True, True]
    assert named("f1_micro", "flags").kind == "flags" and named("f1_micro").kind == "label"
    with pytest.raises(UserError, match="metric 'accuracy' scores labels, not numbers; choose one of r2, rmse"):
        named("accuracy", "number")
    with pytest.raises(UserError, match="there is no metric 'rsme'; did you mean 'rmse'"):
        named("rsme", "number")
    with pytest.raises(UserError, match="metric 'pinball' needs quantiles and the answer has none"):
        named("pinball", "number")


def test_the_worst_rows_come_first() -> None:
    answer = Answer("number", np.array([[1.0], [2.0], [3.0], [4.0]]))
    assert worst(np.array([1.0, 2.5, np.nan, 0.0]), answer, 3).tolist() == [3, 1]
    wrong = Answer("flags", np.array([[0.9, 0.1], [0.6, 0.1], [0.2, 0.3], [0.9, 0.9]]), ("a", "b"))
    assert worst(np.array([[0, 0], [0, 0], [0, 0], [-1, -1]]), wrong, 5).tolist() == [0, 1]


def test_interval_of_a_macro_mean_over_rare_labels_holds_its_value() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 200, 400)
    guess = np.where(rng.random(400) < 0.6, truth, rng.integers(0, 200, 400))
    names = tuple(str(code) for code in range(200))
    found = score(truth, Answer("label", np.eye(200)[guess], names), seed=0, resamples=200)["metrics"]
    assert found["recall"]["value"] == pytest.approx(sk.recall_score(truth, guess, average="macro", zero_division=0))
    for name in ("precision", "recall", "f1"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]


def test_where_every_row_is_right_the_interval_is_that_of_a_share() -> None:
    truth = np.arange(16) % 2
    right = np.where(truth[:, None] == np.arange(2), 0.9, 0.1)
    for values in (right, right[:, ::-1]):
        found = score(truth, Answer("label", values, ("no", "yes")), seed=0)["metrics"]["accuracy"]
        exact = binomtest(round(16 * found["value"]), 16).proportion_ci(0.95, "exact")
        assert (found["low"], found["high"]) == pytest.approx((exact.low, exact.high))


def test_errors_that_are_nothing_or_one_are_no_shares() -> None:
    truth = np.arange(20.0)
    for away in (0.0, 1.0):
        found = score(truth, Answer("number", (truth + away)[:, None], ()), seed=0)["metrics"]
        for name in ("mae", "rmse"):
            assert found[name] == pytest.approx({"value": away, "low": away, "high": away}, abs=1e-12)
    assert score(truth, Answer("number", truth[:, None], ()), seed=0)["metrics"]["r2"]["low"] == pytest.approx(1.0)
