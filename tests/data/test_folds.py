"""Folds of cross-validation: every row is tested once, labels spread evenly, equal rows together, the order of rows plays no part."""

from __future__ import annotations

import numpy as np
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.data.split import Population
from bessemer.data.splits.folds import Folds, fold_of
from tests.data.test_split import population


def split(found: Population, **settings: float) -> np.ndarray:
    config = make("data/splits", {"kind": "folds", **settings})
    result: np.ndarray = plugin_of("data/splits", config).function(config).assign(found)[0]
    return result


def test_every_row_is_tested_once_and_labels_are_spread_evenly() -> None:
    found = population([600, 300, 101])
    splits = np.stack([split(found, folds=5, fold=fold, validation=0.1) for fold in range(5)])
    assert ((splits == 2).sum(0) == 1).all()
    for code in range(3):
        counts = (splits[:, found.strata == code] == 2).sum(1)
        assert counts.max() - counts.min() <= 1
        assert ((splits[:, found.strata == code] == 1).sum(1) > 0).all()


def test_the_order_of_rows_plays_no_part_and_the_seed_does() -> None:
    found = population([60, 30])
    shuffled = np.random.default_rng(0).permutation(90)
    moved = Population(found.keys[shuffled], found.strata[shuffled], found.given, found.names, 1)
    assert np.array_equal(split(moved, fold=2), split(found, fold=2)[shuffled])
    assert not np.array_equal(fold_of(found, 5), fold_of(population([60, 30], seed=2), 5))


def test_rows_of_equal_inputs_are_in_one_fold() -> None:
    keys = np.repeat(np.arange(100, dtype=np.int64), 10)
    fold_N = fold_of(population([1000], keys=keys), 5)
    assert all(len(set(fold_N[keys == key].tolist())) == 1 for key in range(100))


def test_what_cannot_be_divided_is_said() -> None:
    with pytest.raises(ValueError, match="fold is 5, but with 5 folds they are numbered 0 to 4"):
        Folds(fold=5)
    with pytest.raises(UserError, match="^3 rows, of which 3 differ in their inputs, are too few for 5 folds; give more rows"):
        split(population([3]), fold=0)
