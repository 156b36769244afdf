"""Read data frames out of R's .rda files: its XDR serialisation ("R Internals", section 1.8), versions 2 and 3, gz, bz2, xz or plain.

Nothing is evaluated. Only numbers, logicals, strings, factors and lists of them are understood, which is what data frames are
made of; anything else in a file (functions, environments, promises, byte code) is refused.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MAX_BYTES = 2**30
MAX_SEQUENCE = 2**24  # numbers of a column that R stores in three
_MAX_DEPTH = 32
_NIL, _SYMBOL, _PAIRS, _STRING, _LOGICAL, _INTEGER, _REAL, _STRINGS, _LIST = 0, 1, 2, 9, 10, 13, 14, 16, 19
_ALTREP, _NIL_VALUE, _REFERENCE = 238, 254, 255
_HAS_ATTRIBUTES, _HAS_TAG, _LATIN1 = 1 << 9, 1 << 10, 1 << 14
_INTEGER_NA = -(2**31)
_REAL_NA_LOW_WORD = 1954  # R's NA is the quiet NaN whose low word says 1954
_NUMBERS = {_LOGICAL: ">i4", _INTEGER: ">i4", _REAL: ">f8"}


@dataclass(frozen=True)
class _Value:
    """One object of R: its type, its data (array, list of str or None, list of values, pairs) and its attributes."""

    type: int
    data: Any = None
    attributes: dict[str, _Value] = field(default_factory=dict)

    def strings(self, attribute: str) -> list[str | None]:
        """Return an attribute that is a vector of strings; empty where it is missing."""
        value = self.attributes.get(attribute)
        return list(value.data) if value is not None and value.type == _STRINGS else []


class _Refused(Exception):
    """Something that is not read; the message says what."""


class _Reader:
    """A position in the serialised bytes, and the symbols met so far, which later ones refer to."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at, self.symbols = content, 0, list[str]()

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if count < 0 or self.at + count > len(self.content):
            raise _Refused(f"the file ends early, or a length in it is wrong (at byte {self.at:,})")
        self.at += count
        return self.content[self.at - count:self.at]

    def integer(self) -> int:
        """Return the next big-endian int32."""
        return int(struct.unpack(">i", self.take(4))[0])

    def head(self) -> None:
        """Pass the format's name, the versions and the writer's encoding."""
        if self.content[:7] not in (b"RDX2\nX\n", b"RDX3\nX\n"):
            raise _Refused("it does not begin with RDX2 or RDX3 in the binary form that R's save() writes")
        self.take(7)
        version = self.integer()
        self.take(8)
        if version == 3:
            self.take(self.integer())
        elif version != 2:
            raise _Refused(f"its format is version {version}; 2 and 3 are read")

    def value(self, depth: int = 0) -> _Value:
        """Return the next object, whole."""
        if depth > _MAX_DEPTH:
            raise _Refused(f"it is nested more than {_MAX_DEPTH} deep")
        flags = self.integer()
        kind = flags & 0xFF
        if kind in (_NIL, _NIL_VALUE):
            return _Value(_NIL)
        if kind == _SYMBOL:
            self.symbols.append(str(self.value(depth + 1).data))
            return _Value(_SYMBOL, self.symbols[-1])
        if kind == _REFERENCE:
            index = flags >> 8 or self.integer()
            if not 0 < index <= len(self.symbols):
                raise _Refused(f"a reference in it points to nothing (at byte {self.at:,})")
            return _Value(_SYMBOL, self.symbols[index - 1])
        if kind == _STRING:
            return _Value(_STRING, self.text(flags))
        if kind == _PAIRS:
            return self.pairs(flags, depth)
        if kind == _ALTREP:
            return self.compact(depth)
        data = self.vector(kind, depth)
        return _Value(kind, data, self.named(depth) if flags & _HAS_ATTRIBUTES else {})

    def text(self, flags: int) -> str | None:
        """Return a string whose flags were read; None for NA."""
        size = self.integer()
        return None if size == -1 else self.take(size).decode("latin-1" if flags & _LATIN1 else "utf-8")

    def vector(self, kind: int, depth: int) -> Any:
        """Return the data of a vector: an array, or a list."""
        import numpy as np

        if kind not in (*_NUMBERS, _STRINGS, _LIST):
            raise _Refused(f"it holds an object of R's type {kind}, which is no part of a table")
        length = self.integer()
        if kind in _NUMBERS:
            kept = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self.take(length * kept.itemsize), kept).astype(kept.newbyteorder("="))
        if not 0 <= length <= (len(self.content) - self.at) // 4:
            raise _Refused(f"the file ends early, or a length in it is wrong (at byte {self.at:,})")
        values = [self.value(depth + 1) for _ in range(length)]  # each one's place depends on the sizes of those before
        if kind == _LIST:
            return values
        if any(value.type != _STRING for value in values):
            raise _Refused("a vector of strings in it holds something else")
        return [value.data for value in values]

    def pairs(self, flags: int, depth: int) -> _Value:
        """Return a pairlist as a list of (tag, value)."""
        found: list[tuple[str, _Value]] = []
        while flags & 0xFF == _PAIRS:
            if flags & _HAS_ATTRIBUTES:
                self.value(depth + 1)
            tag = self.value(depth + 1).data if flags & _HAS_TAG else ""
            found.append((str(tag), self.value(depth + 1)))
            flags = self.integer()
        if flags & 0xFF not in (_NIL, _NIL_VALUE):
            raise _Refused("a list in it has no end")
        return _Value(_PAIRS, found)

    def named(self, depth: int) -> dict[str, _Value]:
        """Return the next object, a pairlist, as a mapping."""
        found = self.value(depth + 1)
        return dict(found.data) if found.type == _PAIRS else {}

    def compact(self, depth: int) -> _Value:
        """Return what R stores by a rule: a sequence by (length, first, step), or a vector with notes about it."""
        import numpy as np

        info, state, attributes = self.value(depth + 1), self.value(depth + 1), self.named(depth)
        name = str(info.data[0][1].data) if info.type == _PAIRS and info.data[0][1].type == _SYMBOL else ""
        if name in ("compact_intseq", "compact_realseq") and state.type == _REAL and len(state.data) == 3:
            length, first, step = state.data.tolist()
            if not (0 <= length <= MAX_SEQUENCE and abs(first) < 2**31 and abs(first + step * length) < 2**31):
                raise _Refused(f"it holds a sequence of {length:,.0f} numbers from {first:,.0f}")
            values = first + step * np.arange(int(length))
            whole = name == "compact_intseq"
            return _Value(_INTEGER if whole else _REAL, values.astype(np.int32) if whole else values, attributes)
        if name.startswith("wrap_") and state.type in (_PAIRS, _LIST) and state.data:
            inner = state.data[0][1] if state.type == _PAIRS else state.data[0]
            return _Value(inner.type, inner.data, {**inner.attributes, **attributes})
        raise _Refused(f"it holds a vector stored as '{name}', which is not read")


