"""One process that answers: it is told by its supervisor what to serve, and tells it when models are loaded."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bessemer.serve.app import application, guarded
from bessemer.serve.connections import Counts, Listener
from bessemer.serve.gate import Desk
from bessemer.serve.logs import Faults, Log
from bessemer.serve.metrics import Metrics
from bessemer.serve.problems import Problem
from bessemer.serve.registry import Registry
from bessemer.serve.settings import Settings

EARLY = 1.0
"""Seconds after which a first process answers (that it is not ready) though its models are still being loaded."""
GAUGES = 1.0
GARBAGE = (20_000, 20, 50)
"""Thresholds of the collector of garbage; a request leaves little in circles."""


class Control:
    """The line to the supervisor: JSON objects, one a line.

    Attributes:
        registry: which obeys its commands.
        ended: set when the supervisor has gone.
        expected: what answers in the other processes, as `Registry.contents` says it; nothing where there is none.
        routes: what administration told the others while this process waits to take requests.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, registry: Registry) -> None:
        self.reader, self.writer, self.registry = reader, writer, registry
        self.ended = asyncio.Event()
        self.expected: dict[str, str] = {}
        self.routes: dict[str, Any] = {}
        self._said: dict[str, str] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message."""
        self.writer.write(json.dumps(message).encode() + b"\n")

    def say(self) -> None:
        """Tell what answers here, where that has changed."""
        found = self.registry.contents()
        if found != self._said:
            self._said = found
            self.send({"answers": found})

    async def agree(self, stop: asyncio.Event, log: Log, poll: float) -> bool:
        """Wait until this process holds the very versions that answer in the others: clients shall not get now one and now another.

        Returns whether it does; not where it has to stop before.
        """
        told = False
        while True:
            here = self.registry.contents()
            other = sorted(name for name, content in self.expected.items() if here.get(name) != content)
            if not other or stop.is_set() or self.ended.is_set():
                return not other
            if not told:
                told = True
                log.event("differs", level="error", models=other, problem="the other processes answer by a version that this one, started "
                          "later, cannot load; it takes no requests until both have the same")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), poll)
            if not stop.is_set():
                self.registry.set_routes(self.routes)
                await self.registry.refresh()

    async def tell(self, command: dict[str, Any]) -> None:
        """Have every process obey a command."""
        number = len(self._asked) + 1
        self._asked[number] = future = asyncio.get_running_loop().create_future()
        self.send({"ask": number, "command": command})
        problem = await future
        if problem is not None:
            raise Problem(problem["kind"], problem["detail"])

    async def listen(self) -> None:
        """Take messages until the supervisor has gone."""
        while line := await self.reader.readline():
            message = json.loads(line)
            if "expected" in message:
                self.expected, self.routes = message["expected"], message["routes"]
            elif "asked" in message:
                future = self._asked[message["asked"]]
                if not future.done():
                    future.set_result(message["problem"])
            else:
                task = asyncio.create_task(self._obey(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        self.ended.set()

    async def _obey(self, message: dict[str, Any]) -> None:
        problem = None
        try:
            await self.registry.obey(message["command"])
        except Problem as found:
            problem = {"kind": found.kind, "detail": found.detail}
        self.send({"obeyed": message["id"], "problem": problem, "routes": self.registry.routes()})


async def work(control: socket.socket, shared: socket.socket, resolve: Callable[[str], Path]) -> None:
    """Serve until SIGTERM, or until the supervisor has gone; then finish what was accepted."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_unix_connection(sock=control)
    start = json.loads(await reader.readline())
    settings = Settings.model_validate(start["settings"])
    log, metrics = Log(), Metrics()
    _take_logs(log)
    registry, desk = Registry(settings, resolve, log), Desk(settings, metrics, log)
    registry.set_routes(start["routes"])
    line = Control(reader, writer, registry)
    line.expected = start["expected"]
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells every process; the supervisor tells this one when to end
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(line.listen())]
    listener = Listener(guarded(application(registry, desk, line.tell)), desk, shared, Counts(start["counts"], start["slot"]))
    loading = asyncio.create_task(registry.refresh())
    if start["early"]:
        await asyncio.wait([loading], timeout=EARLY)
        listener.loading = not loading.done()
        listener.start()
    await loading
    gc.collect()
    gc.freeze()  # what was loaded stays: to look it through again and again for garbage costs time and empties the processor's caches
    gc.set_threshold(*GARBAGE)
    agrees = await line.agree(stop, log, settings.poll)
    listener.loading = False
    if agrees:
        line.say()
        line.send({"loaded": registry.plain()})
        if not start["early"]:
            listener.start()
    tasks += [asyncio.create_task(registry.watch()), asyncio.create_task(_gauges(metrics, line, listener))]
    tasks += [asyncio.create_task(stop.wait()), asyncio.create_task(line.ended.wait())]
    done, _ = await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
    for task in done - set(tasks[-2:]):
        task.result()  # a defect: end with it, to be started again
    finished = await listener.drain(settings.drain)
    log.event("ended", level="info" if finished else "error", finished=finished)
    for task in tasks:
        task.cancel()
    registry.close()
    log.flush()
    writer.close()


async def _gauges(metrics: Metrics, line: Control, listener: Listener) -> None:
    while True:
        metrics.measure(line.registry, len(listener.open))
        line.say()
        await asyncio.sleep(GAUGES)


def _take_logs(log: Log) -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.handlers[:] = [Faults(log)]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    logging.getLogger("asyncio").addHandler(Faults(log))


def main(control_fd: int, shared_fd: int, resolve: Callable[[str], Path]) -> None:
    """Run a process that the supervisor started with these two descriptors."""
    import uvloop

    # The thread that computes needs the interpreter for microseconds between two calls; it shall not wait 5 ms for each.
    sys.setswitchinterval(0.0005)
    control, shared = socket.socket(fileno=control_fd), socket.socket(fileno=shared_fd)
    uvloop.run(work(control, shared, resolve))
    os._exit(0)  # threads of models that never ended hold nothing that matters now
