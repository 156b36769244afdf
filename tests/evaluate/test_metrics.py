"""Every metric against scikit-learn, weighted and not, on random and on degenerate data."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from bessemer.evaluate.score import named

AVERAGES = ("macro", "micro", "weighted")


def draw(seed: int, rows: int, classes: int, absent: bool = False, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return truth [rows] and probabilities [rows, classes]; absent: the last class is neither true nor predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes - absent, rows)
    raw = rng.gamma(0.7, size=(rows, classes)) + 1e-3
    raw[np.arange(rows), truth] += 0.5
    if absent:
        raw[:, -1] = 1e-4
    if ties:
        raw = np.ceil(raw * 2)
    return truth, raw / raw.sum(axis=1, keepdims=True)


def reference(name: str, truth: np.ndarray, prob: np.ndarray, weight: np.ndarray | None) -> float:
    """Return scikit-learn's value."""
    guess, codes = prob.argmax(axis=1), np.arange(prob.shape[1])
    if name == "accuracy":
        return sk.accuracy_score(truth, guess, sample_weight=weight)
    if name == "log_loss":
        return sk.log_loss(truth, prob, labels=codes, sample_weight=weight)
    if name == "roc_auc":
        if prob.shape[1] == 2:
            return sk.roc_auc_score(truth, prob[:, 1], sample_weight=weight)
        present = [code for code in codes if 0 < (truth == code).sum() < len(truth)]
        return float(np.mean([sk.roc_auc_score(truth == code, prob[:, code], sample_weight=weight)
                              for code in present]))
    base, _, average = name.rpartition("_")
    score = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}[base]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where it divides by 0; ours must not
        return score(truth, guess, average=average, sample_weight=weight)


NAMES = ["accuracy", "log_loss", "roc_auc", *(f"{base}_{average}" for base in ("precision", "recall", "f1")
                                              for average in AVERAGES)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("classes", "absent", "ties"), [(2, False, False), (2, False, True), (5, False, False),
                                                         (5, True, False), (4, False, True)])
def test_equals_scikit_learn(name: str, classes: int, absent: bool, ties: bool) -> None:
    truth, prob = draw(classes, 300, classes, absent, ties)
    metric = named(name)
    state = metric.update(None, truth, prob)
    assert metric.finalise(state) == pytest.approx(reference(name, truth, prob, None), abs=1e-9)
    weights = np.random.default_rng(1).integers(0, 4, (5, 300)).astype(float)
    expected = [reference(name, truth, prob, row) for row in weights]
    assert metric.finalise(state, weights) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("base", ["precision", "recall", "f1"])
def test_binary_average(base: str) -> None:
    truth, prob = draw(3, 100, 2)
    metric = named(f"{base}_binary")
    assert metric.finalise(metric.update(None, truth, prob)) == pytest.approx(
        reference(f"{base}_binary", truth, prob, None), abs=1e-12)
    with pytest.raises(ValueError, match="needs exactly two classes, not 3"):
        metric.finalise(metric.update(None, *draw(3, 9, 3)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "roc_auc"])
@pytest.mark.parametrize("code", [0, 1])
def test_one_class_and_constant_prediction(name: str, code: int) -> None:
    truth, prob = np.full(6, code), np.tile([0.9, 0.1], (6, 1))
    metric = named(name)
    assert metric.finalise(metric.update(None, truth, prob)) == pytest.approx(
        reference(name, truth, prob, None), abs=1e-9)


def test_weighted_resample_with_a_missing_class_equals_the_rows_drawn() -> None:
    truth, prob = np.array([0, 0, 1, 2]), np.eye(3)[[0, 1, 1, 0]] * 0.9 + 0.1 / 3
    weights = np.array([[2.0, 2.0, 0.0, 0.0], [0.0, 1.0, 3.0, 0.0]])
    rows = [np.array([0, 0, 1, 1]), np.array([1, 2, 2, 2])]
    for name in NAMES[3:]:
        metric = named(name)
        expected = [reference(name, truth[at], prob[at], None) for at in rows]
        assert metric.finalise(metric.update(None, truth, prob), weights) == pytest.approx(expected, abs=1e-12)


def test_roc_auc_of_a_single_class_is_undefined_without_a_warning() -> None:
    metric = named("roc_auc")
    state = metric.update(None, np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]))
    found = metric.finalise(state, np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    assert np.isnan(found[[0, 2]]).all() and found[1] == 1.0


def test_ece_by_hand_and_against_a_loop() -> None:
    metric = named("ece")
    by_hand = metric.update(None, np.array([0, 0]), np.array([[0.9, 0.1], [0.3, 0.7]]))
    assert metric.finalise(by_hand) == pytest.approx(0.5 * 0.1 + 0.5 * 0.7)
    truth, prob = draw(9, 500, 3)
    top, right, total = prob.max(axis=1), prob.argmax(axis=1) == truth, 0.0
    for low in np.arange(15) / 15:
        inside = (top > low) & (top <= low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(top[inside].mean() - right[inside].mean())
    assert metric.finalise(metric.update(None, truth, prob)) == pytest.approx(total, abs=1e-9)


def test_a_code_without_a_column_or_weights_of_another_length_are_refused() -> None:
    metric = named("accuracy")
    with pytest.raises(ValueError, match="class code 2 has no column among 2"):
        metric.update(None, np.array([0, 2]), np.ones((2, 2)) / 2)
    with pytest.raises(ValueError, match=r"expected weights \[R, 2\], not \(1, 3\)"):
        metric.finalise(metric.update(None, np.array([0, 1]), np.ones((2, 2)) / 2), np.ones((1, 3)))


def test_plug_ins_import_nothing_heavy() -> None:
    code = ("import sys; from bessemer.core.registry import plugins; plugins('evaluate'); "
            "print([name for name in ('numpy', 'torch', 'sklearn', 'scipy', 'pyarrow') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
