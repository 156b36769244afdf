"""Principal components of vectors: those of scikit-learn, and the same bits for one row as for many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from bessemer.core.errors import UserError
from bessemer.core.schema import Column
from bessemer.modalities import codec_of
from bessemer.modalities._pca import Moments, projected
from bessemer.modalities.vectors import open_vectors
from tests.modalities.columns import codec, fitted, numbers, schema_of


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, width)) @ rng.standard_normal((width, width)) + rng.normal(size=width) * 5).astype(np.float32)


def lists(values: np.ndarray) -> pa.Array:
    return pa.array(list(values), pa.list_(pa.float32()))


@pytest.mark.parametrize("scale", ["none", "standard"])
def test_components_are_those_of_scikit_learn_up_to_their_sign(tmp_path: Path, scale: str) -> None:
    values = rows(700, 12)
    column, own = codec(tmp_path, {"kind": "vector", "pca": 5, "scale": scale}, lists(values))
    found = numbers(own.encode(lists(values)))
    plain = values.astype(np.float64)
    plain = plain - plain.mean(axis=0)
    plain = plain / plain.std(axis=0) if scale == "standard" else plain
    reference = PCA(5, svd_solver="full").fit(plain)
    expected = reference.transform(plain)
    signs = np.sign((expected * found).sum(axis=0))
    assert found.shape == (700, 5) and found.dtype == np.float32
    assert np.abs(found - expected * signs).max() < 1e-5 * np.abs(expected).max()
    assert column.facts["explained"] == pytest.approx(reference.explained_variance_ratio_.tolist(), abs=1e-9)
    assert own.info["numbers"] == 5 and own.info["names"][0] == "x pc 0" and len(own.info["edges"]) == 5


def test_signs_are_fixed_and_blocks_play_no_part() -> None:
    values = rows(1000, 6).astype(np.float64)
    parts = []
    for size in (1000, 37, 1):
        moments = Moments(6)
        for start in range(0, 1000, size):
            moments.add(values[start:start + size])
        parts.append(moments.components(3, np.ones(6))[0])
    assert np.abs(parts[0] - parts[1]).max() < 1e-9 and np.abs(parts[0] - parts[2]).max() < 1e-9
    assert (parts[0][np.arange(3), np.abs(parts[0]).argmax(axis=1)] > 0).all()
    assert np.allclose(parts[0] @ parts[0].T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("width", "count"), [(3, 1), (17, 5), (130, 64), (768, 33)])
def test_a_row_alone_has_the_bits_that_it_has_among_others(width: int, count: int) -> None:
    rng = np.random.default_rng(width)
    values, directions = rng.standard_normal((300, width)), rng.standard_normal((count, width))
    whole = projected(values, directions)
    assert np.allclose(whole, values @ directions.T, rtol=1e-5, atol=1e-4)
    for start, size in ((0, 1), (7, 1), (299, 1), (11, 2), (40, 77)):
        assert np.array_equal(projected(values[start:start + size], directions), whole[start:start + size])


def test_serving_equals_what_was_prepared(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"kind": "vector", "pca": 4}
    column, clean = fitted(tmp_path, "v", settings, lists(rows(400, 9)))
    vectors = open_vectors(schema_of([column]), tmp_path)
    whole, _ = vectors.encode(pa.table({"v": clean}))
    again = open_vectors(schema_of([Column.model_validate_json(column.model_dump_json())]), tmp_path)
    assert all(np.array_equal(again.encode(pa.table({"v": clean.slice(row, 1)}))[0][0], whole[row]) for row in range(0, 400, 9))
    (tmp_path / "columns" / "v" / "components.npy").unlink()
    with pytest.raises(UserError, match=r"has no components.npy for the column 'v'; run the recipe again to make it"):
        codec_of(column, tmp_path)


def test_lists_of_which_no_such_components_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        codec(tmp_path, {"kind": "vector", "pca": 4}, lists(rows(20, 3)))
    assert str(caught.value) == ("a column of vectors has lists of 3 numbers, of which 'pca: 4' cannot be made; expected lists of at least "
                                 "4 and at most 4,096")
