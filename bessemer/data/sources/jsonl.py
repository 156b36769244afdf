"""JSON lines: one object a line. A value's JSON type is kept beside it, so that labels of mixed types are found.

A column comes as `struct<type: string, value: string>`: the type is text, number, boolean, list or mapping (null where
the key is missing or null), the value its text; lists and mappings stay JSON text. `data.columns` opens it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data import rows
from bessemer.data.rows import Rows, check_encoding, check_part, expand, missing_column, open_text, rejects

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class JsonLines(Rows):
    """Rows of JSON lines files."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest line; a longer one is set aside."""

    encoding: str | None = None
    """The encoding of the text; UTF-8 by default, or what the first bytes plainly show."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "jsonl")
def source(config: JsonLines) -> Source:
    """Return the rows of JSON lines files."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        for file in files:
            yield from _read(file, config)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: JsonLines) -> Iterator[Chunk]:
    import duckdb
    import numpy as np
    import pyarrow as pa

    seen: set[str] = set()
    keys: tuple[str, ...] = ()
    wanted, any_row, done, unread = config.columns, False, 0, 0
    opened = open_text(file, "JSON lines", config.encoding)
    notes = opened.notes
    with opened.stream as stream, duckdb.connect() as database:
        database.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        for found in rows.read_lines(stream, config.max_row_bytes):
            text, bad = rows.decode(found.lines, opened.encoding)
            done, unread = done + len(found.lines), unread + len(bad)
            good, problems = _objects(database, text)
            whole = np.array(good, np.int64)
            rejected: list[tuple[int, str, bytes | str]] = [
                (number, f"line longer than {config.max_row_bytes} bytes", head) for number, head in found.long]
            wrong = set(bad)
            rejected += [(found.numbers[i], f"not valid {opened.encoding}", rows.shown(found.lines[i])) for i in bad]
            rejected += [(found.numbers[i], reason, found.lines[i][:500]) for i, reason in problems if i not in wrong]
            numbers = np.array(found.numbers, np.int64)[whole]
            text = text.take(pa.array(whole))
            if not keys and len(text):
                keys = _keys(database, text)
            wanted = wanted if wanted is not None else (keys or None)
            table = _values(database, text, wanted or ())
            any_row = any_row or bool(len(text))
            seen |= {name for name in table.column_names if table[name].null_count < len(table)}
            if len(table) or rejected:
                yield Chunk(table, numbers, rejects(rejected) if rejected else None, notes)
                notes = ()
    if opened.encoding == "UTF-8":
        check_part(unread, done, file, config.encoding)
    for name in (config.columns or ()) if any_row else ():
        if name not in seen and name not in keys:
            raise missing_column(name, keys, file)


def _objects(database: duckdb.DuckDBPyConnection, lines: pa.Array) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the positions of lines that hold an object, and (position, reason) of the others."""
    import pyarrow as pa

    batch = pa.table({"line": lines})
    kinds = database.from_arrow(batch).project(
        "CASE WHEN json_valid(line) THEN json_type(line) END AS kind").to_arrow_table()["kind"].to_pylist()
    good = [position for position, kind in enumerate(kinds) if kind == "OBJECT"]
    return good, [(position, "not valid JSON" if kind is None else "not a JSON object")
                  for position, kind in enumerate(kinds) if kind != "OBJECT"]


def _keys(database: duckdb.DuckDBPyConnection, lines: pa.Array) -> tuple[str, ...]:
    """Return the keys of the first rows, in the order of their first appearance."""
    import pyarrow as pa

    found = database.from_arrow(pa.table({"line": lines})).project("json_keys(line) AS keys").to_arrow_table()["keys"]
    return tuple(dict.fromkeys(key for row in found.to_pylist() for key in row))


def _values(database: duckdb.DuckDBPyConnection, lines: pa.Array, columns: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    if not columns:
        return pa.table({})
    kind = ("CASE json_type(line, {0}) WHEN 'VARCHAR' THEN 'text' WHEN 'BOOLEAN' THEN 'boolean' WHEN 'ARRAY' THEN 'list' "
            "WHEN 'OBJECT' THEN 'mapping' WHEN 'NULL' THEN NULL ELSE 'number' END")
    select = []
    for position, name in enumerate(columns):
        pointer = "'/" + name.replace("~", "~0").replace("/", "~1").replace("'", "''") + "'"
        select.append(f"CASE WHEN json_type(line, {pointer}) <> 'NULL' THEN {{'type': {kind.format(pointer)}, "
                      f"'value': json_extract_string(line, {pointer})}} END AS c{position}")
    found = database.from_arrow(pa.table({"line": lines})).project(", ".join(select)).to_arrow_table()
    return found.rename_columns(list(columns))
