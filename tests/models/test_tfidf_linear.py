"""The baseline equals a plain scikit-learn pipeline and is saved without pickle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

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


@pytest.mark.parametrize("num_labels", [2, 3])
@pytest.mark.parametrize("analyzer", ["word", "char_wb"])
def test_equals_scikit_learn(num_labels: int, analyzer: str, tmp_path: Path) -> None:
    """Saved and loaded, the probabilities are the plain pipeline's, bit for bit in float32; unlabelled rows skipped."""
    train, valid, test = (rows(count, num_labels, seed) for count, seed in ((80, 0), (30, 1), (20, 2)))
    with_gaps = ([*train[0], "good bad"], [*train[1], -1])
    facts = fit(spec_of(tmp_path, with_gaps, valid, num_labels), analyzers=(analyzer,), c=(4.0,))
    pattern = r"(?u)\w+|[^\w\s]" if analyzer == "word" else None
    plain = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 2) if analyzer == "word" else (1, 4), sublinear_tf=True,
                            token_pattern=pattern)
    linear = LogisticRegression(C=4.0, max_iter=1000).fit(plain.fit_transform(train[0]), train[1])
    found = load_linear(tmp_path)(test[0])
    assert found.dtype == np.float32 and found.shape == (20, num_labels)
    assert np.array_equal(found, linear.predict_proba(plain.transform(test[0])).astype(np.float32))
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
    assert len(facts["tried"]) == 4
    best = max(facts["tried"], key=lambda item: item["validation_accuracy"])
    assert (facts["analyzer"], facts["c"]) == (best["analyzer"], best["c"])
    for file in folders[0].iterdir():
        assert file.read_bytes() == (folders[1] / file.name).read_bytes()


def test_penalties_are_tried_while_validation_does_not_get_worse(tmp_path: Path) -> None:
    facts = fit(spec_of(tmp_path, rows(80, 3, 0), rows(30, 3, 1), 3), analyzers=("word",), c=(4.0, 1e-6, 16.0))
    assert [item["c"] for item in facts["tried"]] == [4.0, 1e-6] and facts["c"] == 4.0


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
