"""ONNX Runtime sessions of one graph, by one thread and by several: which is quicker is measured while they answer.

Threads that do not spin have to be woken for every product, which takes 15 to 30 us each (measured on two cores): an int8 graph that reads
24 tokens in 1.9 ms by one thread took 2.6 by two, while its float32 form and larger batches are quicker by two. Their answers are the same
to the bit, so nobody sees which it was.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FEW_CORES = 4
"""Of more cores all work at once, as before: there the gain of many threads is larger than what waking them costs."""
TRIES = 4
"""Calls by each, of about one size, before one is chosen for that size by its quickest call."""
LARGE = 2048
"""From so many tokens (cells of a table) on several threads answer without trial."""


class Sessions:
    """What is used of an ONNX Runtime session; answers by one thread or by several.

    Args:
        open_session: (threads, 0 for all cores) -> a session.
    """

    def __init__(self, open_session: Callable[[int], Any]) -> None:
        self._open = open_session
        self._found: list[Any] = [open_session(1), None]
        self._best: dict[int, int] = {}
        self._times: dict[int, tuple[list[float], list[float]]] = {}
        self._lock = threading.Lock()
        for name in ("get_inputs", "get_outputs", "get_modelmeta"):
            setattr(self, name, getattr(self._found[0], name))

    def run(self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[Any]:
        """Return the outputs by name."""
        size = next(iter(feeds.values())).shape
        count = max(1, size[0] * (size[1] if len(size) > 1 else 1))
        mark = min(count, LARGE).bit_length()
        best = 1 if count >= LARGE else self._best.get(mark)
        if best is not None:
            found: list[Any] = self._session(best).run(outputs, feeds)
            return found
        with self._lock:
            times = self._times.setdefault(mark, ([], []))
            chosen = int(len(times[1]) < len(times[0]))
        session = self._session(chosen)
        started = time.perf_counter()
        found = session.run(outputs, feeds)
        taken = (time.perf_counter() - started) / count
        with self._lock:
            times[chosen].append(taken)
            if min(map(len, times)) >= TRIES:
                self._best[mark] = int(min(times[1]) < min(times[0]))
        return found

    def _session(self, which: int) -> Any:
        if self._found[which] is None:
            with self._lock:
                self._found[which] = self._found[which] or self._open(0)
        return self._found[which]


def sessions(open_session: Callable[[int], Any], threads: str | None) -> Any:
    """Return one session of the threads that are asked for; of few cores and none asked for, what chooses.

    Args:
        open_session: (threads, 0 for all cores) -> a session.
        threads: what the environment says, or None.
    """
    if threads is not None:
        return open_session(int(threads))
    return Sessions(open_session) if 1 < len(os.sched_getaffinity(0)) <= FEW_CORES else open_session(0)
