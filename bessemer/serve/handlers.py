"""What the addresses for prediction do."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Any

import orjson

from bessemer.serve.batching import Ticket
from bessemer.serve.call import Call, Gone, Reply
from bessemer.serve.metrics import Metrics
from bessemer.serve.problems import Problem
from bessemer.serve.registry import Registry
from bessemer.serve.twice import twice
from bessemer.serve.versions import Version

JSON_KINDS = (b"application/json",)
LINE_KINDS = (b"application/x-ndjson", b"application/jsonl", b"application/json-lines", b"application/json")
WINDOW = 64
"""Rows of one request that are in the queue at once, at most half of it; the others of a long one wait behind other people's."""


def parsed(body: bytes, what: str = "the body") -> Any:
    """Return the JSON value of a body, or of what is named instead."""
    try:
        value = orjson.loads(body)
        key = twice(body, value)
    except orjson.JSONDecodeError as error:
        if not body.strip():
            raise Problem("malformed", "the body is empty; send a JSON object of the model's input columns") from None
        line = f"line {error.lineno}, " if what == "the body" else ""
        raise Problem("malformed", f"{what} is no JSON in UTF-8: {str(error).split(': line')[0]} at {line}column "
                      f"{error.colno}; send a JSON object of the model's input columns (NaN is null)") from None
    except RecursionError:
        raise Problem("malformed", f"{what} is nested too deeply; send a JSON object of the model's input columns") from None
    if key is not None:
        raise Problem("malformed", f"{what} has the key '{key:.100}' twice in one object; give each key once")
    return value


