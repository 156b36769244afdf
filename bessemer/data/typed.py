"""Rows of files that know their types (Parquet, Arrow): which columns, whether files agree, and batches made safe and plain.

What is stored in one of several ways comes in one: dictionaries as their values, long and view strings as strings, half precision
as single, columns without a type as strings. Everything is validated before it is used: these files can hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError
from bessemer.core.types import Chunk
from bessemer.data.rows import missing_column, rejects

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 16384
CELLS = 4 << 20
Types = dict[str, tuple[str, Path]]


def chosen(schema: pa.Schema, columns: Sequence[str] | None, file: Path, types: Types) -> list[str]:
    """Return the columns to read; a name that is missing or doubled, or a type unlike an earlier file's, is a UserError.

    Args:
        schema: of the file.
        columns: what is asked for; None for all.
        file: for the messages.
        types: column -> (type, file) of the files before; this file's are added.
    """
    names = list(schema.names)
    known: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in known:
            raise UserError(f"'{file}' has two columns named '{name}' (columns {known[name] + 1} and {position + 1}); give each column "
                            "its own name")
        known[name] = position
    for name in columns or ():
        if name not in known:
            raise missing_column(name, names, file)
    if columns is None and types:
        lost = next((name for name in types if name not in known), None)
        new = next((name for name in names if name not in types), None)
        if lost is not None or new is not None:
            first = next(iter(types.values()))[1]
            raise UserError(f"'{file}' has no column '{lost}', which '{first}' has; make the files alike or name the columns to read"
                            if lost is not None else
                            f"'{file}' has a column '{new}', which '{first}' has not; make the files alike or name the columns to read")
    wanted = list(columns) if columns is not None else names
    for name in wanted:
        kind = plain_type(schema.field(known[name]).type, asked=columns is not None)
        if columns is not None and _closed(kind):
            raise UserError(f"'{file}': the column '{name}' holds {kind}, mappings of values; write the values that are meant as columns "
                            "of their own")
        _zoned(kind, name, file)
        before, where = types.setdefault(name, (str(kind), file))
        if before != str(kind):
            raise UserError(f"'{file}': the column '{name}' holds {kind}, but in '{where}' it holds {before}; make the "
                            "files alike or use them as two sources")
    return wanted


def _zoned(kind: pa.DataType, name: str, file: Path) -> None:
    """Refuse times in a time zone that nobody knows."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.tz is not None:
        try:
            pa.scalar(0, kind).cast(pa.string())
        except pa.ArrowException:
            raise UserError(f"'{file}': the column '{name}' is in the time zone '{kind.tz}', which is not known here; write it in UTC") \
                from None


def batch_rows(columns: int) -> int:
    """Return how many rows to read at once, so that a table of many columns needs no more memory than one of few."""
    return max(1, min(ROWS, CELLS // max(1, columns)))


def plain_type(kind: pa.DataType, *, asked: bool) -> pa.DataType:
    """Return the type that values of a type are given in; bytes become text where the column is asked for by name."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    if kind == pa.float16():
        return pa.float32()
    return pa.string() if asked and _bytes(kind) else kind


def plain_chunk(batch: pa.RecordBatch, wanted: list[str], done: int, *, asked: bool) -> Chunk:
    """Return a batch's rows, validated, in plain types; rows whose text is not valid UTF-8 are rejected.

    Args:
        batch: the rows as they were read.
        wanted: the columns, in order.
        done: rows before them in the file.
        asked: whether the columns were asked for by name.

    Raises:
        pyarrow.ArrowInvalid: the batch is no valid Arrow data.
    """
    import numpy as np
    import pyarrow as pa

    batch.validate()
    numbers = np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64)
    bad = np.zeros(batch.num_rows, bool)
    columns: list[pa.Array] = []
    place = {name: position for position, name in enumerate(batch.schema.names)}
    for name in wanted:
        column = batch.column(place[name])
        text = _plain(column, asked=asked)
        if _bytes(text.type) and plain_type(column.type, asked=asked) == pa.string():
            try:
                text = text.cast(pa.string())
            except pa.ArrowInvalid:
                wrong = _no_text(text)
                bad |= wrong
                text = _without(text, wrong).cast(pa.string())
        columns.append(text)
    table = pa.table(columns, names=wanted) if wanted else pa.table({"": pa.nulls(batch.num_rows)}).select([])
    if not bad.any():
        return Chunk(table, numbers)
    words = [column for column in table.filter(pa.array(bad)).columns if column.type == pa.string()]
    content = [" | ".join(value.as_py() or "" for value in values)[:500] for values in zip(*words, strict=True)]
    rejected = rejects([(int(number), "not valid UTF-8", text) for number, text in zip(numbers[bad], content, strict=True)])
    return Chunk(table.filter(pa.array(~bad)), numbers[~bad], rejected)


def _plain(column: pa.Array, *, asked: bool) -> pa.Array:
    """Return a column in its plain type, its text as bytes that are still to be checked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        size = len(column.dictionary)
        ends = pc.min_max(column.indices).as_py()
        if ends["min"] is not None and (ends["min"] < 0 or ends["max"] >= size):
            raise pa.ArrowInvalid(f"a code of {ends['max']} in a dictionary of {size} values")
        return _plain(column.dictionary, asked=asked).take(column.indices)
    if pa.types.is_run_end_encoded(column.type):
        column.validate(full=True)
        return _plain(pc.run_end_decode(column), asked=asked)
    if _words(column.type) or (asked and _bytes(column.type)):
        raw = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
        column = column.cast(raw.get(column.type, column.type))
        column.validate(full=True)  # as bytes: their places alone; whether they are text is seen value by value
        return column.cast(pa.binary())
    column.validate(full=True)
    kind = plain_type(column.type, asked=asked)
    return column if column.type == kind else column.cast(kind)


def _no_text(column: pa.Array) -> np.ndarray:
    """Return which values of a column of bytes are not valid UTF-8: bool [N]."""
    import numpy as np

    def wrong(value: bytes | None) -> bool:
        try:
            (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            return True
        return False

    return np.fromiter((wrong(value) for value in column.to_pylist()), bool, len(column))


def _without(column: pa.Array, wrong: np.ndarray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pa.array(wrong), pa.scalar(b"\xef\xbf\xbd", column.type), column)


def _words(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
            or pa.types.is_binary_view(kind))


def _closed(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind) and [kind.field(i).name for i in range(kind.num_fields)] == ["type", "value"]:
        return False
    return pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_union(kind)
