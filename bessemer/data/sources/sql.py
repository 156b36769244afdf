"""SQL: one SELECT over several sources, answered by DuckDB on disk, in bounded memory.

The query sees the named tables and nothing else: no file, no network, no extension. A table's rows are numbered by the column
`rowid` (from 0); values of CSV and of JSON lines are text (`CAST(price AS DOUBLE)`), but for lists, which are lists; what a database or a
sheet holds as numbers are numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import Nested, Tables, one_line, outside_of, picked, tables
from bessemer.data.rows import Rows
from bessemer.data.typed import batch_rows, plain_chunk

if TYPE_CHECKING:
    import duckdb

_CLOCKS = ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp")  # functions without brackets


class Sql(Rows):
    """Rows of a SELECT; a row's number is its place in the result."""

    query: Annotated[str, Field(min_length=1)]
    """One SELECT in DuckDB's SQL. Rows without ORDER BY come in an order that is the same each time."""
    tables: Annotated[dict[str, Nested], Field(min_length=1)]
    """Name in the query -> a file by its path, or a source with its `kind`."""

    @field_validator("tables")
    @classmethod
    def _names(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise ValueError(f"'{name}' cannot name a table: letters, digits and '_' only, no digit first")
        if len({name.lower() for name in value}) != len(value):
            raise ValueError("two tables have one name; SQL does not tell capitals from small letters")
        return value

    def outside(self) -> tuple[Path | str, ...]:
        """Return the files of the tables."""
        return outside_of(*self.tables.values())


@register("data/sources", "sql")
def source(config: Sql) -> Source:
    """Return the rows of a query over several sources."""
    name = f"a query over {', '.join(config.tables)}"
    files = tuple(item for item in config.outside() if isinstance(item, Path))

    def read() -> Iterator[Chunk]:
        yield from _read(config, name)

    return Source(name, files, read)


def _read(config: Sql, name: str) -> Iterator[Chunk]:
    import duckdb

    with tables() as opened:
        for position, (table, inner) in enumerate(config.tables.items()):
            found, columns = opened.load(f"t{position}", inner)
            _view(opened, f"t{position}", table, columns, found.name)
        opened.close_doors()
        database = opened.database
        _check(database, config.query)
        done, notes = 0, tuple(opened.notes)
        try:
            database.execute(f"EXPLAIN {config.query}")  # its errors, unlike a relation's, name the line
            relation = database.sql(config.query)
            names = list(relation.columns)
            for column in names:
                if names.count(column) > 1:
                    raise UserError(f"the query gives two columns named '{column}'; give one of them another name with AS")
            for batch in relation.to_arrow_reader(batch_rows(len(names))):
                chunk = plain_chunk(batch, names, done, asked=False)
                done += batch.num_rows
                yield Chunk(picked(chunk.table, config.columns, name), chunk.numbers, chunk.rejected, notes)
                notes = ()
        except duckdb.Error as error:
            raise UserError(f"the query fails: {one_line(error)}") from None
    if not done:
        raise UserError("the query gives no row; expected at least one")


def _view(opened: Tables, stored: str, table: str, columns: list[str], source_name: str) -> None:
    """Give a stored table its name and its columns theirs."""
    seen: dict[str, str] = {}
    for column in columns:
        if column.lower() in seen:
            raise UserError(f"'{source_name}' has the columns '{seen[column.lower()]}' and '{column}', which SQL does not tell apart; "
                            "rename one")
        seen[column.lower()] = column
    database = opened.database
    for position, column in enumerate(columns):
        quoted = column.replace('"', '""')
        database.execute(f'ALTER TABLE {stored} RENAME COLUMN c{position} TO "\x01{quoted}"')
    database.execute(f"ALTER TABLE {stored} DROP COLUMN number")
    for column in columns:
        quoted = column.replace('"', '""')
        database.execute(f'ALTER TABLE {stored} RENAME COLUMN "\x01{quoted}" TO "{quoted}"')
    database.execute(f'ALTER TABLE {stored} RENAME TO "{table}"')


def _check(database: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse what is not one SELECT, and what gives other rows each time."""
    (text,) = database.execute("SELECT json_serialize_sql(?)", [query]).fetchone() or ("",)
    tree = json.loads(text)
    if tree.get("error"):
        line = f", line {query.count(chr(10), 0, int(tree['position'])) + 1} of the query" if tree.get("position") else ""
        raise UserError(f"the query fails: {str(tree.get('error_message', '')).splitlines()[0][:300]}{line}; expected one SELECT")
    if len(tree["statements"]) != 1:
        raise UserError(f"the query has {len(tree['statements'])} statements; expected one SELECT")
    fixed = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')"
    changing = {row[0] for row in database.execute(fixed).fetchall()}
    for node in _nodes(tree):
        names = node.get("column_names") or [None]
        called = node.get("function_name") or (names[0] if len(names) == 1 and names[0] in _CLOCKS else None)
        if called in changing or called in _CLOCKS:
            raise UserError(f"the query calls {called}(), which gives another value each time; rows must be the same "
                            "whenever they are read")
        if isinstance(node.get("sample"), dict):
            raise UserError("the query draws a sample, another each time; use the stage's 'limit', which draws by the seed")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
