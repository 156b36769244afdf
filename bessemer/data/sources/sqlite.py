"""A table or a query of an SQLite file, opened for reading only; values as the text that CSV would hold."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import picked
from bessemer.data.rows import Rows, expand, open_checked
from bessemer.data.typed import batch_rows
from bessemer.data.values import batched, chunk_of, distinct

_HEAD = b"SQLite format 3\x00"
_CHANGING = ("random", "randomblob", "current_date", "current_time", "current_timestamp", "load_extension", "changes", "total_changes",
             "last_insert_rowid")


class Sqlite(Rows):
    """Rows of a table, a view or a SELECT; a row's number is its place in it."""

    path: str
    """The file."""
    table: str | None = None
    """The table or view; the only one by default."""
    query: Annotated[str, Field(min_length=1)] | None = None
    """One SELECT in SQLite's SQL, in place of a table. Without ORDER BY rows come as SQLite finds them, each time alike."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest row and the longest value."""

    @model_validator(mode="after")
    def _one(self) -> Sqlite:
        if self.table is not None and self.query is not None:
            raise ValueError("a 'table' and a 'query' are given; expected one of the two")
        return self

    def outside(self) -> tuple[Path, ...]:
        """Return the file, and what has been written beside it but not into it yet."""
        (file,) = expand((self.path,))
        beside = file.with_name(f"{file.name}-wal")
        return (file, beside) if beside.is_file() and beside.stat().st_size else (file,)


@register("data/sources", "sqlite")
def source(config: Sqlite) -> Source:
    """Return the rows of an SQLite file."""
    files = config.outside()
    what = config.table or ("a query" if config.query else "")

    def read() -> Iterator[Chunk]:
        yield from _read(files[0], config)

    return Source(f"{files[0].name}: {what}" if what else files[0].name, files, read)


def _read(file: Path, config: Sqlite) -> Iterator[Chunk]:
    with open_checked(file, "an SQLite file", text=False) as stream:
        head = stream.read(len(_HEAD))
    if head != _HEAD:
        raise UserError(f"'{file}' is no SQLite file, or encrypted; expected one that begins with 'SQLite format 3'")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            yield from _rows(file, config, database)
    except sqlite3.Error as error:
        raise _explain(file, config, error) from None


def _rows(file: Path, config: Sqlite, database: sqlite3.Connection) -> Iterator[Chunk]:
    import pyarrow as pa

    database.text_factory = lambda raw: raw.decode("utf-8", "bessemer-mark")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, config.max_row_bytes)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.execute("PRAGMA query_only = ON")
    database.execute("PRAGMA trusted_schema = OFF")
    query = config.query or _whole(file, config, database)
    if not re.match(r"(?is)\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:select|with|values)\b", query):
        raise UserError(f"'{file}': the query is no SELECT ('{query.strip()[:60]}'); expected one")
    database.set_authorizer(_allowed)
    cursor = database.execute(query)
    names = distinct([column[0] for column in cursor.description or ()], f"'{file}': the query")
    done = 0
    if config.columns:
        picked(pa.table({name: pa.nulls(0) for name in names}), config.columns, file.name)  # a name that is not there, told by all names
    for part in batched(cursor, batch_rows(len(names))):
        chunk = chunk_of(names, part, range(done + 1, done + 1 + len(part)), config.columns, asked=config.columns is not None)
        done += len(part)
        yield Chunk(picked(chunk.table, config.columns, file.name), chunk.numbers, chunk.rejected)
    if not done:
        what = f"the table '{config.table}'" if config.table else "the query" if config.query else "its table"
        raise UserError(f"'{file}': {what} has no row; expected at least one")


def _whole(file: Path, config: Sqlite, database: sqlite3.Connection) -> str:
    """Return the query for a table."""
    found = dict(database.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"))
    table = config.table or next(iter(found), "")
    if not found:
        raise UserError(f"'{file}' has no table")
    if config.table is None and len(found) > 1:
        names = sorted(found)
        raise UserError(f"'{file}' has {len(found)} tables and views ({', '.join(names[:20])}); name one: 'table: {names[0]}' in a "
                        f"recipe, '{file}#{names[0]}' in a command")
    if table not in found:
        raise UserError(f"'{file}' has no table '{table}'{nearest(table, found)}")
    quoted = table.replace('"', '""')
    numbered = found[table] == "table" and not _listed(database, table)
    return f'SELECT * FROM "{quoted}"' + (" ORDER BY rowid" if numbered else "")


def _listed(database: sqlite3.Connection, table: str) -> bool:
    """Tell whether a table has no row numbers, or has a column of that name."""
    return bool(database.execute("SELECT 1 FROM pragma_table_list WHERE name = ? AND (wr OR type <> 'table')", [table]).fetchone()
                or database.execute("SELECT 1 FROM pragma_table_info(?) WHERE lower(name) = 'rowid'", [table]).fetchone())


def _allowed(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Let a query read, and nothing else; functions that give another value each time are refused."""
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").lower() in _CHANGING else sqlite3.SQLITE_OK
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _explain(file: Path, config: Sqlite, error: sqlite3.Error) -> UserError:
    why = (str(error).splitlines() or ["no reason given"])[0][:300]
    if "too big" in why:
        return UserError(f"'{file}': a row or value longer than {config.max_row_bytes:,} bytes, the most that one may have; raise "
                         "max_row_bytes of the source if it is meant")
    if "not authorized" in why or "prohibited" in why:
        return UserError(f"'{file}': the query may not do that ({why}); it may only read, and only what is the same each time")
    if "unable to open" in why or "readonly" in why or "locked" in why:
        return UserError(f"'{file}' cannot be opened for reading ({why}); is another program writing to it, or its folder closed? Copy the "
                         "file")
    if config.query is not None and isinstance(error, (sqlite3.OperationalError, sqlite3.Warning, sqlite3.ProgrammingError)):
        return UserError(f"'{file}': the query fails: {why}")
    return UserError(f"'{file}' is damaged ({why}); was it copied whole, while nobody wrote to it?")
