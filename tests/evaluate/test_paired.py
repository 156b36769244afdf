"""Paired comparison: verdicts, McNemar's exact p against scipy, and that pairing tightens the interval."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from bessemer.core.errors import UserError
from bessemer.core.types import Answer
from bessemer.evaluate.paired import mcnemar, paired, verdict
from bessemer.evaluate.score import score


def guesses(truth: np.ndarray, wrong: np.ndarray) -> Answer:
    prob = np.eye(2)[truth] * 0.8 + 0.1
    prob[wrong] = prob[wrong][:, ::-1]
    return Answer("label", prob, ("no", "yes"))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (5, 5), (1, 9), (30, 52), (400, 300), (5000, 5000),
                                               (20_000, 21_000), (0, 2000)])
def test_mcnemar_equals_the_exact_binomial(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-8)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_verdicts() -> None:
    truth = np.random.default_rng(0).integers(0, 2, 600)
    good, bad = guesses(truth, np.arange(30)), guesses(truth, np.arange(20, 120))
    better = paired(truth, good, bad, seed=1)
    worse = paired(truth, bad, good, seed=1)
    assert better["verdict"] == better["f1"]["verdict"] == "better"
    assert worse["verdict"] == worse["f1"]["verdict"] == "worse"
    assert better["mcnemar"] == {"only_a": 90, "only_b": 20, "p": pytest.approx(binomtest(20, 110).pvalue)}
    assert better["accuracy"]["difference"] == pytest.approx(70 / 600)
    assert worse["accuracy"]["low"] == pytest.approx(-better["accuracy"]["high"])
    same = paired(truth, good, guesses(truth, np.arange(31)), seed=1)
    assert same["verdict"] == "no difference"
    equal = paired(truth, good, good, seed=1)["accuracy"]
    assert (equal["difference"], equal["low"], equal["high"], equal["verdict"]) == (0, 0, 0, "no difference")
    assert [verdict(0.0, 0.1), verdict(None, None), verdict(-0.2, -0.1)] == ["no difference", "no difference", "worse"]


def test_repeats_is_json_and_is_tighter_than_two_intervals() -> None:
    truth = np.random.default_rng(0).integers(0, 2, 500)
    a, b = guesses(truth, np.arange(50)), guesses(truth, np.arange(60))
    found = paired(truth, a, b, seed=4)
    assert found == paired(truth, a, b, seed=4) == json.loads(json.dumps(found, allow_nan=False))
    alone = score(truth, a, seed=4)["metrics"]["accuracy"]
    assert found["accuracy"]["high"] - found["accuracy"]["low"] < 0.6 * (alone["high"] - alone["low"])
    assert found["accuracy"]["a"] == alone["value"]


def test_unlabelled_rows_do_not_count_and_none_left_is_an_error() -> None:
    truth = np.array([0, 1, -1])
    prob = Answer("label", np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.5]]), ("no", "yes"))
    assert paired(truth, prob, prob, seed=0, resamples=10)["rows"] == 2
    with pytest.raises(UserError, match="none of the 3 rows to compare has a label"):
        paired(np.full(3, -1), prob, prob, seed=0)


def test_better_is_a_is_better_whichever_way_the_metric_points() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    near, far = (Answer("number", (truth + size * rng.normal(size=300))[:, None]) for size in (0.1, 0.5))
    found = paired(truth, near, far, seed=1, resamples=100)
    assert [found[name]["verdict"] for name in ("rmse", "r2", "mae")] == ["better"] * 3
    assert found["rmse"]["high"] < 0 < found["r2"]["low"] and found["verdict"] == "better" and "mcnemar" not in found
    assert found["rmse"]["difference"] == found["rmse"]["a"] - found["rmse"]["b"]
    assert paired(truth, far, near, seed=1, resamples=100)["verdict"] == "worse"
    assert paired(truth, near, near, seed=1, resamples=100)["verdict"] == "no difference"
    with pytest.raises(ValueError, match="only answers of one kind"):
        paired(truth, near, Answer("label", near.values, ("a",)), seed=1)


def test_flags_are_compared_by_micro_f1() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (400, 3))
    good, bad = (Answer("flags", np.clip(truth * 0.6 + rng.random(truth.shape) * noise, 0, 1), tuple("abc")) for noise in (0.55, 0.9))
    found = paired(truth, good, bad, seed=1, resamples=100)
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert found["f1_micro"]["verdict"] == found["verdict"] == "better" and set(found) == {
        "kind", "rows", "seed", "resamples", "f1_micro", "verdict"}
