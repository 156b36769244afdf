"""The baseline equals a plain scikit-learn pipeline and is saved without pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC

from bessemer.core.errors import GuardError, UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import FitSpec
from bessemer.models.tfidf_linear import TfidfLinear, load_linear, tfidf_linear

WORDS = {0: ["bad", "ugly", "质量差", "broken"], 1: ["good", "lovely", "很好", "😀"], 2: ["so", "plain", "一般", "!"]}


def rows(count: int, num_labels: int, seed: int) -> tuple[list[str], list[int]]:
    """Texts of class words and shared ones."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, num_labels, count).tolist()
    texts = [" ".join([*rng.choice(WORDS[code], 2), *rng.choice(["the", "it", "was", "shop"], 3)]) for code in codes]
    return texts, codes


def spec_of(folder: Path, train: tuple[list[str], list[int]], valid: tuple[list[str], list[int]],
            labels: int) -> FitSpec:
    """Tables in two chunks."""

    def chunks(given: tuple[list[str], list[int]]) -> Iterator[pa.Table]:
        whole = pa.table({"said": given[0], "mood": pa.array(given[1], pa.int32())})
        yield whole.slice(0, 20)
        yield whole.slice(20)

    columns = (Column(name="said", role=Role.INPUT, modality={"kind": "text"}),
               Column(name="mood", role=Role.TARGET, modality={"kind": "category"}, labels=("x", "y", "z")[:labels]))
    return FitSpec(Schema(columns=columns), lambda: chunks(train), lambda: chunks(valid), 0, folder)


def fit(spec: FitSpec, **settings: Any) -> dict[str, Any]:
    """Fit the registered model."""
    found = tfidf_linear(TfidfLinear(**settings))
    assert found.fit is not None
    return found.fit(spec)


def plain_terms(analyzer: str) -> Any:
    """scikit-learn's own vectorizer of the same terms."""
    if analyzer == "both":
        return FeatureUnion([("word", plain_terms("word")), ("char_wb", plain_terms("char_wb"))])
    return TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 2) if analyzer == "word" else (1, 4), sublinear_tf=True,
                           token_pattern=r"(?u)\w+|[^\w\s]" if analyzer == "word" else None)


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("analyzer", ["word", "char_wb", "both"])
def test_equals_scikit_learn(num_labels: int, analyzer: str, tmp_path: Path) -> None:
    """Saved and loaded, the probabilities are the plain pipeline's to the last digit of float32; unlabelled rows skipped."""
    train, valid, test = (rows(count, num_labels, seed) for count, seed in ((80, 0), (30, 1), (20, 2)))
    with_gaps = ([*train[0], "good bad"], [*train[1], -1])
    facts = fit(spec_of(tmp_path, with_gaps, valid, num_labels), analyzers=(analyzer,), losses=("logistic",), c=(4.0,))
    plain = plain_terms(analyzer)
    linear = LogisticRegression(C=4.0, max_iter=1000).fit(plain.fit_transform(train[0]), train[1])
    found = load_linear(tmp_path)(test[0])
    assert found.dtype == np.float32 and found.shape == (20, num_labels)
    np.testing.assert_allclose(found, linear.predict_proba(plain.transform(test[0])), rtol=1e-6)
    assert facts["validation_accuracy"] == linear.score(plain.transform(valid[0]), valid[1])
    assert facts["num_train_rows"] == 80
    assert sorted(file.name for file in tmp_path.iterdir()) == ["linear.json", "vocabulary.json", "weights.safetensors"]
    assert load_linear(tmp_path)([]).shape == (0, num_labels)


def test_chooses_on_validation_and_repeats(tmp_path: Path) -> None:
    """The best candidate on validation is kept, the first of equals; a second fit writes the same bytes."""
    train, valid = rows(80, 3, 0), rows(30, 3, 1)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        facts = fit(spec_of(folder, train, valid, 3), c=(0.001, 4.0))
    assert len(facts["tried"]) == 4 + 2 + 2, "both losses with the first kind of terms, the better one with the others"
    assert len({item["loss"] for item in facts["tried"][4:]}) == 1
    best = max(item["validation_accuracy"] for item in facts["tried"])
    assert {key: facts[key] for key in ("analyzer", "loss", "c")} in [
        {key: item[key] for key in ("analyzer", "loss", "c")} for item in facts["tried"] if item["validation_accuracy"] == best]
    for file in folders[0].iterdir():
        assert file.read_bytes() == (folders[1] / file.name).read_bytes()


