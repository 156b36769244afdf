"""The process that starts, watches and stops those that answer; it loads no model itself, so nothing that they do can end it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.core.errors import UserError
from bessemer.serve.logs import Log
from bessemer.serve.settings import Settings

BACKLOG = 1024
OBEY = 120.0
SLOWEST_RESTART = 10.0
MEMORY = "/dev/shm"
SURE = 10.0
"""Seconds after which a process counts as one that runs."""


def listen(settings: Settings) -> socket.socket:
    """Return the listening socket; a port that is taken, or an address that is not this machine's, is a UserError."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise UserError(f"--host {settings.host} is no address of this machine ({error.strerror}); use 127.0.0.1") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"the port {settings.port} of {settings.host} is taken by another process; choose another one with --port, or "
                            "--port 0 for any that is free") from None
        raise UserError(f"{where} cannot be listened on ({error.strerror}); choose another --host or --port") from None
    return found


class Worker:
    """One process and the line to it."""

    def __init__(self, slot: int) -> None:
        self.slot, self.started, self.failures = slot, 0.0, 0
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.loaded = False
        self.answers: dict[str, str] = {}  # model -> content, once it takes requests


class Supervisor:
    """Keeps the processes of one server alive.

    Args:
        settings: of the server.
        command: of a process; two descriptors are added: of its line and of the socket.
        ready: called with (address, models) once the first process answers.
    """

    def __init__(self, settings: Settings, command: Sequence[str], ready: Callable[[str, Any], None]) -> None:
        self.settings, self.command, self.ready, self.log = settings, command, ready, Log()
        self.workers = [Worker(slot) for slot in range(settings.workers)]
        self.routes: dict[str, Any] = {}
        self.stopping = False
        self.problem: UserError | None = None
        self._stop = asyncio.Event()
        self._told = False
        self._numbers = iter(range(1, 2**62))
        self._answers: dict[tuple[int, int], asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commands = asyncio.Lock()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a model that cannot be served from the start is a UserError."""
        self.socket = listen(self.settings)
        self.folder, self.counts = self._shared()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self.tell({"action": "reload"})))
        try:
            for worker in self.workers:
                self._spawn(self._keep(worker))
            await self._stop.wait()
            await self._end()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.problem is not None:
            raise self.problem

    def _shared(self) -> tuple[str, str]:
        """Return a folder for what the processes share (counters, mapped into memory), and the file of connection counts in it."""
        place = MEMORY if os.access(MEMORY, os.W_OK) else tempfile.gettempdir()
        try:
            folder = tempfile.mkdtemp(prefix="bessemer-serve-", dir=place)
            counts = os.path.join(folder, "counts")
            Path(counts).write_bytes(b"\xff\xff\xff\xff" * len(self.workers))  # see connections.Counts
        except OSError as error:
            self.socket.close()
            raise UserError(f"'{place}' cannot be written ({error.strerror}); make room in it, or set TMPDIR to another folder") from None
        return folder, counts

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(f"the server's own process met a defect ({type(task.exception()).__name__}: {task.exception()})")

    def _fail(self, sentence: str) -> None:
        self.problem = self.problem or UserError(sentence)
        self._stop.set()

    # ---- processes ---------------------------------------------------------------------------------------------------

    async def _keep(self, worker: Worker) -> None:
        """Start a process, and again whenever it ends, later each time where it ends at once."""
        while not self.stopping:
            await self._start(worker)
            assert worker.process is not None
            code = await worker.process.wait()
            self._clean(worker)
            if self.stopping:
                return
            lived = time.monotonic() - worker.started
            worker.failures = 0 if lived > SURE else worker.failures + 1
            if not worker.loaded and not self._told and worker.failures >= 3:
                self._fail("the server's processes end before they answer; what they wrote above says why")
                return
            wait = 0.0 if not worker.failures else min(SLOWEST_RESTART, 0.1 * 2**worker.failures)
            self.log.event("worker-ended", level="error", worker=worker.slot, code=code, restart_in=wait)
            await asyncio.sleep(wait)

    async def _start(self, worker: Worker) -> None:
        own, theirs = socket.socketpair()
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": self.folder, "TOKENIZERS_PARALLELISM": "false",
                       "OMP_NUM_THREADS": str(self.settings.threads), "BESSEMER_THREADS": str(self.settings.threads)}
        worker.started, worker.loaded, worker.answers = time.monotonic(), False, {}
        worker.process = await asyncio.create_subprocess_exec(
            *self.command, str(theirs.fileno()), str(self.socket.fileno()), pass_fds=(theirs.fileno(), self.socket.fileno()),
            env=environment, stdin=asyncio.subprocess.DEVNULL)
        theirs.close()
        reader, worker.writer = await asyncio.open_unix_connection(sock=own)
        self._send(worker, {"settings": self.settings.model_dump(mode="json"), "routes": self.routes, "counts": self.counts,
                            "slot": worker.slot, "early": not self._told and worker.slot == 0, "expected": self._answers_of_others(worker)})
        self._spawn(self._hear(worker, reader))

    def _clean(self, worker: Worker) -> None:
        """Forget what a process that ended left behind."""
        assert worker.process is not None
        if worker.writer is not None:
            worker.writer.close()
            worker.writer = None
        worker.loaded, worker.answers = False, {}
        self._say_answers()
        with open(self.counts, "r+b") as stream:
            stream.seek(4 * worker.slot)
            stream.write(b"\xff\xff\xff\xff")
        for file in Path(self.folder).glob(f"gauge_live*_{worker.process.pid}.db"):
            file.unlink(missing_ok=True)
        for (slot, _), future in self._answers.items():
            if slot == worker.slot and not future.done():
                future.set_result(None)  # it begins anew with what was told to all

    async def _end(self) -> None:
        """Let every process finish what it accepted; end those that do not come to an end."""
        self.stopping = True
        self.socket.close()
        running = [worker.process for worker in self.workers if worker.process is not None and worker.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        if running:
            _, late = await asyncio.wait([asyncio.ensure_future(process.wait()) for process in running], timeout=self.settings.drain + 5)
            for process in running if late else ():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        for task in list(self._tasks):
            task.cancel()

    # ---- messages ----------------------------------------------------------------------------------------------------

    def _send(self, worker: Worker, message: Mapping[str, Any]) -> None:
        if worker.writer is not None:
            worker.writer.write(json.dumps(message).encode() + b"\n")

    async def _hear(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                message = json.loads(line)
                if "loaded" in message:
                    worker.loaded = True
                    self._say_answers()
                    if worker.slot == 0:  # which answers before it is ready; the others only then
                        self._first(message["loaded"])
                elif "answers" in message:
                    worker.answers = message["answers"]
                    self._say_answers()
                elif "obeyed" in message:
                    future = self._answers.get((worker.slot, message["obeyed"]))
                    if future is not None and not future.done():
                        future.set_result(message)
                elif "ask" in message:
                    self._spawn(self._asked(worker, message))

    def _answers_of_others(self, worker: Worker) -> dict[str, str]:
        """Return what answers in the other processes that take requests."""
        return next((other.answers for other in self.workers if other is not worker and other.loaded and other.answers), {})

    def _say_answers(self) -> None:
        """Tell processes that are about to take requests what answers in those that do."""
        for worker in self.workers:
            if not worker.loaded:
                self._send(worker, {"expected": self._answers_of_others(worker), "routes": self.routes})

    def _first(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Say that the server answers, the first time that a process does; a model that was named and cannot be served ends it."""
        if self._told or self.stopping:  # the socket, whose address would be told, is closed then
            return
        named = {source.name for source in self.settings.sources}
        for model in models:
            if model["model"] in named and model["current"] is None:
                problem = next((version["problem"] for version in model["versions"] if "problem" in version), "it has no version yet")
                self._fail(f"the model '{model['model']}' cannot be served: {problem}")
                return
        self._told = True
        host, port = self.socket.getsockname()[:2]
        self.ready(f"http://{f'[{host}]' if ':' in host else host}:{port}", models)

    async def _asked(self, worker: Worker, message: Mapping[str, Any]) -> None:
        self._send(worker, {"asked": message["ask"], "problem": await self.tell(message["command"])})

    async def tell(self, command: Mapping[str, Any]) -> Any:
        """Have every process obey a command, one command after another; return the first problem, or None."""
        async with self._commands:
            number = next(self._numbers)
            told = [worker for worker in self.workers if worker.writer is not None]
            for worker in told:
                self._answers[worker.slot, number] = asyncio.get_running_loop().create_future()
                self._send(worker, {"id": number, "command": command})
            pending = [self._answers[worker.slot, number] for worker in told]
            done, late = await asyncio.wait(pending, timeout=OBEY) if pending else (set(), set())
            # One that waits to take requests may be unable to obey; it is told the routes again, and waits until it can.
            count = [self._answers[worker.slot, number] for worker in told if worker.loaded] or pending
            for worker in told:
                del self._answers[worker.slot, number]
            found = [future.result() for future in count if future in done and future.result() is not None]
            problem = next((answer["problem"] for answer in found if answer["problem"] is not None), None)
            if problem is None and found:
                self.routes = found[0]["routes"]
                self._say_answers()
            if late and problem is None:
                return {"kind": "no-model", "detail": "a process did not obey in time; ask /models what is served"}
            return problem
