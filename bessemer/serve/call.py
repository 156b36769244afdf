"""A request on its way and what is answered: what every handler takes and returns, free of any framework."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.serve.problems import Problem

if TYPE_CHECKING:
    from bessemer.serve.batching import Ticket
    from bessemer.serve.connections import Connection

JSON = b"application/json"
DISCARD_SECONDS = 2.0


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        body: its bytes, or what yields them.
        status: HTTP status.
        kind: its media type.
        headers: further headers.
    """

    body: bytes | AsyncIterator[bytes]
    status: int = 200
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Call:
    """A request.

    Attributes:
        scope: of ASGI.
        id: the request's id.
        params: what stood in the address.
        rows: rows that were asked for; model, version: who answered; for the log.
    """

    __slots__ = ("_read", "_receive", "_tickets", "deadline", "headers", "id", "limit", "model", "params", "rows", "scope", "version")

    def __init__(self, scope: Any, receive: Callable[[], Awaitable[Any]], request_id: str, limit: int, timeout: float) -> None:
        self.scope, self._receive, self.id, self.limit = scope, receive, request_id, limit
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.params: dict[str, str] = {}
        self.deadline = time.monotonic() + timeout
        self.rows, self.model, self.version = 0, "", ""
        self._tickets: set[Ticket] = set()
        self._read = False

    @property
    def connection(self) -> Connection | None:
        """Return the connection that it came by, where it came by one of ours."""
        found: Connection | None = self.scope.get("state", {}).get("connection")
        return found

    def accepts(self, *kinds: bytes) -> None:
        """Check the body's media type: one of these, in UTF-8."""
        coding = self.headers.get(b"content-encoding", b"identity").strip().lower()
        if coding not in (b"", b"identity"):
            raise Problem("media-type", f"the body's Content-Encoding is '{coding[:40].decode('latin-1')}'; this server reads bodies as "
                          "they are: send it uncompressed, without that header", ((b"accept-encoding", b"identity"),))
        given = self.headers.get(b"content-type", b"")
        if given in kinds:
            return
        kind, _, rest = given.lower().partition(b";")
        charset = rest.partition(b"charset=")[2].split(b";")[0].strip().strip(b"\"'")
        if kind.strip() not in kinds:
            raise Problem("media-type", f"the body's Content-Type is '{given[:80].decode('latin-1') or 'missing'}'; expected "
                          f"{' or '.join(item.decode() for item in kinds)}")
        if charset not in (b"", b"utf-8", b"utf8", b"us-ascii"):
            raise Problem("media-type", f"the body's charset is '{charset[:40].decode('latin-1')}'; send UTF-8")

    async def body(self) -> bytes:
        """Return the body; one beyond the limit is a Problem, whether or not its length was announced."""
        announced = self.headers.get(b"content-length")
        self._read = True
        if announced is not None and int(announced) > self.limit:
            await self._discard()
            raise self._too_large()
        connection = self.connection
        if connection is not None and not connection.inner.cycle.more_body:
            return await self._whole()  # all of it is there
        try:
            async with asyncio.timeout(self.deadline - time.monotonic()):
                return await self._whole()
        except TimeoutError:
            raise Problem("timeout-request", "the body did not come in the time that this server allows (--timeout); send it faster",
                          ((b"connection", b"close"),)) from None

    async def _whole(self) -> bytes:
        message = await self._receive()
        self._present(message)
        parts: list[bytes] = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body") and size <= self.limit:
            message = await self._receive()
            self._present(message)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if size > self.limit:
            if message.get("more_body"):
                await self._discard()
            raise self._too_large()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, however long it is."""
        more = self._read = True
        while more:
            message = await self._receive()
            self._present(message)
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]

    async def skip(self) -> bool:
        """Read and drop a body that no handler read; tell whether it came to its end, so that the connection can go on."""
        if self._read or not (self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers):
            return True
        self._read = True
        return await self._discard()

    def _present(self, message: Any) -> None:
        if message["type"] == "http.disconnect":
            raise Gone

    def _too_large(self) -> Problem:
        return Problem("too-large", f"the body has more than the {self.limit:,} bytes that this server takes; send fewer rows at a time, "
                       "stream them to predict_lines, or start the server with a larger --max-bytes", ((b"connection", b"close"),))

    async def _discard(self) -> bool:
        """Read on for a moment, so that the client, still sending, comes to read the answer; never for a client that asks first.

        Returns whether the body came to its end.
        """
        if b"expect" in self.headers:
            return False
        until, left = time.monotonic() + DISCARD_SECONDS, 16 * self.limit
        while left > 0 and time.monotonic() < until:
            try:
                message = await asyncio.wait_for(self._receive(), DISCARD_SECONDS)
            except TimeoutError:
                return False
            self._present(message)
            left -= len(message.get("body", b""))
            if not message.get("more_body"):
                return True
        return False

    async def wait(self, ticket: Ticket, seconds: float | None = None) -> list[Any]:
        """Return a ticket's results; past the deadline, or when the client has gone, its rows are dropped from the queue.

        With `seconds` these count from when the rows came into the queue, and the request has no deadline beside them: a stream lasts.
        """
        future = ticket.future
        timer = _Timer(self.deadline, ticket, seconds)
        connection = self.connection
        if connection is not None and connection.lost:
            ticket.gone = True
            future.cancel()
            raise Gone
        self._tickets.add(ticket)
        if connection is not None:
            connection.calls.add(self)
        try:
            found = await future
        finally:
            timer.end()
            ticket.gone = ticket.left > 0
            self._tickets.discard(ticket)
            if connection is not None:
                connection.calls.discard(self)
        for item in found:
            if isinstance(item, BaseException) and not isinstance(item, Problem):
                raise item
        return found

    def abandon(self) -> None:
        """Drop every row of it that waits: nobody is there to be answered."""
        for ticket in list(self._tickets):
            ticket.gone = True
            if not ticket.future.done():
                ticket.future.set_exception(Gone())


class Gone(Exception):
    """The client has gone; there is nobody to answer."""


class _Timer:
    """Ends a wait that takes too long; see Call.wait."""

    def __init__(self, deadline: float, ticket: Ticket, seconds: float | None) -> None:
        self.deadline, self.ticket, self.seconds = deadline, ticket, seconds
        self._loop = ticket.future.get_loop()
        self._handle = self._loop.call_later(self._rest(), self._look)

    def _rest(self) -> float:
        if self.seconds is None:
            return max(0.0, self.deadline - time.monotonic())
        return self.seconds if self.ticket.behind else max(0.0, self.ticket.since + self.seconds - time.monotonic())

    def _look(self) -> None:
        rest = self._rest()
        if rest > 0:
            self._handle = self._loop.call_later(rest, self._look)
        elif not self.ticket.future.done():
            self.ticket.future.set_exception(Problem("timeout", "the answer took longer than this server allows (--timeout); ask again "
                                                     "later, or send fewer rows at a time", ((b"retry-after", b"1"),)))

    def end(self) -> None:
        """Stop looking."""
        self._handle.cancel()