def test_penalties_are_tried_while_validation_does_not_get_worse(tmp_path: Path) -> None:
    facts = fit(spec_of(tmp_path, rows(80, 3, 0), rows(30, 3, 1), 3), analyzers=("word",), losses=("logistic",),
                c=(4.0, 1e-6, 16.0))
    assert [item["c"] for item in facts["tried"]] == [4.0, 1e-6] and facts["c"] == 4.0


@pytest.mark.parametrize("num_labels", [2, 3])
def test_a_hinges_margins_become_probabilities(num_labels: int, tmp_path: Path) -> None:
    """The same classes as scikit-learn's LinearSVC; its margins times one number, the likeliest of a grid on the validation rows, each of
    which counts as one more row of every class would (Platt 1999)."""
    train, valid, test = (rows(count, num_labels, seed) for count, seed in ((80, 0), (60, 1), (40, 2)))
    if num_labels == 3:  # some are wrong; of two labels all are right, and the number has an end all the same
        valid = (valid[0], [0 if place % 5 == 0 else code for place, code in enumerate(valid[1])])
    fit(spec_of(tmp_path, train, valid, num_labels), analyzers=("word",), losses=("squared_hinge",), c=(16.0,))
    plain = plain_terms("word")
    machine = LinearSVC(C=1.0, random_state=0, dual="auto").fit(plain.fit_transform(train[0]), train[1])
    score = load_linear(tmp_path)
    found = score(test[0])
    assert np.array_equal(found.argmax(1), machine.predict(plain.transform(test[0])))

    def log_loss(scale: float) -> float:
        margins = machine.decision_function(plain.transform(valid[0])) * scale
        both = np.stack([np.zeros(len(margins)), margins], 1) if margins.ndim == 1 else margins
        return -float((aim * log_softmax(both, axis=1)).sum())

    said = score(valid[0]).astype(np.float64)
    aim = np.full(said.shape, 1 / (60 + num_labels))
    aim[np.arange(60), valid[1]] = 61 / (60 + num_labels)
    own = -float((aim * np.log(said)).sum())
    assert own == pytest.approx(min(log_loss(scale) for scale in np.geomspace(0.02, 140, 2000)), abs=1e-3)


@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
@pytest.mark.parametrize("num_labels", [2, 3])
def test_terms_by_their_log_count_ratio(num_labels: int, loss: str, tmp_path: Path) -> None:
    """The same classes as scikit-learn's solver over terms times their ratios, each class against the others (Wang & Manning 2012)."""
    train, valid, test = (rows(count, num_labels, seed) for count, seed in ((80, 0), (60, 1), (40, 2)))
    facts = fit(spec_of(tmp_path, train, valid, num_labels), analyzers=("word",), losses=(loss,), weightings=("ratio",), c=(16.0,))
    plain = plain_terms("word")
    terms, asked = plain.fit_transform(train[0]).toarray(), plain.transform(test[0]).toarray()
    margins = []
    for code in range(num_labels) if num_labels > 2 else [1]:
        own = np.array(train[1]) == code
        p, q = 1 + (terms[own] > 0).sum(0), 1 + (terms[~own] > 0).sum(0)
        ratio = np.log((p / p.sum()) / (q / q.sum()))
        solver = LogisticRegression(C=16.0, max_iter=1000) if loss == "logistic" else LinearSVC(C=1.0, random_state=0, dual="auto")
        margins.append(solver.fit(terms * ratio, own).decision_function(asked * ratio))
    plainly = np.stack(margins, 1) if num_labels > 2 else np.stack([np.zeros(len(asked)), margins[0]], 1)
    found = np.log(load_linear(tmp_path)(test[0]).astype(np.float64))
    assert facts["weighting"] == "ratio" and np.array_equal(found.argmax(1), plainly.argmax(1))
    between = (found[:, 1] - found[:, 0]) / (plainly[:, 1] - plainly[:, 0])
    assert between.min() > 0 and np.allclose(between, between[0], rtol=1e-2), "one number scales the margins"


