"""Classes from a network's vectors, against scikit-learn on the same vectors and against the definition."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import FitSpec
from bessemer.modalities import codec_of
from bessemer.models.probe import embedder, few
from bessemer.predictors.probe_form import logits
from tests.predictors.test_predictors import make_folder

WORDS = ["good", "bad", "film", "seen", "people", "day", "rainy", "same", "one"]


def data(count, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, count)
    texts = [" ".join([*rng.choice(WORDS[2:], 2), WORDS[1 - code], *rng.choice(WORDS[2:], 2)]) for code in codes]
    return pa.table({"review": texts, "mood": pa.array(codes, pa.int32())})


def fit(folder, out, train, valid, **settings):
    schema = make_folder(folder)
    config = make("models", {"kind": "probe", "path": str(folder), **settings})
    out.mkdir()
    facts = plugin_of("models", config).function(config).fit(FitSpec(schema, lambda: iter([train]), lambda: iter([valid]), 0, out,
                                                                    data=folder, codec=codec_of(schema.columns[0], folder)))
    embed = embedder(folder, codec_of(schema.columns[0], folder))
    from safetensors.numpy import load_file

    tensors = load_file(out / "probe.safetensors")
    return facts, embed, lambda table: logits(embed(table["review"].combine_chunks()), tensors["coef"], tensors["intercept"])


def test_a_linear_probe_is_scikit_learns_regression_on_the_vectors(tmp_path):
    train, valid = data(120, 0), data(60, 1)
    (tmp_path / "net").mkdir()
    facts, embed, scored = fit(tmp_path / "net", tmp_path / "out", train, valid, c=[10.0])
    vectors = [embed(table["review"].combine_chunks()) for table in (train, valid)]
    np.testing.assert_allclose(np.linalg.norm(vectors[0], axis=1), 1, atol=1e-6)
    reference = LogisticRegression(C=10.0, max_iter=2000).fit(vectors[0], train["mood"])
    found = scored(valid)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], reference.decision_function(vectors[1]), atol=1e-4)
    assert facts["rows_learnt"] == 120


def test_prototypes_are_nearest_centroids_by_angle(tmp_path):
    train, valid = data(80, 2), data(80, 3)
    (tmp_path / "net").mkdir()
    _, embed, scored = fit(tmp_path / "net", tmp_path / "out", train, valid, method="prototypes")
    vectors = [embed(table["review"].combine_chunks()) for table in (train, valid)]
    centroids = NearestCentroid().fit(vectors[0], train["mood"]).centroids_
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    np.testing.assert_array_equal(scored(valid).argmax(1), (vectors[1] @ centroids.T).argmax(1))


def test_zero_shot_reads_names_and_no_row(tmp_path):
    valid = data(60, 4)
    (tmp_path / "net").mkdir()
    facts, embed, scored = fit(tmp_path / "net", tmp_path / "out", data(2, 0), valid, method="zero_shot", names={"good": "good good film"})
    names = embed(pa.array(["bad", "good good film"]))
    np.testing.assert_allclose(scored(valid), embed(valid["review"].combine_chunks()) @ names.T * facts["scale"], atol=1e-4)
    assert facts["rows_learnt"] == 0
    with pytest.raises(UserError, match="names: 'mood' has no label 'goood'; did you mean 'good'"):
        fit(tmp_path / "net", tmp_path / "again", data(2, 0), valid, method="zero_shot", names={"goood": "x"})


def test_more_shots_add_rows_and_change_none():
    codes = np.array([0, 1, 2, 0, 1, 0, 0, 1, 2, 0])
    one, two, all_rows = (set(few(codes, 3, shots, 7).tolist()) for shots in (1, 2, None))
    assert one < two < all_rows and len(one) == 3 and len(two) == 6 and len(all_rows) == 10
    assert set(few(codes, 3, 100, 7).tolist()) == all_rows
    assert [sum(codes[row] == code for row in two) for code in range(3)] == [2, 2, 2]


def test_a_label_that_no_row_has_is_named(tmp_path):
    (tmp_path / "net").mkdir()
    train = data(40, 5)
    train = train.filter(pa.array(train["mood"].to_numpy() == 0))
    with pytest.raises(UserError, match="the label 'good' of 'mood' never occurs in the training data"):
        fit(tmp_path / "net", tmp_path / "out", train, data(20, 6))
