"""Latency of forms on the path that serves: raw rows in, answers out, the forms in turn.

A machine drifts: it throttles, and others work on it. So forms are never timed one after another: each round times every form on the
same rows, and the ratio of two forms is taken within the round. A form is timed as where it serves alone: before its timed call it answers
untimed, once at least and until WARM seconds are over. In that time it finds its own weights in the caches again, and the threads of
whichever stood before it go to rest: those of OpenMP, by which torch computes, look for more work for 5 ms after a call and keep a core
busy. After 2 ms int8 of a network took 3.8 ms in turn with torch, after 20 ms 3.0, and 2.9 alone (measured on two cores).

A form of several parts, of which the later ones read few rows, first answers row after row untimed: else the first calls of those parts,
in which a runtime opens its sessions and tries how many threads are quicker, would be a good part of the mean. A pair whose rows took 1.5
ms in the mean seemed to take 1.8.

The first untimed call is for the rows that are timed. Forms remember what words and values become (a date that is met again costs a
microsecond, one that is met first two milliseconds), and one that has been measured before would else be timed on rows that it knows in
turn with forms that do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Predictor

GOLDEN = (5 ** 0.5 - 1) / 2
LEAST_ROUNDS = 5
RESAMPLES = 1000
WARM = 0.02
"""Seconds for which a form answers untimed before its timed call."""
SETTLING = 1.0
"""Seconds for which a form of several parts answers untimed before the first round."""


@dataclass(frozen=True)
class Effort:
    """How long forms are timed.

    Attributes:
        seconds: in all; where they are over, the round under way is finished and no other begun.
        rounds: of each batch size at most.
        least: rounds of each batch size, however long they take.
        warm_up: rounds before those, which are not counted.
    """

    seconds: float = 20.0
    rounds: int = 60
    least: int = LEAST_ROUNDS
    warm_up: int = 2


def latency(forms: Mapping[str, Predictor], rows: pa.Table, batches: Sequence[int] = (1, 16), effort: Effort = Effort(),  # noqa: B008
            reference: str | None = None, tick: Callable[[], None] = lambda: None) -> dict[str, dict[str, dict[str, Any]]]:
    """Time forms in turn.

    Args:
        forms: name -> opened form.
        rows: raw rows with the columns that all forms read; each round takes others of them.
        batches: rows that are asked for at once.
        effort: how long; each batch size gets its part.
        reference: the form that the others' ratios are of; the first by default.
        tick: called before each round, to show progress or to stop.

    Returns:
        JSON values: form -> str(batch) -> `mean_ms`, `median_ms`, `p95_ms` (of a call, not of a row), `rounds`, and `ratio`: how many
        times faster than the reference: `median` of the rounds' ratios with `low` and `high`, its 95% bootstrap interval.
    """
    first = reference or next(iter(forms))
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in forms}
    part = Effort(effort.seconds / len(batches), effort.rounds, effort.least, effort.warm_up)
    for batch in batches:
        taken = rounds(forms, rows, batch, part, tick)
        for name, times in taken.items():
            found[name][str(batch)] = {**summary(times), "ratio": ratio(taken[first], times)}
    return found


def rounds(forms: Mapping[str, Predictor], rows: pa.Table, batch: int, effort: Effort,
           tick: Callable[[], None] = lambda: None) -> dict[str, np.ndarray]:
    """Return form -> milliseconds of each round's call, float64 [rounds]."""
    import numpy as np

    taken: dict[str, list[float]] = {name: [] for name in forms}
    most = effort.warm_up + effort.rounds
    if effort.seconds > 0:
        for predictor in forms.values():
            if in_parts(predictor):
                settle(predictor, rows, batch)
    began = time.perf_counter()
    for number in range(most):
        done = number - effort.warm_up
        if done >= effort.least and time.perf_counter() - began > effort.seconds:
            break
        tick()
        chosen, other = (rows.take(positions(place, batch, rows.num_rows)) for place in (number, number + most))
        for name, predictor in forms.items():
            start = time.perf_counter()
            predictor.predict(chosen)
            while time.perf_counter() - start < WARM:
                predictor.predict(other)
            before = time.perf_counter()
            predictor.predict(chosen)
            if done >= 0:
                taken[name].append((time.perf_counter() - before) * 1000)
    return {name: np.array(times) for name, times in taken.items()}


def in_parts(predictor: Predictor) -> bool:
    """Tell whether only some rows go on to a form's later parts: a pair, or a network with early exits."""
    return any(hasattr(part, "thresholds") for part in (predictor, getattr(predictor, "predict_batch", None)))


def settle(predictor: Predictor, rows: pa.Table, batch: int) -> None:
    """Let a form answer one batch of rows after the other until SETTLING is over or as many were asked as there are."""
    began = time.perf_counter()
    for number in range(-(-rows.num_rows // batch)):
        predictor.predict(rows.take(positions(number, batch, rows.num_rows)))
        if time.perf_counter() - began >= SETTLING:
            return


def positions(number: int, batch: int, count: int) -> np.ndarray:
    """Return which of `count` rows a round takes, int64 [batch]: spread over all of them whenever the rounds end (golden ratio)."""
    import numpy as np

    return ((number * batch + np.arange(batch)) * GOLDEN % 1.0 * count).astype(np.int64)


def summary(times: np.ndarray) -> dict[str, Any]:
    """Return median, mean and 95th percentile of milliseconds [rounds], and how many they are."""
    import numpy as np

    found = {"mean_ms": np.mean(times), "median_ms": np.median(times), "p95_ms": np.percentile(times, 95)}
    return {**{name: round(float(value), 4) for name, value in found.items()}, "rounds": len(times)}


def ratio(reference: np.ndarray, times: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Return how many times faster than the reference: the median of the rounds' ratios, with its 95% bootstrap interval.

    >>> import numpy as np
    >>> ratio(np.array([4.0, 8.0, 6.0]), np.array([2.0, 4.0, 3.0]))
    {'median': 2.0, 'low': 2.0, 'high': 2.0}
    """
    import numpy as np

    each = reference / times
    drawn = np.random.default_rng(seed).integers(0, len(each), (RESAMPLES, len(each)))
    low, high = np.percentile(np.median(each[drawn], axis=1), (2.5, 97.5))
    return {"median": round(float(np.median(each)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
