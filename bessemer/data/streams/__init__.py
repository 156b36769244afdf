"""Rows that no memory holds: where they come from, read block by block, one kind a file.

A plug-in's function takes its config and a `Place` and returns a RowStream. Whatever the kind, any block can be read on its own
and gives the same rows every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """What a kind of stream may use beside its config.

    Attributes:
        folder: where it keeps a copy of rows that cannot be read from the middle; made when the stream is first opened, and only
            read after that.
        numbers: the columns that are numbers, which a copy of a text format stores as such.
        columns: the columns that are used, or None for all.
        limit: bytes of the files that are read at most (a rehearsal), or None.
    """

    folder: Path
    numbers: frozenset[str] = frozenset()
    columns: tuple[str, ...] | None = None
    limit: int | None = None
