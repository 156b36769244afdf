"""Dynamic batching: rows of many requests wait in one bounded queue; those of like length are answered together.

A thread computes them, so that the event loop goes on; what takes hardly longer than handing it to a thread and back (a small network,
short texts) is computed within the event loop, for some milliseconds between two looks at the connections. The thread never waits while
there is work (unless `max_wait` asks it to); the row that has waited longest is always in the next batch, with the rows nearest to it in
length. Rows whose request is gone or too late are dropped before they cost anything.
"""

from __future__ import annotations

import asyncio
import collections
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from bessemer.serve.problems import Problem
from bessemer.serve.work import Prepared, Work

Results = list[tuple["Ticket", int, Any]]
MOST_PREPARED = 256
"""Rows that are prepared at once, so that batches are not held up by it."""
TURN = 0.02
"""Seconds that the event loop computes before it looks at the connections again; in few long turns both find their data in the caches."""
HEAVY = 0.02
"""Seconds a row (smoothed) from which the thread computes what was thought to be light: a busy machine is slower than it was at first."""
LEAST_FILL = 0.75
"""Share of a padded batch that must be tokens."""


class Ticket:
    """The rows of one request, or a part of them, on their way.

    Attributes:
        since: when they came into the queue.
        patient: whether they may wait outside of the queue; behind: whether they do now.
    """

    __slots__ = ("behind", "call", "future", "gone", "left", "patient", "results", "since", "taken")

    def __init__(self, taken: Sequence[Any], future: asyncio.Future[list[Any]], call: Callable[[], Any] | None = None,
                 patient: bool = False) -> None:
        self.taken, self.future, self.call = taken, future, call
        self.patient, self.behind = patient, False
        self.left, self.gone, self.since = len(taken), False, time.monotonic()
        self.results: list[Any] = [None] * len(taken)


class Waiting:
    """A prepared row that waits."""

    __slots__ = ("place", "row", "ticket")

    def __init__(self, ticket: Ticket, place: int, row: Prepared) -> None:
        self.ticket, self.place, self.row = ticket, place, row


