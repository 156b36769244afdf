from __future__ import annotations

import numpy as np
import pytest

from bessemer.core.errors import UserError
from bessemer.data.split import Population, divide


def population(sizes, seed=1, keys=None):
    strata = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    keys = np.arange(len(strata), dtype=np.int64) * 7919 if keys is None else keys
    return Population(keys, strata, np.full(len(strata), -1, np.int8), tuple(f"l{i}" for i in range(len(sizes))), seed)


def test_stratified_counts_are_exact_and_keyed_by_content():
    found = population([600, 300, 101])
    splits, notes = divide(found, np.arange(1001), 0.1, 200, stratified=True)
    assert np.bincount(splits).tolist() == [701, 100, 200]
    assert [np.bincount(splits[found.strata == code]).tolist() for code in range(3)] == [
        [420, 60, 120], [210, 30, 60], [71, 10, 20]]
    assert notes == []
    shuffled = np.random.default_rng(0).permutation(1001)
    moved = Population(found.keys[shuffled], found.strata[shuffled], found.given, found.names, 1)
    assert np.array_equal(divide(moved, np.arange(1001), 0.1, 200, stratified=True)[0], splits[shuffled])
    other = Population(found.keys, found.strata, found.given, found.names, 2)
    assert not np.array_equal(divide(other, np.arange(1001), 0.1, 200, stratified=True)[0], splits)


def test_equal_rows_stay_together():
    keys = np.repeat(np.arange(100, dtype=np.int64), 10)
    splits, _ = divide(population([1000], keys=keys), np.arange(1000), 0.15, 0.15, stratified=True)
    assert all(len(set(splits[keys == key].tolist())) == 1 for key in range(100))


def test_a_rare_label_stays_in_training_with_a_note():
    splits, notes = divide(population([100, 1]), np.arange(101), 0.1, 0.1, stratified=True)
    assert splits[100] == 0
    assert notes == ["the label 'l1' has 1 row, too few for every split"]


def test_sizes_that_cannot_be_met():
    with pytest.raises(UserError, match="leave nothing of 10 rows for training"):
        divide(population([10]), np.arange(10), 0.5, 0.5, stratified=False)
    with pytest.raises(UserError, match="3 rows are too few for a validation split of 0.1"):
        divide(population([3]), np.arange(3), 0.1, 0.1, stratified=False)


def test_many_rare_labels_are_one_sentence():
    _, notes = divide(population([200] + [1] * 12), np.arange(212), 0.1, 0.1, stratified=True)
    assert notes == ["12 labels have too few rows for every split: " + ", ".join(f"l{code} (1)" for code in range(1, 11)) + " and 2 more"]
