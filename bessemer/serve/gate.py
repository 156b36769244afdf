"""The outermost layer: a request's id, key, limits, time, log line and metrics; every failure leaves as a problem document.

Addresses that are asked often are answered from here, without the router in between.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bessemer.serve.call import Call, Gone, Reply
from bessemer.serve.keys import Door, from_here
from bessemer.serve.logs import Log, now
from bessemer.serve.metrics import Metrics
from bessemer.serve.problems import TYPE, Problem
from bessemer.serve.settings import Settings

Handler = Callable[[Call], Awaitable[Reply]]
CSP = (b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
       b"form-action 'none'; frame-ancestors 'none'")
SAFE = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"content-security-policy", CSP),
        (b"cross-origin-resource-policy", b"same-origin"))
KEPT = (b"cache-control", b"no-store")
GONE = 499
MOST_ID = 128


@dataclass
class Desk:
    """What the gate needs of the process.

    Attributes:
        draining: whether the process is about to stop: answers then close their connections.
    """

    settings: Settings
    metrics: Metrics
    log: Log
    draining: bool = False


class Gate:
    """An ASGI application around another one.

    Args:
        desk: see Desk.
        quick: (method, path) -> handler of the addresses that are asked often.
        inner: the application that answers all others; it finds its Call in `scope["call"]` and sets `scope["template"]`.
        free: addresses that need no key, by their beginning where they end with `/`.
    """

    def __init__(self, desk: Desk, quick: Mapping[tuple[str, str], Handler], inner: Any, free: tuple[str, ...]) -> None:
        self.desk, self.quick, self.inner = desk, quick, inner
        self.door = Door(desk.settings.keys)
        self.free = frozenset(path for path in free if not path.endswith("/") or path == "/")
        self.free_below = tuple(path for path in free if path.endswith("/") and path != "/")
        self.limit, self.timeout = desk.settings.max_bytes, desk.settings.timeout
        start = os.urandom(6).hex()
        self._ids = (f"{start}{number:08x}" for number in itertools.count())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.inner(scope, receive, send)
            return
        started = time.perf_counter()
        call = Call(scope, receive, "", self.limit, self.timeout)
        given = call.headers.get(b"x-request-id", b"").decode("latin-1")
        call.id = given if given and len(given) <= MOST_ID and given.isascii() and given.isprintable() else next(self._ids)
        scope["call"] = call
        outcome = _Outcome(send, call, self.desk)
        path, method = scope["path"], scope["method"]
        handler = self.quick.get((method, path))
        try:
            self._enter(call, path)
            if handler is not None:
                scope["template"] = path
                await outcome.reply(await handler(call))
            else:
                await self.inner(scope, receive, outcome.send)
        except Problem as problem:
            await outcome.problem(problem)
        except Gone:
            outcome.status = outcome.status or self._gone(call)
        finally:
            self._leave(call, outcome, started)

    @staticmethod
    def _gone(call: Call) -> int:
        """Return the status of a request that nobody waits for: the one that the server cut it off with, or GONE."""
        return (call.connection.refused if call.connection is not None else 0) or GONE

    def _enter(self, call: Call, path: str) -> None:
        if self.door and path not in self.free and not path.startswith(self.free_below or "\0"):
            self.door.check(call.headers)
        elif path.startswith("/admin/") and not self.door and not from_here(call.scope.get("client"), call.headers):
            raise Problem("forbidden", "this server has no keys, so that only requests from its own machine, to localhost, may administer "
                          "it; start it with --api-key-file")

    def _leave(self, call: Call, outcome: _Outcome, started: float) -> None:
        seconds = time.perf_counter() - started
        template = call.scope.get("template", "-")
        status = outcome.status or 500
        self.desk.metrics.request(template, status, seconds)
        if self.desk.log.requests:
            self.desk.log.request(orjson.dumps({
                "time": now(), "level": "info", "event": "request", "id": call.id, "method": call.scope["method"][:16], "route": template,
                "status": status, "ms": round(seconds * 1000, 2), "rows": call.rows, "model": call.model, "version": call.version}))


class _Outcome:
    """Sends an answer with the headers that every answer has, and remembers its status."""

    def __init__(self, send: Any, call: Call, desk: Desk) -> None:
        self._send, self.call, self.desk, self.status = send, call, desk, 0

    async def send(self, message: Any) -> None:
        """Send a message of another application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._common()]}
        await self._send(message)

    async def reply(self, reply: Reply) -> None:
        """Send a handler's answer."""
        self.status = reply.status
        body = reply.body
        headers = [(b"content-type", reply.kind), KEPT, *reply.headers, *self._common()]
        if isinstance(body, bytes):
            headers.append((b"content-length", str(len(body)).encode()))
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": body})
            return
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        async for part in told(body):
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def problem(self, problem: Problem) -> None:
        """Send a problem document."""
        if not self.status:
            reply = problem_reply(problem, self.call.id)
            try:
                whole = await self.call.skip()
            except Gone:
                self.status = Gate._gone(self.call)
                return
            await self.reply(reply if whole else replace(reply, headers=(*reply.headers, (b"connection", b"close"))))

    def _common(self) -> list[tuple[bytes, bytes]]:
        found = [*SAFE, (b"x-request-id", self.call.id.encode())]
        if self.desk.draining:
            found.append((b"connection", b"close"))
        return found


async def told(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of an answer; a problem on the way, too late for a status, is the last one."""
    try:
        async for part in body:
            yield part
    except Problem as problem:
        yield orjson.dumps({"problem": problem.plain()}) + b"\n"


def problem_reply(problem: Problem, request: str) -> Reply:
    """Return a problem as an answer."""
    body = orjson.dumps({**problem.plain(), "instance": f"urn:request:{request}"} if request.isalnum() else problem.plain())
    return Reply(body, problem.status, TYPE.encode(), problem.headers)