class Batcher:
    """One model's queue and thread; `submit` and `depth` belong to the event loop.

    Attributes:
        depth: rows that were accepted and have no answer yet; those of patient callers that stand outside are not among them.
        pace: seconds a row takes, smoothed.
        watch: called with (rows, seconds) after each batch, in the event loop.
    """

    def __init__(self, work: Work, max_queue: int, max_wait_ms: float, watch: Callable[[int, float], None] | None = None) -> None:
        self.work, self.max_queue, self.max_wait, self.watch = work, max_queue, max_wait_ms / 1000, watch
        self.depth, self.pace = 0, 0.0
        self._patient = 0  # rows of `depth` that came from patient callers
        self._behind: collections.deque[Ticket] = collections.deque()
        self._inbox: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._light: list[Ticket] = []  # what the event loop computes itself
        self._light_waiting: list[Waiting] = []
        self._turning = False

    def submit(self, taken: Sequence[Any], patient: bool = False) -> Ticket:
        """Put rows into the queue; a full one is a Problem 429.

        A `patient` caller has more rows to come and waits for their turn: his stand outside of the queue while others like him have half
        of it, so that long requests, however many, leave room for short ones.
        """
        if self.depth and self.depth + len(taken) > self.max_queue and not patient:
            wait = max(1, math.ceil(self.depth * self.pace))
            raise Problem("busy", f"{self.depth:,} rows wait and this server lets {self.max_queue:,} wait; ask again in {wait} s, or send "
                          "fewer rows at a time", ((b"retry-after", str(wait).encode()),))
        ticket = Ticket(taken, self._started().create_future(), patient=patient)
        if patient and (self._behind or not self._room(ticket)):
            ticket.behind = True
            self._behind.append(ticket)
            return ticket
        return self._admit(ticket)

    def _room(self, ticket: Ticket) -> bool:
        return not self._patient or self._patient + ticket.left <= self.max_queue // 2

    def _admit(self, ticket: Ticket) -> Ticket:
        self._patient += ticket.left if ticket.patient else 0
        if not self.max_wait and self.pace < HEAVY and self.work.light(ticket.taken):
            return self._enter_light(ticket)
        return self._enter(ticket)

    def _admit_patient(self) -> None:
        """Let in who waits outside, the first first, as far as there is room; who has gone is passed over."""
        while self._behind and (self._behind[0].future.done() or self._room(self._behind[0])):
            ticket = self._behind.popleft()
            ticket.behind, ticket.since = False, time.monotonic()
            if not ticket.future.done():
                self._admit(ticket)

    def run(self, call: Callable[[], Any]) -> Ticket:
        """Let the thread make one call between two batches; its value is the one result."""
        return self._enter(Ticket((None,), self._started().create_future(), call))

    def close(self) -> None:
        """End the thread once every row that was accepted is answered."""
        self._closed = True
        self._inbox.put(None)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread.start()
        return self._loop

    def _enter(self, ticket: Ticket) -> Ticket:
        self.depth += ticket.left
        self._inbox.put(ticket)
        return ticket

    # ---- the event loop ----------------------------------------------------------------------------------------------

    def _enter_light(self, ticket: Ticket) -> Ticket:
        self.depth += ticket.left
        self._light.append(ticket)
        self._turn_soon()
        return ticket

    def _turn_soon(self) -> None:
        if not self._turning and self._loop is not None:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Answer what there is, for TURN seconds; what is left has its turn when the connections were looked at."""
        self._turning, until = False, time.perf_counter() + TURN
        fresh, self._light = self._light, []
        self._prepare(fresh, self._light_waiting, self._deliver)
        while self._light_waiting:
            self._batch(self._light_waiting, self._deliver)
            if time.perf_counter() > until:
                break
        if self._light_waiting or self._light:
            self._turn_soon()

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        waiting: list[Waiting] = []
        fresh: list[Ticket] = []
        while True:
            ended = self._collect(fresh, wait=not waiting)
            self._prepare(fresh, waiting, self._tell)
            if waiting and self.max_wait:
                ended |= self._linger(fresh, waiting)
            if waiting:
                self._batch(waiting, self._tell)
            if ended and not waiting and not fresh:
                return

    def _collect(self, fresh: list[Ticket], wait: bool, timeout: float | None = None) -> bool:
        """Take what has come in; tell whether it was the last."""
        rows = 0
        try:
            while rows < MOST_PREPARED:
                ticket = self._inbox.get(wait and not fresh, timeout)
                if ticket is None:
                    return True
                fresh.append(ticket)
                rows += ticket.left
        except queue.Empty:
            pass
        return self._closed and self._inbox.empty()

    def _linger(self, fresh: list[Ticket], waiting: list[Waiting]) -> bool:
        """Wait for company until the oldest row has waited long enough or a batch is full."""
        ended = False
        while not ended and len(waiting) < self.work.most_rows:
            rest = waiting[0].ticket.since + self.max_wait - time.monotonic()
            if rest <= 0:
                break
            ended = self._collect(fresh, wait=True, timeout=rest)
            self._prepare(fresh, waiting, self._tell)
        return ended

    def _tell(self, results: Results, seconds: float) -> None:
        if results and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, results, seconds)

    # ---- both --------------------------------------------------------------------------------------------------------

    def _prepare(self, fresh: list[Ticket], waiting: list[Waiting], tell: Callable[[Results, float], None]) -> None:
        """Make waiting rows of fresh tickets."""
        entries = []
        for ticket in fresh:
            if ticket.gone:
                tell([(ticket, place, None) for place in range(len(ticket.taken))], 0.0)
            elif ticket.call is not None:
                tell([(ticket, 0, _caught(ticket.call))], 0.0)
            else:
                entries += [(ticket, place) for place in range(len(ticket.taken))]
        fresh.clear()
        if not entries:
            return
        made = _caught(lambda: self.work.prepare([ticket.taken[place] for ticket, place in entries]))
        if isinstance(made, BaseException):
            tell([(ticket, place, made) for ticket, place in entries], 0.0)
            return
        failed = [(ticket, place, row) for (ticket, place), row in zip(entries, made, strict=True) if not isinstance(row, Prepared)]
        waiting += [Waiting(ticket, place, row) for (ticket, place), row in zip(entries, made, strict=True) if isinstance(row, Prepared)]
        if failed:
            tell(failed, 0.0)

    def _batch(self, waiting: list[Waiting], tell: Callable[[Results, float], None]) -> None:
        """Answer the next batch of those that wait."""
        group = chosen(waiting, self.work)
        live = [item for item in group if not item.ticket.gone]
        if len(live) < len(group):
            tell([(item.ticket, item.place, None) for item in group if item.ticket.gone], 0.0)
        if not live:
            return
        started = time.perf_counter()
        found = _caught(lambda: self.work.answer([item.row for item in live]))
        results = [found] * len(live) if isinstance(found, BaseException) else found
        tell([(item.ticket, item.place, result) for item, result in zip(live, results, strict=True)], time.perf_counter() - started)

    def _deliver(self, results: Results, seconds: float) -> None:
        self.depth -= len(results)
        if seconds:
            self.pace += 0.2 * (seconds / len(results) - self.pace)
            if self.watch is not None:
                self.watch(len(results), seconds)
        for ticket, place, result in results:
            ticket.results[place] = result
            ticket.left -= 1
            self._patient -= ticket.patient
            if not ticket.left and not ticket.future.done():
                ticket.future.set_result(ticket.results)
        if self._behind:
            self._admit_patient()


def _caught(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or what it raises: a fault belongs to the requests that it is about, which raise it again."""
    try:
        return call()
    except BaseException as error:  # noqa: B036
        return error


def chosen(waiting: list[Waiting], work: Work) -> list[Waiting]:
    """Take the next batch out of the waiting rows: the oldest, and those nearest to it in length as long as little is padding."""
    first = waiting[0].row
    if work.most_rows == 1 or len(waiting) == 1:
        return [waiting.pop(0)]
    order = sorted((place for place, item in enumerate(waiting) if item.row.like == first.like), key=lambda place: waiting[place].row.cost)
    low = order.index(0)
    high, tokens = low + 1, first.cost
    while high - low < work.most_rows:
        below = first.cost - waiting[order[low - 1]].row.cost if low else math.inf
        above = waiting[order[high]].row.cost - first.cost if high < len(order) else math.inf
        if below == above == math.inf:
            break
        nearer = order[low - 1] if below <= above else order[high]
        cost = waiting[nearer].row.cost
        longest = max(cost, waiting[order[high - 1]].row.cost)
        padded = longest * (high - low + 1)
        if padded > work.most_cost or tokens + cost < LEAST_FILL * padded:
            break
        tokens += cost
        low, high = (low - 1, high) if below <= above else (low, high + 1)
    places = set(order[low:high])
    group = [waiting[place] for place in sorted(places)]
    waiting[:] = [item for place, item in enumerate(waiting) if place not in places]
    return group
