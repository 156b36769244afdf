"""How many rows the record batches of an Arrow file have, without reading them.

Arrow's own reader tells it of a batch that it has read. Of the file's footer and of each batch's header a few numbers are read here
(flatbuffers; https://arrow.apache.org/docs/format/Columnar.html, "IPC File Format"); all else is Arrow's.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any

_FOOTER = 10
_MARK = 0xFFFFFFFF


def batch_rows(file: Any) -> list[int]:
    """Return the rows of each batch of an open file that Arrow has opened before; a damaged one is a pyarrow.ArrowInvalid."""
    import pyarrow as pa

    try:
        end = file.seek(0, os.SEEK_END)
        size = struct.unpack("<i", _read(file, end - _FOOTER, 4))[0]
        footer = _Table.root(_read(file, end - _FOOTER - size, size))
        return [_rows(_read(file, place, head)) for place, head, _ in footer.structs(3, "<qi4xq")]
    except (struct.error, ValueError, OverflowError) as error:
        raise pa.ArrowInvalid(f"its footer cannot be read: {error}") from None


def _read(file: Any, start: int, size: int) -> bytes:
    if start < 0 or size < 0:
        raise ValueError(f"{size} bytes at {start}")
    file.seek(start)
    found: bytes = file.read(size)
    return found


def _rows(header: bytes) -> int:
    """Return what a batch's message says."""
    skipped = 8 if struct.unpack_from("<I", header)[0] == _MARK else 4  # files of before 2019 have no mark
    batch = _Table.root(header[skipped:]).table(2)
    return 0 if batch is None else batch.number(0, "<q")


@dataclass(frozen=True)
class _Table:
    """A flatbuffers table: its fields by their numbers in the schema."""

    data: bytes
    place: int

    @staticmethod
    def root(data: bytes) -> _Table:
        return _Table(data, struct.unpack_from("<I", data)[0])

    def _field(self, number: int) -> int:
        """Return a field's place, 0 where it has its default."""
        where = self.place - struct.unpack_from("<i", self.data, self.place)[0]
        size = struct.unpack_from("<H", self.data, where)[0]
        offset = struct.unpack_from("<H", self.data, where + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
        return self.place + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        place = self._field(field)
        return int(struct.unpack_from(kind, self.data, place)[0]) if place else 0

    def table(self, field: int) -> _Table | None:
        place = self._field(field)
        return _Table(self.data, place + struct.unpack_from("<I", self.data, place)[0]) if place else None

    def structs(self, field: int, kind: str) -> list[tuple[int, ...]]:
        found = self.table(field)
        if found is None:
            return []
        count = struct.unpack_from("<I", self.data, found.place)[0]
        first, step = found.place + 4, struct.calcsize(kind)
        return [struct.unpack_from(kind, self.data, first + number * step) for number in range(count)]
