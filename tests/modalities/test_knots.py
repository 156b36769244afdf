"""Whatever grid finds a value's segment, it is the one that a search finds, and a value alone has the bits that it has among many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bessemer.modalities._knots import CELLS, Beside, Knots, knots_of, normal_knots
from bessemer.modalities._scaling import Block, Scaling

RNG = np.random.default_rng(7)
N = 6000
COLUMNS = {
    "normal": RNG.standard_normal(N), "skewed": np.exp(2 * RNG.standard_normal(N)), "skewed down": -np.exp(2 * RNG.standard_normal(N)),
    "heavy": RNG.standard_cauchy(N) * 1e6, "uniform": RNG.random(N), "whole": RNG.poisson(30, N) * 1.0,
    "half zero": np.maximum(RNG.standard_normal(N), 0.0), "two": RNG.integers(0, 2, N) * 1.0, "far off": 1e12 + RNG.standard_normal(N),
    "large": 1e140 * RNG.standard_normal(N), "small": 1e-200 * RNG.standard_normal(N), "years": 1990 + 30 * RNG.random(N)}


def knots(name: str, quantiles: int = 1000) -> Knots:
    return knots_of(*normal_knots(np.sort(COLUMNS[name][:N // 2]), quantiles))


def around(found: Knots, name: str) -> np.ndarray:
    """Return values of a column, its knots and their neighbours, and values beyond its ends."""
    x, span = found.x, found.x[-1] - found.x[0]
    return np.concatenate([COLUMNS[name], x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf), RNG.uniform(x[0], x[-1], 3000),
                           x[-1] + span * np.array([1e-9, 1, 1e6]), x[0] - span * np.array([1e-9, 1, 1e6])])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("quantiles", [10, 1000, 5000])
def test_the_grid_finds_what_a_search_finds(name: str, quantiles: int) -> None:
    found = knots(name, quantiles)
    x = around(found, name)
    assert np.array_equal(found.place(x), np.searchsorted(found.ends, x, side="right"))
    assert len(found.grid.table) <= CELLS


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("limit", [np.inf, 10.0, 1.5])
def test_one_value_and_many_have_the_same_bits(name: str, limit: float) -> None:
    found = knots(name)
    x = around(found, name)
    kept = x.copy()
    whole = found.apply(x, limit)
    assert np.array_equal(x, kept) and float(np.abs(whole).max()) <= limit
    alone = np.concatenate([found.apply(x[start:start + 5], limit) for start in range(0, len(x), 5)])
    assert np.array_equal(whole, alone)
    beside = np.concatenate([np.clip(Beside([found]).apply(x[place:place + 1]), -limit, limit) for place in range(len(x) - 300, len(x))])
    assert np.array_equal(whole[-300:], beside)
    inner = (x >= found.x[0]) & (x <= found.x[-1])
    assert np.allclose(whole[inner], np.clip(np.interp(x[inner], found.x, found.y), -limit, limit), atol=1e-6)


def test_infinity_is_at_the_limit_alone_and_among_many() -> None:
    """Cleaning rejects it, but a codec that is asked all the same answers."""
    found = knots("normal")
    x = np.concatenate([[np.inf, -np.inf], COLUMNS["normal"]])
    for values in (x, x[:2]):
        assert found.apply(values, 10.0)[:2].tolist() == [10.0, -10.0]


def test_grids_of_each_kind_are_chosen() -> None:
    grids = {name: knots(name).grid for name in COLUMNS}
    assert grids["heavy"].scale > 0 and not any(grids[name].scale for name in ("normal", "skewed", "skewed down", "uniform", "years"))
    assert not grids["skewed down"].up and grids["skewed"].up and grids["skewed"].steps == 1
    assert grids["whole"].steps > 1  # the knots of a value that holds many rows lie next to one another


def test_a_block_of_many_columns_equals_its_rows_and_its_columns() -> None:
    """40 columns, some with missing values and limits: 8 rows go by another arithmetic than 9, and no bit differs."""
    names = [list(COLUMNS)[place % len(COLUMNS)] for place in range(40)]
    kinds = ["knots", "knots", "affine", "bins"]
    scalings = [Scaling(name=f"{place}", kind=kinds[place % 4], shift=0.5, factor=0.25, fill=1.0, clip=4.0 if place % 3 else 10.0,
                        low=-3.0 if place % 5 == 0 else -np.inf, indicator=place % 2 == 0, bins=(0.0, 1.0, 30.0), one_hot=place % 8 == 3,
                        knots=knots(name) if place % 4 < 2 else None) for place, name in enumerate(names)]
    blocks = [pa.array(COLUMNS[name][:900], mask=RNG.random(900) < (0.1 if place % 2 == 0 else 0.0)) for place, name in enumerate(names)]
    batch = pa.record_batch(blocks, [item.name for item in scalings])
    block = Block(scalings)
    assert len(block.knotted) < 32

    def scaled(batches: list[pa.RecordBatch], block: Block) -> np.ndarray:
        out = np.full((sum(item.num_rows for item in batches), block.width), np.nan, np.float32)
        block.scale(batches, out)
        return out

    whole = scaled([batch], block)
    assert np.isfinite(whole).all()
    assert np.array_equal(whole, scaled([batch.slice(0, 3), batch.slice(3, 600), batch.slice(603)], block))
    alone = [scaled([pa.record_batch([column], ["x"])], Block([item])) for column, item in zip(blocks, scalings, strict=True)]
    assert np.array_equal(whole, np.concatenate(alone, axis=1))
    many = Block([item for item in scalings for _ in range(2)])
    twice = pa.record_batch([column for column in blocks for _ in range(2)], [f"{place}" for place in range(80)])
    assert len(many.knotted) >= 32
    assert np.array_equal(scaled([twice], many), np.concatenate([scaled([twice.slice(row, 4)], many) for row in range(0, 900, 4)]))


def test_a_fitted_column_is_scaled_alike_before_and_after_it_is_stored(tmp_path: Path) -> None:
    x, y = normal_knots(np.sort(COLUMNS["skewed"]), 1000)
    np.save(tmp_path / "knots.npy", np.stack([x, y]))
    again = knots_of(*np.load(tmp_path / "knots.npy"))
    assert np.array_equal(knots_of(x, y).apply(COLUMNS["skewed"]), again.apply(COLUMNS["skewed"]))
