"""Streams: computed rows follow their law; positions, batches and held-out rows are what they are said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import special, stats

from bessemer.core.errors import UserError
from bessemer.core.task_spec import TableRows
from bessemer.core.types import Chunk, RowStream
from bessemer.data.stream_reader import Decoded, Reading, StreamReader, divide
from bessemer.data.streams import Place
from bessemer.data.streams.regression import Regression, _state, coefficients, regression

PLACE = Place(Path("nowhere"))


def numbers(table: pa.Table) -> np.ndarray:
    flat = table["x"].combine_chunks().flatten().to_numpy()
    return flat.reshape(len(table), -1)


# ---- computed rows ----

def test_computed_numbers_are_standard_normal_to_five_sigma() -> None:
    stream = regression(Regression(rows=10_000, features=1000, data_seed=3), PLACE)
    x = np.concatenate([numbers(stream.read(block, ("x",)).table).reshape(-1) for block in range(len(stream.starts) - 1)])
    assert len(x) == 10**7 and x.dtype == np.float32
    n = len(x)
    x.sort()
    wide = x.astype(np.float64)
    assert np.abs(special.ndtr(wide) - np.arange(1, n + 1) / n).max() < 1.63 / np.sqrt(n)  # Kolmogorov and Smirnov's 1% point
    power_ = np.ones(n)
    for mean, variance in ((0, 1), (1, 2), (0, 15), (3, 96), (0, 945), (15, 10_170)):
        power_ *= wide
        assert abs(power_.mean() - mean) < 4 * np.sqrt(variance / n)
    for sigma in (3.0, 4.0, 4.5, 5.0):
        expected = n * 2 * stats.norm.sf(sigma)
        assert stats.poisson.cdf(np.sum(np.abs(wide) > sigma), expected) > 1e-4
        assert stats.poisson.sf(np.sum(np.abs(wide) > sigma) - 1, expected) > 1e-4


def test_columns_and_rows_are_uncorrelated() -> None:
    stream = regression(Regression(rows=4096, features=50, informative=5, block_rows=1024), PLACE)
    x = np.concatenate([numbers(stream.read(block, None).table) for block in range(4)])
    columns = np.corrcoef(x.T)[np.triu_indices(50, 1)]
    assert np.abs(columns).max() < 5.5 / np.sqrt(len(x))
    neighbours = (x[1:] * x[:-1]).mean()
    blocks = (x[1024:2048] * x[:1024]).mean()
    assert abs(neighbours) < 4 / np.sqrt(x.size) and abs(blocks) < 4 / np.sqrt(1024 * 50)


def test_answers_follow_the_law_of_make_regression() -> None:
    config = Regression(rows=3000, features=40, informative=7, data_seed=11, block_rows=1024)
    stream = regression(config, PLACE)
    tables = [stream.read(block, None).table for block in range(3)]
    x, y = np.concatenate([numbers(table) for table in tables]).astype(np.float64), np.concatenate([table["y"] for table in tables])
    coef = np.linalg.lstsq(x, y, rcond=None)[0]
    assert np.allclose(coef, coefficients(config), atol=1e-9)
    assert (coefficients(config) != 0).sum() == 7 and coefficients(config).max() < 100 and coefficients(config).min() >= 0
    many = np.concatenate([c[c != 0] for c in (coefficients(Regression(rows=1, features=20, data_seed=seed)) for seed in range(200))])
    assert stats.kstest(many / 100, "uniform").pvalue > 1e-3
    places = np.concatenate([np.flatnonzero(coefficients(Regression(rows=1, features=20, data_seed=seed))) for seed in range(200)])
    assert stats.chisquare(np.bincount(places, minlength=20)).pvalue > 1e-3
    noisy = regression(Regression(rows=3000, features=40, informative=7, data_seed=11, block_rows=1024, noise=5.0), PLACE)
    rest = np.concatenate([noisy.read(block, None).table["y"] for block in range(3)]) - y
    assert stats.kstest(rest / 5, "norm").pvalue > 1e-3


def test_a_row_is_the_same_in_any_order_and_in_a_longer_stream() -> None:
    short, long = (regression(Regression(rows=rows, features=30, block_rows=1024), PLACE) for rows in (1500, 5000))
    last = short.read(1, None)
    assert last.table.num_rows == 476 and last.numbers.tolist() == list(range(1025, 1501))
    assert last.table.equals(long.read(1, None).table.slice(0, 476))
    assert short.read(1, ("y",)).table.equals(last.table.select(["y"]))
    assert not short.read(0, None).table.slice(0, 476).equals(last.table)


def test_a_billion_rows_have_a_generator_a_block() -> None:
    states = np.array([_state(7, block) for block in range(0, 1_000_000, 50)])
    assert len(np.unique(states)) == 20_000 and states.max() < 2**32
    assert _state(7, 0) != _state(8, 0)


# ---- positions ----

def made(sizes: list[int], bad: frozenset[int] = frozenset()) -> RowStream:
    """Return a stream whose column `n` is the number of the row, from 0."""
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def read(block: int, columns: tuple[str, ...] | None) -> Chunk:
        ids = np.arange(starts[block], starts[block + 1])
        return Chunk(pa.table({"n": ids}), ids + 1)

    return RowStream("made", (), starts, ("n",), read)


def decoder(bad: frozenset[int] = frozenset()):
    def decode(chunk: Chunk) -> Decoded:
        ids = chunk.table["n"].to_numpy()
        good = ~np.isin(ids, list(bad))
        kept = ids[good]
        rows = TableRows(kept[:, None].astype(np.float32), np.zeros((len(kept), 0), np.int64), {"y": kept.astype(np.float32)},
                         np.ones(len(kept), np.float32), np.zeros(len(kept), np.int64))
        return Decoded(rows, None if good.all() else np.where(good, np.cumsum(good) - 1, -1))

    return decode


SIZES = [300, 1, 700, 0, 512, 512, 90, 2000] * 3


def reader(shuffle: str = "window", *, bad: frozenset[int] = frozenset(), threads: int = 2, window: int = 4) -> StreamReader:
    stream = made(SIZES)
    return StreamReader(stream, divide(stream.starts, {"validation": 500, "test": 700}, 3), Reading(3, shuffle, window, threads=threads),
                        decoder(bad))


def test_held_out_rows_and_training_rows_are_all_rows_once() -> None:
    found = reader()
    division = divide(found.stream.starts, {"validation": 500, "test": 700}, 3)
    held = {name: np.concatenate([np.arange(found.stream.starts[block] + a, found.stream.starts[block] + b)
                                  for block, a, b in division.rows(runs)]) for name, runs in division.held.items()}
    training = found.read(np.arange(found.count)).row_ids
    assert sorted([*held["validation"], *held["test"], *training]) == list(range(sum(SIZES)))
    assert 500 <= len(held["validation"]) < 500 + division.run_rows and 700 <= len(held["test"]) < 700 + division.run_rows
    other = divide(found.stream.starts, {"validation": 500, "test": 700}, 4)
    assert other.held["test"].tolist() != division.held["test"].tolist()
    assert np.ptp(division.held["test"]) > division.first_runs()[-1] / 2  # spread over the stream


def test_half_of_the_rows_at_most_may_be_held_out() -> None:
    with pytest.raises(UserError, match="the stream has 1,000 rows, of which 600 would be held out for validation and test; expected "
                       "at most half: lower those counts"):
        divide(np.array([0, 1000]), {"validation": 100, "test": 500}, 0)


@pytest.mark.parametrize(("shuffle", "window"), [("window", 4), ("window", 1), ("window", 5), ("window", 100), ("none", 4)])
@pytest.mark.parametrize("rows", [64, 1000, 7])
def test_an_epoch_has_every_row_once_and_any_batch_stands_alone(shuffle: str, window: int, rows: int) -> None:
    found = reader(shuffle, window=window)
    order = found.order(1, rows)
    batches = list(order)
    assert len(batches) == len(order) and {len(batch) for batch in batches[:-1]} == {rows}
    assert rows / 2 <= len(batches[-1]) < 1.5 * rows
    assert np.sort(np.concatenate(batches)).tolist() == list(range(found.count))
    fresh = reader(shuffle, window=window)
    for number in (len(order) - 1, 0, len(order) // 2):
        assert fresh.order(1, rows)[number].tolist() == batches[number].tolist()
    assert [batch.tolist() for batch in order[2:5]] == [batch.tolist() for batch in batches[2:5]]
    assert order[-1].tolist() == batches[-1].tolist()
    with pytest.raises(IndexError):
        order[len(order)]
    again = [batch.tolist() for batch in found.order(2, rows)]
    assert (again == [batch.tolist() for batch in batches]) == (shuffle == "none")


@pytest.mark.parametrize("shuffle", ["window", "none"])
def test_rows_come_in_the_order_asked_for_whatever_the_number_of_threads(shuffle: str) -> None:
    one, two = reader(shuffle, threads=1), reader(shuffle, threads=2)
    training = one.read(np.arange(one.count)).numbers[:, 0]
    for positions in (np.array([5, 3, 4000, 3, 0]), np.random.default_rng(0).permutation(one.count), np.arange(10, 20), *one.order(0, 256)):
        for found in (one.read(positions), two.read(positions)):
            assert np.array_equal(found.numbers[:, 0], training[positions]) and np.array_equal(found.row_ids, training[positions])
            assert np.array_equal(found.targets["y"], training[positions])
    with pytest.raises(IndexError, match="positions must be 0 to"):
        one.read(np.array([one.count]))


def test_rejected_rows_are_left_out() -> None:
    bad = frozenset(range(100, 4000, 3))
    found, whole = reader(bad=bad), reader()
    for positions in (np.arange(500), np.random.default_rng(1).permutation(whole.count)[:3000]):
        expected = [row for row in whole.read(positions).row_ids.tolist() if row not in bad]
        assert found.read(positions).row_ids.tolist() == expected
        assert found.read(positions).numbers[:, 0].tolist() == expected
    with pytest.raises(UserError, match="every one of 2 training rows read together"):
        none = reader(bad=frozenset(range(20_000)))
        none.read(np.array([4, 9]))


def test_rows_of_one_block_are_not_copied() -> None:
    stream = made([1024] * 300)
    found = StreamReader(stream, divide(stream.starts, {"test": 2000}, 0), Reading(0, "none"), decoder())
    first, second = (found.read(found.order(0, 512)[number]).numbers for number in (0, 1))
    assert first.base is not None and first.base is second.base


def test_a_window_mixes_blocks_from_all_over_the_stream() -> None:
    stream = made([100] * 400)
    found = StreamReader(stream, divide(stream.starts, {}, 0), Reading(5, "window", window=8), decoder())
    batches = list(found.order(0, 80))
    blocks = [len(np.unique(batch // 100)) for batch in batches]
    # 80 rows drawn from 8 blocks of 100: 7.9998 distinct blocks are expected, 10 windows of 800 rows make no batch cross one
    assert np.mean(blocks) > 7.9
    place = np.concatenate([np.full(len(batch), number) for number, batch in enumerate(batches)])
    assert abs(stats.spearmanr(np.concatenate(batches), place).statistic) < 0.15  # 400 blocks: 3 / sqrt(400)


def test_a_billion_positions_are_never_made() -> None:
    stream = regression(Regression(rows=10**9, features=1, informative=1), PLACE)
    division = divide(stream.starts, {"validation": 10_000, "test": 20_000}, 0)
    found = StreamReader(stream, division, Reading(0, "none"), decoder())
    order = found.order(0, 4096)
    assert len(order) == found.count // 4096 + (found.count % 4096 >= 2048)
    assert order[200_000][0] == 200_000 * 4096 and found.count == 10**9 - 30 * 1024
