"""One thread or several: which answers is chosen by what is quicker, and nobody sees which it was."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from bessemer.predictors import _sessions
from bessemer.predictors._sessions import LARGE, TRIES, Sessions, sessions


class Timed:
    """A session that takes a time by its threads."""

    def __init__(self, threads: int, seconds: dict[int, float]) -> None:
        self.threads, self.seconds, self.calls = threads, seconds[threads], 0
        self.get_inputs = self.get_outputs = self.get_modelmeta = lambda: []

    def run(self, outputs: Any, feeds: Any) -> list[Any]:
        self.calls += 1
        time.sleep(self.seconds)
        return [feeds["x"].sum()]


def made(seconds: dict[int, float]) -> tuple[Sessions, list[Timed]]:
    opened: list[Timed] = []

    def opener(threads: int) -> Timed:
        opened.append(Timed(threads, seconds))
        return opened[-1]

    return Sessions(opener), opened


def of(tokens: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((1, tokens), np.int64)}


@pytest.mark.parametrize(("seconds", "best"), [({1: 0.001, 0: 0.02}, 1), ({1: 0.02, 0: 0.001}, 0)])
def test_the_quicker_one_answers_after_the_trial(seconds: dict[int, float], best: int) -> None:
    found, opened = made(seconds)
    for _ in range(2 * TRIES + 3):
        assert found.run(["y"], of(20)) == [20]
    calls = {item.threads: item.calls for item in opened}
    assert calls == {best: TRIES + 3, 1 - best: TRIES}


def test_one_call_opens_one_session_and_a_large_one_all_threads() -> None:
    found, opened = made({1: 0.0, 0: 0.0})
    found.run(["y"], of(20))
    assert [item.threads for item in opened] == [1]
    for _ in range(3):
        found.run(["y"], of(LARGE))
    assert [(item.threads, item.calls) for item in opened] == [(1, 1), (0, 3)]


def test_sizes_are_tried_apart_and_threads_share_the_trial() -> None:
    found, opened = made({1: 0.001, 0: 0.002})
    workers = [threading.Thread(target=lambda size=size: [found.run(["y"], of(size)) for _ in range(20)]) for size in (3, 3, 100, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(item.calls for item in opened) == 80
    assert len(opened) == 2
    assert len(found._best) == 2


@pytest.mark.parametrize(("cores", "threads", "expected"), [(1, None, 0), (2, None, "both"), (4, None, "both"), (16, None, 0), (2, "1", 1),
                                                             (2, "2", 2)])
def test_what_is_asked_for_and_many_cores_decide_at_once(monkeypatch: pytest.MonkeyPatch, cores: int, threads: str | None,
                                                         expected: int | str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    found = sessions(lambda count: Timed(count, {0: 0.0, 1: 0.0, 2: 0.0}), threads)
    assert (found.threads if isinstance(found, Timed) else "both") == expected
    assert _sessions.FEW_CORES == 4