def read_rda(file: Path) -> dict[str, pa.Table]:
    """Return the data frames that a file holds, by name.

    Integers become int64, reals float64, logicals bool, factors and strings string; NA becomes null. Row names are left out.

    Raises:
        UserError: the file is no .rda, is damaged, is larger than 1 GiB, or holds anything that is no data frame of such columns.
    """
    try:
        reader = _Reader(_plain(file))
        reader.head()
        found = reader.value()
        if found.type != _PAIRS or not found.data:
            raise _Refused("it holds no named object")
        return {name: _table(name, value) for name, value in found.data}
    except (_Refused, UnicodeDecodeError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"cannot read '{file}' as data frames of R: {error}; save it in R with "
                        f"save(<data frame>, file = <file>)") from None


def _plain(file: Path) -> bytes:
    """Return the decompressed content, bounded."""
    with file.open("rb") as stream:
        start = stream.read(6)
    if start.startswith(b"\x1f\x8b"):
        opened: Any = gzip.open(file)
    elif start.startswith(b"BZh"):
        opened = bz2.open(file)
    else:
        opened = lzma.open(file) if start.startswith(b"\xfd7zXZ") else file.open("rb")
    with opened as stream:
        content: bytes = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _Refused(f"it has more than {MAX_BYTES:,} bytes")
    return content


def _table(name: str, value: _Value) -> pa.Table:
    import pyarrow as pa

    names = value.strings("names")
    if value.type != _LIST or "data.frame" not in value.strings("class") or len(names) != len(value.data):
        raise _Refused(f"'{name}' is no data frame")
    columns = [_column(str(title), column) for title, column in zip(names, value.data, strict=True)]
    if len({len(column) for column in columns}) > 1:
        raise _Refused(f"the columns of '{name}' differ in length")
    return pa.table(columns, names=[str(title) for title in names])


def _column(name: str, value: _Value) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    classes = [found for found in value.strings("class") if found != "ordered"]
    if "dim" in value.attributes or classes not in ([], ["factor"]) or value.type not in (*_NUMBERS, _STRINGS):
        raise _Refused(f"the column '{name}' is no vector of numbers, logicals, strings or a factor{''.join(f' ({c})' for c in classes)}")
    if value.type == _STRINGS:
        return pa.array(value.data, pa.string())
    data: np.ndarray = value.data
    if value.type == _REAL:
        missing = np.isnan(data) & ((data.view(np.uint64) & 0xFFFFFFFF) == _REAL_NA_LOW_WORD)
        return pa.array(data, mask=missing)
    missing = data == _INTEGER_NA
    if value.type == _LOGICAL:
        return pa.array(data != 0, mask=missing)
    if classes != ["factor"]:
        return pa.array(data.astype(np.int64), mask=missing)
    levels = value.strings("levels")
    if not ((data[~missing] > 0) & (data[~missing] <= len(levels))).all():
        raise _Refused(f"the factor '{name}' has a code without a level")
    return pa.array(levels, pa.string()).take(pa.array(data.astype(np.int64) - 1, mask=missing))
