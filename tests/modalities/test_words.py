from __future__ import annotations

import numpy as np
import pyarrow as pa
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from bessemer.modalities import _hashed
from bessemer.modalities.words import weigh
from tests.modalities.columns import codec, fitted, numbers

RNG = np.random.default_rng(0)
PLACES = ["red house", "blue garden", "green tower", "old bridge", "红色的房子", "蓝色的花园"]
TEXTS = [" ".join(RNG.choice(PLACES, 3)) + f" {i % 7}" for i in range(300)]
SETTINGS = (2, 4, 2**18, 2000)


def test_counts_equal_scikit_learns_up_to_names():
    """Each word and each run of characters inside a framed word is one bucket, as often as CountVectorizer counts it."""
    found = _hashed.counts(pa.array(TEXTS), SETTINGS)
    runs = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4)).fit_transform(TEXTS)
    words = CountVectorizer(token_pattern=r"\w+").fit_transform(TEXTS)
    wanted = np.concatenate([runs.toarray(), words.toarray()], axis=1)
    assert np.array_equal(np.sort(found.toarray()[:, np.unique(found.indices)].sum(axis=0)), np.sort(wanted.sum(axis=0)))
    assert np.array_equal((found @ found.T).toarray(), wanted @ wanted.T)


def test_weights_equal_scikit_learn():
    found = _hashed.counts(pa.array(TEXTS), SETTINGS)
    peer = TfidfTransformer(sublinear_tf=True).fit(found)
    assert np.allclose(weigh(found, peer.idf_).toarray(), peer.transform(found).toarray(), atol=1e-12)


def test_components_equal_scikit_learn(tmp_path):
    column, own = codec(tmp_path, {"kind": "words", "components": 4}, pa.array(TEXTS))
    found = _hashed.counts(pa.array(TEXTS), (2, 4, 2**15, 2000))
    peer = TruncatedSVD(4, algorithm="arpack", random_state=0)
    wanted = peer.fit_transform(TfidfTransformer(sublinear_tf=True).fit_transform(found))
    sign = np.sign(peer.components_[np.arange(4), np.abs(peer.components_).argmax(axis=1)])
    wanted = wanted * sign / wanted.std(axis=0)
    assert np.abs(numbers(own.encode(pa.array(TEXTS)))[:, :4] - np.clip(wanted, -10, 10)).max() < 1e-3
    assert column.facts["components"] == 4


def test_length_missing_and_few_texts(tmp_path):
    values = pa.array(["good", "", None, "好的东西"])
    column, own = codec(tmp_path, {"kind": "words", "components": 8}, values)
    found = numbers(own.encode(values))
    assert found.shape == (4, 10) and own.info["names"][-2:] == ["x length", "x missing"] and column.facts["missing"] == 2
    assert (found[1] == found[2]).all() and found[1].tolist() == [0] * 9 + [1] and np.isfinite(found).all()
    column, own = codec(tmp_path / "none", {"kind": "words", "components": 3}, pa.nulls(5, pa.string()))
    assert np.isfinite(numbers(own.encode(values))).all() and column.facts["components"] == 0


def test_a_sample_is_enough(tmp_path):
    column, _ = fitted(tmp_path, "x", {"kind": "words", "sample": 100}, pa.array(TEXTS))
    assert column.facts["sampled"] == 100 and column.facts["count"] == 300
