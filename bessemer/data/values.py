"""Values that come one by one (cells of sheets, rows of databases) as the text that CSV would hold, in chunks.

Legend: N rows.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.types import Chunk
from bessemer.data.encoding import MARK
from bessemer.data.rows import marked, rejects

if TYPE_CHECKING:
    import pyarrow as pa

HOLDS = b"holds"
"""In the metadata of a column: whether its values, which are text, were `whole` numbers, a `number` each, or there was `nothing`."""
HEADLESS = "the first line looks like data and not like names: write a line with each column's name above it"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_HALVES = re.compile("[\ud800-\udfff]")


def word(value: Any) -> str | None:
    """Return a value as CSV would hold it; nothing and empty text are missing, bytes that are no text become MARK.

    >>> word(2.0), word(True), word(datetime.datetime(2024, 1, 31, 10, 5)), word("")
    ('2', 'true', '2024-01-31 10:05:00', None)
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _HALVES.sub(MARK, value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e16 else repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "bessemer-mark") or None
    if isinstance(value, (dict, list, tuple)):
        return _HALVES.sub(MARK, json.dumps(value, ensure_ascii=False, default=str))
    return str(value)


def distinct(names: Sequence[str], where: str) -> list[str]:
    """Return columns' names; one that is given twice is a UserError."""
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in seen:
            raise UserError(f"{where} names the column '{name}' twice (columns {seen[name] + 1} and {position + 1}); "
                            + (HEADLESS if like_values(names) else "give each column its own name"))
        seen[name] = position
    return list(names)


def like_values(names: Sequence[str]) -> bool:
    """Tell whether most of a first line's cells are numbers, and these are no scale, so that it looks like data rather than names.

    >>> like_values(["5.1", "3.5", "0.2", "setosa"]), like_values(["key", "2019", "2020", "2021"]), like_values(["a", "1"])
    (True, False, False)
    """
    numbers = [float(name) for name in names if _NUMBER.match(name.strip())]
    rising = len(numbers) > 2 and all(first < second for first, second in pairwise(numbers))
    return len(numbers) * 2 > sum(bool(name.strip()) for name in names) and not rising


def chunk_of(names: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int], columns: Sequence[str] | None = (), *,
             asked: bool = True) -> Chunk:
    """Return rows of values as a chunk of text; those that hold bytes that are no text are rejected.

    Args:
        names: of the columns.
        rows: as many values a row, [N].
        numbers: of the rows, rising, [N].
        columns: those that are read, of which alone a value may set its row aside; all where none is given.
        asked: whether they were asked for by name; bytes that are no text are missing where not.
    """
    import numpy as np
    import pyarrow as pa

    def told(value: Any) -> str | None:
        found = word(value)
        return None if not asked and isinstance(value, (bytes, bytearray, memoryview)) and MARK in (found or "") else found

    fields, arrays = [], []
    for name, values in zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True):
        if not columns or name in columns:
            arrays.append(pa.array([told(value) for value in values], pa.string()))
            holds = _holds(values)
            fields.append(pa.field(name, pa.string(), metadata={HOLDS: holds} if holds else None))
    table = pa.table(arrays, schema=pa.schema(fields))
    return without_marked(table, np.asarray(numbers, np.int64), "not valid UTF-8")


def _holds(values: Sequence[Any]) -> bytes:
    """Return what values are where all of them are numbers, or there is none; else nothing."""
    kinds = {type(value) for value in values if value is not None and value != ""}
    if not kinds:
        return b"nothing"
    if kinds <= {int}:
        return b"whole"
    if kinds <= {int, float} and all(isinstance(value, int) or value.is_integer() and abs(value) < 1e16
                                     for value in values if value is not None and value != ""):
        return b"whole"
    return b"number" if kinds <= {int, float, decimal.Decimal} else b""


def without_marked(table: pa.Table, numbers: Any, reason: str) -> Chunk:
    """Return a chunk of a table's rows without those of which a text holds MARK; these are rejected."""
    import numpy as np
    import pyarrow as pa

    bad = marked(table.columns)
    if not bad.any():
        return Chunk(table, numbers)
    content = [" | ".join(value or "" for value in row.values()).replace(MARK, "\ufffd")[:500]
               for row in table.filter(pa.array(bad)).to_pylist()]
    rejected = rejects([(int(number), reason, text) for number, text in zip(numbers[np.flatnonzero(bad)], content, strict=True)])
    return Chunk(table.filter(pa.array(~bad)), numbers[~bad], rejected)


def batched(rows: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Yield lists of at most `size` rows."""
    rest = iter(rows)
    while part := list(islice(rest, size)):
        yield part
