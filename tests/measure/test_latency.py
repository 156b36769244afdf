"""Forms are timed in turn on the same rows; what is said of the times equals its formula."""

from __future__ import annotations

import time
from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest

from bessemer.measure.latency import WARM, Effort, latency, positions, ratio, rounds, summary


class Form:
    def __init__(self, log: list[tuple[str, tuple[int, ...]]], name: str) -> None:
        self.log, self.name = log, name

    def predict(self, rows: pa.Table) -> dict[str, object]:
        self.log.append((self.name, tuple(rows["n"].to_pylist())))
        return {}


@pytest.mark.parametrize("batch", [1, 16])
def test_forms_are_timed_in_turn_on_the_same_rows(batch: int) -> None:
    log: list[tuple[str, tuple[int, ...]]] = []
    forms = {name: Form(log, name) for name in "ab"}
    taken = rounds(forms, pa.table({"n": np.arange(500)}), batch, Effort(1e9, 6, 2, 3))  # type: ignore[arg-type]
    assert {name: len(times) for name, times in taken.items()} == {"a": 6, "b": 6}
    turns = [list(calls) for _, calls in groupby(log, key=lambda call: call[0])]
    assert [turn[0][0] for turn in turns] == ["a", "b"] * 9 and all(len(turn) > 1 for turn in turns)
    for own, other in zip(turns[::2], turns[1::2], strict=True):  # the rows, others until the form is warm, and the rows again, timed
        assert own[0][1] == own[-1][1] == other[0][1] == other[-1][1]
        assert len({rows for _, rows in own[1:-1]}) == 1 and own[1][1] == other[1][1] != own[0][1]
        assert all(len(rows) == batch for _, rows in own)


def test_a_form_that_was_measured_before_has_no_lead() -> None:
    """What a form remembers of values is the same for all when they are timed."""
    class Remembering:
        def __init__(self) -> None:
            self.known: set[int] = set()

        def predict(self, rows: pa.Table) -> dict[str, object]:
            new = set(rows["n"].to_pylist()) - self.known
            self.known |= new
            time.sleep(0.005 * len(new))
            return {}

    size = 30
    old, table = Remembering(), pa.table({"n": np.arange(size)})
    rounds({"old": old}, table, 1, Effort(1e9, size, size, 0))  # type: ignore[dict-item]
    assert len(old.known) == size
    found = rounds({"old": old, "new": Remembering()}, table, 1, Effort(1e9, 6, 6, 0))  # type: ignore[dict-item]
    assert np.median(found["new"]) < 2 + np.median(found["old"])


def test_a_quick_form_is_warm_and_a_slow_one_is_called_twice() -> None:
    log: list[tuple[str, tuple[int, ...]]] = []
    quick, slow = Form(log, "quick"), Form(log, "slow")
    slow.predict = lambda rows: (time.sleep(1.5 * WARM), log.append(("slow", ())), {})[2]  # type: ignore[method-assign]
    rounds({"quick": quick, "slow": slow}, pa.table({"n": np.arange(50)}), 1, Effort(1e9, 1, 1, 0))  # type: ignore[dict-item]
    assert [name for name, _ in log].count("slow") == 2 < [name for name, _ in log].count("quick")


@pytest.mark.parametrize(("parts", "seconds"), [(True, 1.0), (False, 1.0), (True, 0.0)])
def test_a_form_of_several_parts_settles_before_the_first_round(parts: bool, seconds: float) -> None:
    """It answers all rows once, as long as it is quick; a form of one part, and what is hardly timed at all, does not."""
    log: list[tuple[str, tuple[int, ...]]] = []
    form = Form(log, "a")
    if parts:
        form.thresholds = (0.5,)  # type: ignore[attr-defined]
    rounds({"a": form}, pa.table({"n": np.arange(50)}), 1, Effort(seconds, 1, 1, 0))  # type: ignore[dict-item]
    settled = {rows for _, rows in log[:50]}
    assert (len(settled) > 25) == (parts and seconds > 0)


def test_a_round_is_finished_when_the_time_is_over() -> None:
    forms = {"a": Form([], "a")}
    assert len(rounds(forms, pa.table({"n": [1, 2, 3]}), 1, Effort(0.0, 60, 4, 1))["a"]) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch", "count"), [(1, 50), (16, 1000), (16, 3)])
def test_positions_lie_in_the_table_and_reach_all_of_it(batch: int, count: int) -> None:
    found = np.concatenate([positions(number, batch, count) for number in range(20)])
    assert found.min() >= 0 and found.max() < count
    assert found.min() < 0.2 * count and found.max() >= 0.8 * count - 1
    assert len(set(found.tolist())) == min(count, 20 * batch) or count > 20 * batch * 0.5


def test_summary_and_ratio_equal_their_formulas() -> None:
    generator = np.random.default_rng(1)
    times, base = generator.uniform(1, 2, 40), generator.uniform(5, 9, 40)
    assert summary(times) == {"mean_ms": round(float(np.mean(times)), 4), "median_ms": round(float(np.median(times)), 4),
                              "p95_ms": round(float(np.percentile(times, 95)), 4), "rounds": 40}
    found = ratio(base, times)
    assert found["median"] == round(float(np.median(base / times)), 4)
    assert found["low"] <= found["median"] <= found["high"]
    assert ratio(3 * base, base) == {"median": 3.0, "low": 3.0, "high": 3.0}


def test_results_are_json_by_form_and_batch() -> None:
    forms = {name: Form([], name) for name in "ab"}
    found = latency(forms, pa.table({"n": np.arange(64)}), (1, 4), Effort(1e9, 5, 5, 1), "b")  # type: ignore[arg-type]
    assert list(found) == ["a", "b"] and list(found["a"]) == ["1", "4"]
    assert found["b"]["4"]["ratio"] == {"median": 1.0, "low": 1.0, "high": 1.0} and found["a"]["1"]["rounds"] == 5