def an_object(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON value that must be an object."""
    if not isinstance(value, dict):
        raise Problem("malformed", f"{what} is {named(value)}; expected a JSON object of the model's input columns, such as "
                      '{"column": value}')
    return value


def named(value: Any) -> str:
    """Return what a JSON value is, in words."""
    words = {type(None): "null", bool: "true or false", str: "a text", list: "a list", dict: "an object"}
    return words.get(type(value), "a number")


class Prediction:
    """The handlers; each takes a Call and returns a Reply."""

    def __init__(self, registry: Registry, metrics: Metrics) -> None:
        self.registry, self.metrics = registry, metrics
        self.max_items = registry.settings.max_items
        self.window = min(WINDOW, max(1, registry.settings.max_queue // 2))
        self.max_bytes, self.timeout = registry.settings.max_bytes, registry.settings.timeout

    def version(self, call: Call) -> Version:
        """Return the version that is asked; the caller raises its `users`."""
        params = call.params
        version = self.registry.version(params.get("model"), params.get("version"), call.id)
        call.model, call.version = version.place.model, version.name
        if version.batcher.watch is None:
            model, name = call.model, call.version
            version.batcher.watch = lambda rows, seconds: self.metrics.batch(model, name, rows, seconds)
        return version

    async def predict(self, call: Call) -> Reply:
        """Answer one row."""
        call.accepts(*JSON_KINDS)
        row = an_object(parsed(await call.body()), "the body")
        call.rows = 1
        version = self.version(call)
        taken = (version.batcher.work.take(row),)
        version.users += 1
        try:
            ticket = version.batcher.submit(taken)
            self._shadow(version, row, ticket)
            found = (await call.wait(ticket))[0]
        finally:
            version.leave()
        if isinstance(found, Problem):
            raise found
        return Reply(orjson.dumps({"model": call.model, "version": call.version, "targets": found}))

    async def predict_batch(self, call: Call) -> Reply:
        """Answer several rows: all, or none and why."""
        call.accepts(*JSON_KINDS)
        value = parsed(await call.body())
        rows = value.get("rows") if isinstance(value, dict) else None
        if not isinstance(rows, list):
            raise Problem("malformed", 'the body has no list "rows"; expected {"rows": [{"column": value}, …]}')
        version = self.version(call)
        results = await self.answered(call, version, rows)
        return Reply(orjson.dumps({"model": call.model, "version": call.version,
                                   "rows": [{"targets": found} for found in results]}))

    async def answered(self, call: Call, version: Version, rows: list[Any]) -> list[Any]:
        """Return the answers of many rows, in their order; one that cannot be read is a Problem that names it."""
        call.rows = len(rows)
        if len(rows) > self.max_items:
            raise Problem("too-large", f"the request has {len(rows):,} rows; this server takes {self.max_items:,} at a time: send fewer, "
                          "or stream them to predict_lines")
        taken = []
        for number, row in enumerate(rows, 1):
            try:
                taken.append(version.batcher.work.take(an_object(row, "the row")))
            except Problem as problem:
                raise Problem(problem.kind, f"row {number}: {problem.detail}") from None
        version.users += 1
        results: list[Any] = []
        try:
            for start in range(0, len(taken), self.window):
                results += await call.wait(version.batcher.submit(taken[start:start + self.window], patient=start > 0))
        finally:
            version.leave()
        for number, found in enumerate(results, 1):
            if isinstance(found, Problem):
                raise Problem(found.kind, f"row {number}: {found.detail}")
        return results

    def _shadow(self, version: Version, row: dict[str, Any], ticket: Ticket) -> None:
        """Let the shadow answer a row too, unless it is behind; only whether both agree is kept."""
        shadow = self.registry.shadow(version)
        if shadow is None or shadow.batcher.depth >= WINDOW:
            return
        try:
            other = shadow.batcher.submit((shadow.batcher.work.take(row),))
        except Problem:
            self.metrics.shadow(shadow.place.model, shadow.name, False)
            return
        shadow.users += 1
        waiting = {ticket.future, other.future}

        def ended(future: Any) -> None:
            waiting.discard(future)
            if waiting:  # whichever of the two comes last compares
                return
            if not ticket.gone and not ticket.future.cancelled() and not other.future.cancelled():
                first, second = (_said(item.future.result()[0]) if not item.future.exception() else None for item in (ticket, other))
                self.metrics.shadow(shadow.place.model, shadow.name, first == second)
            shadow.leave()

        for future in tuple(waiting):
            future.add_done_callback(ended)

    async def explain(self, call: Call) -> Reply:
        """Answer one row, and say why."""
        from bessemer.core.errors import UserError
        from bessemer.serve.why import why

        call.accepts(*JSON_KINDS)
        row = an_object(parsed(await call.body()), "the body")
        call.rows = 1
        version = self.version(call)
        work = version.batcher.work
        taken = work.take(row)
        version.users += 1
        try:
            found = (await call.wait(version.batcher.submit((taken,))))[0]
            if isinstance(found, Problem):
                raise found
            reasons = (await call.wait(version.batcher.run(lambda: why(version.predictor, row))))[0]
        except UserError as error:
            raise Problem("row", str(error)) from None
        finally:
            version.leave()
        return Reply(orjson.dumps({"model": call.model, "version": call.version, "targets": found,
                                   "why": [reason.plain() for reason in reasons]}))

    async def predict_lines(self, call: Call) -> Reply:
        """Answer JSON lines as they come, a line for each: its number, and the answer or the problem. Memory is bounded."""
        call.accepts(*LINE_KINDS)
        return Reply(self._lines(call, self.version(call)), kind=b"application/x-ndjson")

    async def _lines(self, call: Call, version: Version) -> AsyncIterator[bytes]:
        version.users += 1
        number, rest = 0, b""
        try:
            async for piece in call.pieces():
                rest += piece
                if not number and rest.startswith(codecs.BOM_UTF8):  # as Windows writes files
                    rest = rest[len(codecs.BOM_UTF8):]
                *lines, rest = rest.split(b"\n")
                if len(rest) > self.max_bytes:
                    yield _line(number + 1, Problem("too-large", f"the line has more than {self.max_bytes:,} bytes; the stream ends here"))
                    return
                for start in range(0, len(lines), self.window):
                    yield await self._window(call, version, number, lines[start:start + self.window])
                    number += len(lines[start:start + self.window])
            if rest.strip():
                yield await self._window(call, version, number, [rest])
        except Gone:
            return
        finally:
            version.leave()

    async def _window(self, call: Call, version: Version, before: int, lines: list[bytes]) -> bytes:
        """Return the answers to some lines; empty lines have none."""
        results: list[Any] = [None] * len(lines)
        taken, places = [], []
        for place, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                what = f"line {before + place + 1}"
                taken.append(version.batcher.work.take(an_object(parsed(line, what), what)))
                places.append(place)
            except Problem as problem:
                results[place] = problem
        if taken:
            call.rows += len(taken)
            found = await call.wait(version.batcher.submit(taken, patient=True), self.timeout)  # a stream may last; no line of it may
            for place, item in zip(places, found, strict=True):
                results[place] = item
        return b"".join(_line(before + place, found) for place, found in enumerate(results, 1) if found is not None)


def _line(number: int, found: Any) -> bytes:
    if isinstance(found, Problem):
        return orjson.dumps({"row": number, "problem": found.plain()}) + b"\n"
    return orjson.dumps({"row": number, "targets": found}) + b"\n"


def _said(found: Any) -> Any:
    """Return the decision in an answer, without its probabilities."""
    if isinstance(found, BaseException):
        return None
    return {target: next(item[key] for key in ("label", "labels", "tags", "value") if key in item) for target, item in found.items()}
