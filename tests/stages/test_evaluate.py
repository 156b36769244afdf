"""What evaluate costs: rows are timed one at a time, and no longer than a while."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.measure.latency import WARM
from bessemer.stages import evaluate


class Run:
    rehearsal = None

    def __init__(self) -> None:
        self.done = 0

    @contextmanager
    def progress(self, *_: Any) -> Iterator[Run]:
        yield self

    def advance(self, count: int) -> None:
        self.done += count

    def check(self) -> None:
        pass

    def cost(self, _: Any) -> None:
        pass


class Form:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def predict(self, rows: pa.Table) -> None:
        time.sleep(WARM)  # one call warms it
        self.rows += rows["n"].to_pylist()


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 5), (1e9, 60)])
def test_slow_forms_are_timed_on_fewer_rows_of_the_whole_split(monkeypatch: pytest.MonkeyPatch, seconds: float, rounds: int) -> None:
    monkeypatch.setattr(evaluate, "LATENCY_SECONDS", seconds)
    run, forms = Run(), {"a": (Form(), {}), "b": (Form(), {})}
    found = evaluate._latency(forms, pa.table({"n": np.arange(600)}), run)
    assert run.done == rounds == found["a"]["rounds"] == found["b"]["rounds"]
    timed = forms["a"][0].rows[1::2]  # the call before each is not timed
    assert timed == forms["b"][0].rows[1::2] and len(set(timed)) == rounds and min(timed) < 200 and max(timed) > 400


def test_a_forms_size_is_that_of_all_its_files_as_bench_and_compress_count_it(finished: Path) -> None:
    from bessemer.measure.size import size

    root = finished / "runs/tiny"
    scores = json.loads((root / "evaluate/scores.json").read_text(encoding="utf-8"))["forms"]
    found = {name: size(root / item["stage"], item["name"])["form"] for name, item in scores.items()}
    assert {name: item["size_bytes"] for name, item in scores.items()} == found
