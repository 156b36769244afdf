"""The journal of a search: one JSON line for each thing that was measured, flushed, so that a kill costs what was under way alone.

A search decides by a clock's readings. They are read again, never taken again, when it goes on: the same questions get the same answers.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Journal:
    """Records by id, in the order in which they were made.

    Attributes:
        records: id -> what was measured, JSON values.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: dict[str, dict[str, Any]] = {}
        self._before, whole = 0.0, 0
        if file.is_file():
            text = file.read_bytes()
            whole = text.rfind(b"\n") + 1  # a last line without an end was being written when the process was killed
            for line in text[:whole].decode("utf-8").splitlines():
                record = json.loads(line)
                self.records[str(record["id"])] = record
                self._before = float(record["at"])
            if whole < len(text):
                os.truncate(file, whole)
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long the search has taken, what earlier processes took up to their last record among it."""
        return self._before + time.monotonic() - self._started

    def __contains__(self, name: str) -> bool:
        return name in self.records

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.records[name]

    def add(self, name: str, record: dict[str, Any]) -> dict[str, Any]:
        """Keep a record and return it as it will be read again."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"id": name, "at": round(self.seconds, 3), **record}, ensure_ascii=False, allow_nan=False)
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        self.records[name] = json.loads(line)
        return self.records[name]
