"""The contract of a way to divide rows: the same rows always go to the same split, whatever their order.

Legend: N rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from bessemer.data.split import SPLITS, Population, Splitter, share
from bessemer.testing.plugin import PluginContract

ROWS = 600


class SplitContract(PluginContract):
    """The contract of a plug-in of `data/splits`."""

    folder: ClassVar[str] = "data/splits"

    def splitter(self, folder: Path) -> Splitter:
        """Return the way to divide."""
        found: Splitter = self.made(folder)
        return found

    def population(self, given: bool, copies: int = 1) -> Population:
        """Return N rows of three labels; each key `copies` times; with splits of their own where `given`; `by` as groups of three keys."""
        keys = np.repeat(np.arange(ROWS // copies, dtype=np.int64) * 7919 + 3, copies)
        strata = np.repeat(np.random.default_rng(0).choice(3, ROWS // copies, p=(0.5, 0.3, 0.2)), copies).astype(np.int32)
        codes = np.random.default_rng(1).choice(3, ROWS, p=(0.7, 0.1, 0.2)).astype(np.int8)
        by = np.repeat(np.arange(ROWS // copies) // 3 * 31, copies)
        return Population(keys, strata, codes if given else np.full(ROWS, -1, np.int8), ("a", "b", "c"), 5, by)

    def test_every_row_has_one_split_and_again_the_same(self, tmp_path: Path) -> None:
        """int8 [N] of 0, 1, 2, each of which occurs; the same call gives the same; notes are sentences."""
        splitter = self.splitter(tmp_path)
        population = self.population(splitter.given)
        before = population.given.copy()
        found, notes = splitter.assign(population)
        assert found.shape == (ROWS,) and found.dtype == np.int8
        assert set(found.tolist()) == set(range(len(SPLITS)))
        assert np.array_equal(found, splitter.assign(population)[0])
        assert np.array_equal(found, self.splitter(tmp_path).assign(population)[0])
        assert np.array_equal(population.given, before), "assign changed the population that it was given"
        assert all(isinstance(note, str) and note for note in notes)

    def test_order_of_rows_plays_no_part(self, tmp_path: Path) -> None:
        """Shuffled rows keep their splits."""
        splitter = self.splitter(tmp_path)
        rows = self.population(splitter.given)
        order = np.random.default_rng(2).permutation(ROWS)
        assert rows.by is not None
        moved = Population(rows.keys[order], rows.strata[order], rows.given[order], rows.names, rows.seed, rows.by[order])
        assert np.array_equal(splitter.assign(moved)[0], splitter.assign(rows)[0][order])

    def test_given_splits_are_kept_and_others_are_drawn(self, tmp_path: Path) -> None:
        """Given: never altered. Drawn: another seed draws others, equal rows stay together."""
        splitter = self.splitter(tmp_path)
        rows = self.population(splitter.given)
        found, _ = splitter.assign(rows)
        if splitter.given:
            assert np.array_equal(found, rows.given)
            return
        other = Population(rows.keys, rows.strata, rows.given, rows.names, rows.seed + 1, rows.by)
        assert splitter.drawn != np.array_equal(found, splitter.assign(other)[0])
        doubled = self.population(False, copies=4)
        parts, _ = splitter.assign(doubled)
        assert all(len(set(parts[doubled.keys == key].tolist())) == 1 for key in np.unique(doubled.keys))

    def test_what_rows_are_divided_by_is_not_torn(self, tmp_path: Path) -> None:
        """No group has rows in two splits; no row of training is later than one of validation or test."""
        splitter = self.splitter(tmp_path)
        rows = self.population(splitter.given)
        found, _ = splitter.assign(rows)
        assert rows.by is not None
        if splitter.by is not None and splitter.by.kind == "group":
            assert all(len(set(found[rows.by == group].tolist())) == 1 for group in np.unique(rows.by))
        if splitter.by is not None and splitter.by.kind == "time":
            assert rows.by[found == 0].max() <= rows.by[found == 1].min() <= rows.by[found == 1].max() <= rows.by[found == 2].min()

    def test_sizes_are_as_asked(self, tmp_path: Path) -> None:
        """Where the config has `validation` and `test`, so many rows are in them."""
        config, splitter = self.config(tmp_path), self.splitter(tmp_path)
        rows = self.population(splitter.given)
        found, _ = splitter.assign(rows)
        for code, name in enumerate(SPLITS):
            wanted = getattr(config, name, None)
            if wanted is not None and not splitter.given:
                assert int((found == code).sum()) == share(ROWS, wanted), name
