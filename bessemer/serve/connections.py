"""Connections: taken from one shared socket in turn with the other processes, watched for slowness, closed without losing a request.

The HTTP itself is uvicorn's; this stands between it and the socket, because uvicorn waits for ever for the head of a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import fcntl
import json
import mmap
import socket
import struct
import sys
import termios
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bessemer.serve.call import Call
from bessemer.serve.gate import Desk
from bessemer.serve.problems import KINDS, TYPE, Problem

MOST_HEAD = 64_000
SWEEP = 0.5
QUIET = 0.5
"""Seconds that an open connection has to ask once more when the server stops."""
HURRY = 5.0
"""Seconds after which a stopping server leaves clients that have not sent their whole request, or do not read their answer."""
SLOWEST = 1000
"""Bytes that a body must bring in each `head_timeout` while the server reads."""
MOST_UNSENT = 128 * 1024
"""Bytes that the system keeps for a client that does not read; beyond that no more of a stream is answered."""
ABSENT = -1


class Counts:
    """The number of connections of each process, in memory that all share.

    Args:
        file: of 4 bytes a process.
        slot: of this process.
    """

    def __init__(self, file: str, slot: int) -> None:
        with open(file, "r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), 0)
        self.slot = slot

    @staticmethod
    def make(file: str, processes: int) -> None:
        """Write the file: nobody is there."""
        with open(file, "wb") as stream:
            stream.write(struct.pack("i", ABSENT) * processes)

    def put(self, count: int) -> None:
        """Set the number of this process; ABSENT takes it out."""
        struct.pack_into("i", self._memory, 4 * self.slot, count)

    def others(self) -> list[int]:
        """Return the numbers of the other processes that accept connections."""
        found = struct.unpack(f"{len(self._memory) // 4}i", self._memory[:])
        return [count for slot, count in enumerate(found) if count != ABSENT and slot != self.slot]

    def excess(self) -> int:
        """Return how many connections more than the process with fewest this one has."""
        others = self.others()
        return max(0, struct.unpack_from("i", self._memory, 4 * self.slot)[0] - min(others)) if others else 0


class Joined:
    """A transport that sends the head of an answer together with the first of its body: one call of the system and one packet."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop, self._held = transport, loop, b""
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, or hold a head until what follows it, at the latest until the loop's next turn."""
        self.written += len(data)
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._held = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send what is held, unless the connection was lost meanwhile."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def unread(self) -> int:
        """Return how many bytes the client has not taken yet, here and, where that can be asked, in the system's buffer."""
        size: int = len(self._held) + self._transport.get_write_buffer_size()
        if sys.platform == "linux" and not self._transport.is_closing():
            given = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
            size += int(struct.unpack("i", given)[0])
        return size

    def close(self) -> None:
        """Send what is held and close."""
        self.flush()
        self._transport.close()


class Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        calls: requests of it that wait for answers; they are dropped when it is lost.
        lost: whether it has ended.
        refused: the status with which it was ended, while its request was under way; 0 if it was not.
        unread, taken: bytes of answers that the client has not taken yet, and that it has.
        stuck: since when it has taken nothing of what there is for it.
        began: when the head that is being read began; None while none is.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener, self.calls = listener, set[Call]()
        self.inner = HttpToolsProtocol(listener.config, listener.state, {"connection": self})
        self.inner.send_400_response = self._malformed  # type: ignore[method-assign, assignment]
        self.transport: Any = None
        self.lost, self.refused = False, 0
        self.began: float | None = time.monotonic()
        self.moved = self.began
        self.head = self.body = self.unread = self.taken = 0
        self.window = self.stuck = self.began

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = Joined(transport, self.listener.loop)
        self.listener.add(self)
        self.inner.connection_made(self.transport)

    def data_received(self, data: bytes) -> None:
        """Take what came; a head beyond the limit ends the connection."""
        inner, before = self.inner, self.inner.cycle
        self.moved = time.monotonic()
        inner.data_received(data)
        if inner.cycle is not before:
            self.began, self.head, self.body, self.window = None, 0, 0, self.moved
        elif before is None or before.response_complete:
            self.began = self.moved if self.began is None else self.began
            self.head += len(data)
            if self.head > MOST_HEAD:
                self.refuse(Problem("head-too-large", f"the request's head has more than {MOST_HEAD:,} bytes; send fewer headers"))
        else:
            self.body += len(data)

    def eof_received(self) -> None:
        """Take the end of what comes."""
        self.inner.eof_received()

    def pause_writing(self) -> None:
        """Wait with writing."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Go on writing."""
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the rows that nobody waits for any more."""
        self.lost = True
        self.listener.remove(self)
        self.inner.connection_lost(exc)
        for call in list(self.calls):
            call.abandon()

    @property
    def idle(self) -> bool:
        """Tell whether nothing is asked."""
        cycle = self.inner.cycle
        return (cycle is None or cycle.response_complete) and not self.head and not self.inner.pipeline

    @property
    def waits(self) -> bool:
        """Tell whether a whole request, or a stream that has begun, waits for its answer."""
        cycle = self.inner.cycle
        return cycle is not None and not cycle.response_complete and (cycle.response_started or not cycle.more_body)

    def hopeless(self, since: float, now: float) -> bool:
        """Tell whether a server that stops since then need not wait: half a request, a stream that brings no line, nobody who reads."""
        if not self.waits or (self.unread and now > max(self.stuck, since) + HURRY):
            return True
        more = self.inner.cycle.more_body and not self.calls and not self.inner.flow.read_paused
        return more and now > max(self.moved, since) + HURRY

    def refuse(self, problem: Problem) -> None:
        """Answer a problem without a request and close."""
        body = json.dumps(problem.plain()).encode()
        status = KINDS[problem.kind]
        self.refused = status.status
        self.transport.write(f"HTTP/1.1 {status.status} {status.title}\r\ncontent-type: {TYPE}\r\ncontent-length: {len(body)}\r\n"
                             "connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _malformed(self, _: str) -> None:
        self.refuse(Problem("malformed", "what came is no HTTP/1.1 request; send one, such as: POST /predict"))

    def sweep(self, now: float) -> None:
        """End the connection where the client is too slow to send or to read."""
        settings, cycle = self.listener.desk.settings, self.inner.cycle
        if self.began is not None and now - self.began > settings.head_timeout:
            if self.head:
                self.refuse(Problem("timeout-request", "the request's head did not come in time; send it faster"))
            else:
                self.transport.close()
        elif cycle is not None and cycle.more_body and not cycle.response_complete and not self.inner.flow.read_paused:
            if now - self.window > settings.head_timeout:
                if self.body < SLOWEST and cycle.response_started:
                    self.transport.abort()
                elif self.body < SLOWEST:
                    self.refuse(Problem("timeout-request", "the request's body did not come in time; send it faster"))
                self.body, self.window = 0, now
        self.unread = self.transport.unread()
        taken = self.transport.written - self.unread
        if not self.unread or taken > self.taken:
            self.stuck = now
        elif now - self.stuck > settings.timeout:
            self.transport.abort()
        self.taken = max(self.taken, taken)


class Listener:
    """Accepts connections for an application.

    Args:
        app: ASGI.
        desk: of the process.
        shared: the listening socket, which other processes hold too.
        counts: connections of each process; None where there is one.

    Attributes:
        loading: whether models are being loaded for the first time; then connections are left to processes that are further.
    """

    def __init__(self, app: Any, desk: Desk, shared: socket.socket, counts: Counts | None) -> None:
        self.desk, self.socket, self.counts = desk, shared, counts
        self.config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
                                     proxy_headers=False, interface="asgi3", timeout_keep_alive=round(desk.settings.keep_alive))
        self.config.load()
        self.state = ServerState()
        self.open: set[Connection] = set()
        self.loading = False
        self._tasks: list[asyncio.Task[None]] = []
        self.loop = asyncio.get_running_loop()

    def add(self, connection: Connection) -> None:
        """Count a connection."""
        self.open.add(connection)
        self._count()

    def remove(self, connection: Connection) -> None:
        """Count it no more."""
        self.open.discard(connection)
        self._count()

    def _count(self) -> None:
        if self.counts is not None:
            self.counts.put(len(self.open))

    def start(self) -> None:
        """Begin to accept."""
        self.socket.setblocking(False)
        self._count()
        self._tasks = [asyncio.create_task(self._accept()), asyncio.create_task(self._sweep())]

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while len(self.open) >= self.desk.settings.max_connections:
                await asyncio.sleep(0.02)
            await self._readable(loop)
            if self.loading and self.counts is not None and self.counts.others():
                await asyncio.sleep(0.02)
                continue
            excess = self.counts.excess() if self.counts is not None else 0
            if excess:  # let one that has fewer take it
                await asyncio.sleep(0.001 * min(8, excess))
            await self._take(loop)

    async def _readable(self, loop: asyncio.AbstractEventLoop) -> None:
        ready = loop.create_future()
        loop.add_reader(self.socket.fileno(), lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self.socket.fileno())

    async def _take(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Accept one connection; tell whether there was one."""
        try:
            found, _ = self.socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptor left: others must end first
            self.desk.log.event("accept", level="error", problem=str(error.strerror))
            await asyncio.sleep(0.2)
            return False
        found.setblocking(False)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)
        await loop.connect_accepted_socket(lambda: Connection(self), found)
        return True

    async def _sweep(self) -> None:
        while True:
            self.state.default_headers = [(b"date", email.utils.formatdate(usegmt=True).encode())]
            await asyncio.sleep(SWEEP)
            now = time.monotonic()
            for connection in list(self.open):
                connection.sweep(now)

    async def drain(self, seconds: float) -> bool:
        """Stop accepting, let every accepted request be answered, close what is left; tell whether all had ended in time."""
        if not self._tasks:  # it never began: who waits in the system's queue is answered by the other processes
            return True
        self._tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._tasks[0]
        loop = asyncio.get_running_loop()
        while await self._take(loop):  # who is in the system's queue was told that he is connected
            pass
        self.socket.close()
        self.desk.draining = True
        started = time.monotonic()
        while self.open and (now := time.monotonic()) < started + seconds:
            for connection in list(self.open):
                if connection.idle and now > max(connection.moved, started) + QUIET:
                    connection.transport.close()
                elif now > started + HURRY and connection.hopeless(started, now):
                    connection.transport.abort()
            await asyncio.sleep(0.02)
        left = bool(self.open)
        for connection in list(self.open):
            connection.transport.abort()
        self._tasks[1].cancel()
        return not left
