"""Events: what a run tells while it works. Stages emit; the console, the log file and notebooks listen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]


@dataclass
class Events:
    """Hands every event, a kind and a dict of JSON values, to its listeners."""

    listeners: list[Listener] = field(default_factory=list)

    def emit(self, kind: str, **data: Any) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(kind, data)

    def progress(self, label: str, total: int | None, unit: str) -> Progress:
        """Return a context manager that reports advancing through `total` units."""
        return Progress(self, label, total, unit)


class Progress:
    """Counts units of work and tells at most ten times a second."""

    def __init__(self, events: Events, label: str, total: int | None, unit: str) -> None:
        self.events, self.label, self.total, self.unit = events, label, total, unit
        self.done = 0
        self._told = 0.0

    def __enter__(self) -> Progress:
        self.events.emit("progress_start", label=self.label, total=self.total, unit=self.unit)
        return self

    def advance(self, count: int = 1, **facts: Any) -> None:
        """Count work as done; `facts` (a loss, say) are shown beside the bar."""
        self.done += count
        now = time.monotonic()
        if now - self._told >= 0.1:
            self._told = now
            self.events.emit("progress", label=self.label, done=self.done, total=self.total, facts=facts)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.events.emit("progress_end", label=self.label, done=self.done, total=self.total)


def log_to(file: Path) -> Listener:
    """Return a listener that appends every event but progress to a JSON lines file."""

    def write(kind: str, data: dict[str, Any]) -> None:
        if kind.startswith("progress"):
            return
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 3), "event": kind, **data}, ensure_ascii=False) + "\n")

    return write
