"""Every metric of numbers and of flags against scikit-learn, weighted and not, of numbers large and small."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from bessemer.evaluate.score import named

LEVELS = (0.1, 0.5, 0.9)
REFERENCES: dict[str, Callable[..., float]] = {
    "mae": sk.mean_absolute_error, "mse": sk.mean_squared_error, "rmse": sk.root_mean_squared_error, "r2": sk.r2_score,
    "mape": sk.mean_absolute_percentage_error, "median_absolute_error": sk.median_absolute_error}


def numbers(scale: float, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = scale * (3.0 + rng.normal(size=rows))
    guess = truth + scale * rng.normal(size=rows)
    return truth, np.stack([guess, *(guess + scale * 2 * (level - 0.5) for level in LEVELS)], axis=1)


def flags(rows: int = 200, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    truth = (rng.random((rows, labels)) < np.linspace(0.1, 0.7, labels)).astype(int)
    return truth, np.round(0.3 * truth + 0.7 * rng.random(truth.shape), 2)  # rounded: there are ties


def repeated(rows: int) -> tuple[np.ndarray, list[np.ndarray]]:
    weights = np.random.default_rng(3).integers(0, 4, (4, rows)).astype(float)
    return weights, [np.repeat(np.arange(rows), row.astype(int)) for row in weights]


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_numbers_equal_scikit_learn(name: str, scale: float) -> None:
    truth, values = numbers(scale)
    metric = named(name, "number")
    state = metric.update(None, truth, values)
    reference = REFERENCES[name]
    assert metric.finalise(state) == pytest.approx(reference(truth, values[:, 0]), rel=1e-10)
    weights, rows = repeated(len(truth))
    assert metric.finalise(state, weights) == pytest.approx([reference(truth[at], values[at, 0]) for at in rows], rel=1e-10)


def test_quantile_metrics_by_their_definition() -> None:
    truth, values = numbers(1.0)
    pinball, coverage, width = (named(name, "number", LEVELS) for name in ("pinball", "coverage", "interval_width"))
    expected = np.mean([sk.mean_pinball_loss(truth, values[:, 1 + index], alpha=level) for index, level in enumerate(LEVELS)])
    assert pinball.finalise(pinball.update(None, truth, values)) == pytest.approx(expected, rel=1e-10)
    inside = (values[:, 1] <= truth) & (truth <= values[:, 3])
    assert coverage.finalise(coverage.update(None, truth, values)) == pytest.approx(inside.mean(), rel=1e-12)
    assert width.finalise(width.update(None, truth, values)) == pytest.approx(1.6, rel=1e-10)
    with pytest.raises(ValueError, match="3 levels do not fit values with 1 quantiles"):
        pinball.update(None, truth, values[:, :2])
    with pytest.raises(ValueError, match="coverage needs two quantiles at least, not 0"):
        coverage.update(None, truth, values[:, :1])


def test_extremes_stay_inside_float64() -> None:
    truth, values = numbers(1e200)
    for name in ("rmse", "r2"):
        metric = named(name, "number")
        small = metric.finalise(metric.update(None, truth / 1e200, values / 1e200))
        assert metric.finalise(metric.update(None, truth, values)) == pytest.approx(small * (1e200 if name == "rmse" else 1), rel=1e-10)


def test_r2_is_undefined_in_a_resample_of_one_value() -> None:
    metric = named("r2", "number")
    state = metric.update(None, np.array([0.1, 0.1, 0.3]), np.array([[0.1], [0.2], [0.3]]))
    found = metric.finalise(state, np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))
    assert np.isnan(found[[0, 1, 3]]).all() and found[2] == 1.0


FLAGS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "f1_micro": lambda truth, prob: sk.f1_score(truth, prob >= 0.5, average="micro"),
    "f1_macro": lambda truth, prob: sk.f1_score(truth, prob >= 0.5, average="macro"),
    "subset_accuracy": lambda truth, prob: sk.accuracy_score(truth, prob >= 0.5),
    "hamming_loss": lambda truth, prob: sk.hamming_loss(truth, prob >= 0.5),
    "average_precision": lambda truth, prob: sk.average_precision_score(truth, prob, average="macro"),
    "roc_auc": lambda truth, prob: sk.roc_auc_score(truth, prob, average="macro")}


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_flags_equal_scikit_learn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.evaluate.flags_f1.BLOCK", 400)  # two labels at a time
    truth, prob = flags()
    metric = named(name, "flags")
    state = metric.update(None, truth, prob)
    assert metric.finalise(state) == pytest.approx(FLAGS[name](truth, prob), abs=1e-10)
    weights, rows = repeated(len(truth))
    assert metric.finalise(state, weights) == pytest.approx([FLAGS[name](truth[at], prob[at]) for at in rows], abs=1e-10)


def test_a_label_that_never_holds_is_left_out_of_ranking_and_counts_as_zero_in_f1() -> None:
    truth, prob = flags(labels=3)
    truth[:, 0], prob[:, 0] = 0, 0.1
    found = {name: named(name, "flags") for name in ("average_precision", "roc_auc", "f1_macro")}
    values = {name: metric.finalise(metric.update(None, truth, prob)) for name, metric in found.items()}
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(truth[:, 1:], prob[:, 1:]), abs=1e-10)
    assert values["roc_auc"] == pytest.approx(sk.roc_auc_score(truth[:, 1:], prob[:, 1:]), abs=1e-10)
    assert values["f1_macro"] == pytest.approx(sk.f1_score(truth, prob >= 0.5, average="macro", zero_division=0), abs=1e-10)
