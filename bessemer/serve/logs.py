"""The log: one JSON object a line on stderr, without bodies, keys or texts. Lines are gathered and written a few times a second."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
import traceback
from typing import Any, TextIO

EVERY = 0.2
MOST = 64_000


class Log:
    """Writes events; within an event loop lines are gathered for EVERY seconds.

    Args:
        stream: where to; stderr by default.
        requests: whether each request is written.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, stream: TextIO | None = None, requests: bool = True) -> None:
        self.stream, self.requests = stream or sys.stderr, requests
        self._lines: list[str] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0

    def event(self, event: str, level: str = "info", **facts: Any) -> None:
        """Write one event at once."""
        line = {"time": now(), "level": level, "event": event, **facts}
        self._lines.append(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self.flush()

    def request(self, line: bytes) -> None:
        """Write a request's line, made by the caller, with the next ones."""
        self._lines.append(line.decode() + "\n")
        self._size += len(line)
        if self._size > MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            lost = f'{{"time":"{now()}","level":"error","event":"log-lost","lines":{self.lost}}}\n' if self.lost else ""
            text, count = lost + "".join(self._lines), len(self._lines)
            self._lines.clear()
            self._size = 0
            try:
                self.stream.write(text)
                self.stream.flush()
                self.lost = 0
            except OSError:  # a full disk, or nobody who reads: requests are answered all the same, and the next line says what is missing
                self.lost += count


def now() -> str:
    """Return the time, UTC, to the millisecond."""
    moment = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"


class Faults(logging.Handler):
    """Takes what the HTTP server logs: of an exception its type and place, never its message, which may hold what a user wrote."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            self.log.event("fault", level="error", error=type(error).__name__, where=places[-3:])
        else:
            self.log.event("http", level=record.levelname.lower(), message=record.msg)
