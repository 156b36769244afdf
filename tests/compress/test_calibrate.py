"""Ranges of activations: held against numpy, and against what entropy must do with an outlier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bessemer.compress._calibrate import BINS, Range, affine, by_entropy, by_percentile, scales
from bessemer.compress._graph import load_graph, products
from bessemer.core.types import Calibration
from tests.compress.conftest import rows_of


def test_affine_holds_zero_exactly() -> None:
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)):
        scale, zero = affine(low, high)
        assert 0 <= zero <= 255 and scale > 0
        assert abs((0 - zero) * scale - min(low, 0)) <= scale and abs((255 - zero) * scale - max(high, 0)) <= scale or low == high


def test_percentile_equals_numpy_within_a_bin() -> None:
    values = np.random.default_rng(0).normal(size=100_000)
    counts, edges = np.histogram(values, BINS, (values.min(), values.max()))
    low, high = by_percentile(counts, edges[0], edges[-1], Range("percentile", 99.0))
    assert (low, high) == pytest.approx(tuple(np.percentile(values, [0.5, 99.5])), abs=edges[1] - edges[0])


def test_entropy_cuts_an_outlier_and_keeps_a_flat_range() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=100_000), [200.0]])
    counts, edges = np.histogram(values, BINS, (values.min(), values.max()))
    low, high = by_entropy(counts, edges[0], edges[-1], Range("entropy"))
    assert low == edges[0] and 3 < high < 60
    flat = np.full(BINS, 50)
    assert by_entropy(flat, -1.0, 1.0, Range("entropy")) == pytest.approx((-1, 1), abs=0.02)


def test_scales_cover_what_the_rows_show_and_padding_plays_no_part(graph: Path) -> None:
    model = load_graph(graph)
    names = sorted({product.x for product in products(model) if not product.bias})
    feeds, _ = rows_of(8, 3)
    longer = {name: np.concatenate([array, np.zeros((8, 0), np.int64)], axis=1) for name, array in feeds.items()}
    padded = {name: array.copy() for name, array in feeds.items()}
    padded["attention_mask"][:, 12:] = 0
    short = {name: array[:, :12] for name, array in feeds.items()}
    found = {key: scales(model, names, Calibration(8, lambda rows=rows: iter([rows])), Range("min_max"))
             for key, rows in (("whole", longer), ("padded", padded), ("short", short))}
    for name in names:
        assert found["padded"][name] == pytest.approx(found["short"][name], rel=1e-4)
    assert any(found["whole"][name][0] > found["short"][name][0] for name in names)