def test_the_better_weighting_stays(tmp_path: Path) -> None:
    """Both are tried with the first kind of terms, the better one with the others; a number has none."""
    facts = fit(spec_of(tmp_path, rows(80, 3, 0), rows(30, 3, 1), 3), losses=("logistic",), weightings=("idf", "ratio"), c=(1.0,))
    assert [item["weighting"] for item in facts["tried"][:2]] == ["idf", "ratio"] and len(facts["tried"]) == 4
    texts, codes = rows(120, 2, 0)
    given = [(texts[:80], [float(code) for code in codes[:80]]), (texts[80:], [float(code) for code in codes[80:]])]
    number = fit(spec_with(tmp_path, "number", *given), analyzers=("word",), weightings=("ratio",), c=(1.0,))
    assert "weighting" not in number


def spec_with(folder: Path, kind: str, train: tuple[list[str], Any], valid: tuple[list[str], Any]) -> FitSpec:
    """Rows whose target is several labels or a number."""
    column = Column(name="said", role=Role.INPUT, modality={"kind": "text"})
    target = Column(name="aim", role=Role.TARGET, modality={"kind": kind}, labels=("x", "y", "z") if kind == "multilabel" else ())
    stored = pa.list_(pa.int8(), 3) if kind == "multilabel" else pa.float64()

    def tables(given: tuple[list[str], Any]) -> Any:
        return lambda: iter([pa.table({"said": given[0], "aim": pa.array(given[1], stored)})])

    return FitSpec(Schema(columns=(column, target)), tables(train), tables(valid), 0, folder)


@pytest.mark.parametrize("weighting", ["idf", "ratio"])
@pytest.mark.parametrize("loss", ["logistic", "squared_hinge"])
def test_several_labels(loss: str, weighting: str, tmp_path: Path) -> None:
    """Each label has a linear model of its own, by the rows that say whether it holds; a label that never holds is unlikely everywhere."""
    texts, codes = rows(120, 2, 0)
    flags = [[int(code == 0), int(code == 1), 0] for code in codes]
    flags[0][0] = -1  # not known
    fit(spec_with(tmp_path, "multilabel", (texts[:80], flags[:80]), (texts[80:], flags[80:])), losses=(loss,), c=(4.0,),
        analyzers=("word",), weightings=(weighting,))
    found = load_linear(tmp_path)(texts[80:])
    assert found.dtype == np.float32 and found.shape == (40, 3) and found[:, 2].max() < 0.01
    assert np.array_equal(found[:, :2] > 0.5, np.array(flags[80:])[:, :2] == 1)
    if loss == "logistic" and weighting == "idf":
        plain = plain_terms("word")
        terms = plain.fit_transform(texts[:80])
        alone = LogisticRegression(C=4.0, max_iter=1000).fit(terms[1:], np.array(codes[1:80]) == 0)
        assert np.abs(alone.predict_proba(plain.transform(texts[80:]))[:, 1] - found[:, 0]).max() < 1e-3


def test_numbers_are_learnt_by_least_squares(tmp_path: Path) -> None:
    texts, codes = rows(120, 3, 0)
    values = [3.0 * code + 1 for code in codes]
    facts = fit(spec_with(tmp_path, "number", (texts[:80], values[:80]), (texts[80:], values[80:])), analyzers=("word",), c=(4.0,))
    plain = plain_terms("word")
    ridge = Ridge(alpha=0.25, solver="sparse_cg", max_iter=1000).fit(plain.fit_transform(texts[:80]), values[:80])
    found = load_linear(tmp_path)(texts[80:])
    assert found.shape == (40, 1) and np.allclose(found[:, 0], ridge.predict(plain.transform(texts[80:])))
    assert facts["validation_mse"] == pytest.approx(float(np.square(found[:, 0] - values[80:]).mean()))


def test_bad_data(tmp_path: Path) -> None:
    """One label, a label never seen, no validation rows, no model: one sentence each."""
    train, valid = rows(40, 2, 0), rows(10, 2, 1)
    with pytest.raises(UserError, match="has 1 label"):
        fit(spec_of(tmp_path, train, valid, 1))
    with pytest.raises(GuardError, match="the label 'z' of 'mood' never occurs in the training data"):
        fit(spec_of(tmp_path, train, valid, 3))
    with pytest.raises(UserError, match="the validation split has no row with a label"):
        fit(spec_of(tmp_path, train, ([], []), 2))
    with pytest.raises(UserError, match="has no linear.json"):
        load_linear(tmp_path)
