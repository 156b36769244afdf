"""What sources made of other sources share: sources inside a source's settings, and tables kept in DuckDB on disk.

DuckDB keeps its tables in a temporary folder and at most MEMORY in memory. Before anything is asked of it, its access to files,
extensions and the program's own variables is closed and its settings are locked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.pick import dump_plugin, make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Chunk, Source
from bessemer.data.columns import is_typed, texts
from bessemer.data.rows import KINDS, kind_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "512MB"
FOLDER = "data/sources"


def _make(value: Any) -> Config:
    if isinstance(value, str):
        kind = kind_of(Path(value))
        if kind is None:
            raise ValueError(f"'{value}' does not say its kind; expected a file that ends in one of {', '.join(KINDS)}, or a source "
                             "with a 'kind'")
        value = {"kind": kind, "path": value}
    config = make(FOLDER, value)
    for key in ("split", "where"):
        if getattr(config, key, None):
            raise ValueError(f"a source inside another cannot have a '{key}'; write it at the outer source")
    return config


Nested = Annotated[Config, PlainValidator(_make), PlainSerializer(lambda config: dump_plugin(FOLDER, config)),
                   WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "required": ["kind"]}],
                                   "description": "a file by its path, or a source with its kind"})]
"""A source in another source's settings: a path, or a mapping with a `kind`. Its JSON Schema is not spelt out: it would be endless."""


@dataclass
class Tables:
    """Tables in DuckDB.

    Attributes:
        database: the open connection.
        notes: what a person should know of what was read.
    """

    database: duckdb.DuckDBPyConnection
    notes: list[str] = field(default_factory=list)

    def load(self, name: str, config: Config) -> tuple[Source, list[str]]:
        """Read a source into the table `name` whose columns are c0, c1, … and `number`; return it and its columns' names.

        Rows that cannot be read are told in the notes. A source without rows is a UserError.
        """
        import duckdb
        import pyarrow as pa

        source, names, bad, first = inner(config), None, 0, ""
        self.database.execute("BEGIN")
        try:
            for chunk in source.read():
                if chunk.rejected is not None and len(chunk.rejected):
                    row = chunk.rejected.slice(0, 1).to_pylist()[0]
                    first = first or f"row {row['row']}: {row['reason']}"
                    bad += len(chunk.rejected)
                if not chunk.table.num_columns or not len(chunk.table):
                    continue
                columns = [texts(chunk.table[column]) for column in chunk.table.column_names]
                feed = pa.table([*columns, chunk.numbers], names=[*(f"c{i}" for i in range(len(columns))), "number"])
                self.database.register("feed", feed)
                self.database.execute(f"INSERT INTO {name} SELECT * FROM feed" if names is not None else
                                      f"CREATE TABLE {name} AS SELECT * FROM feed")
                self.database.unregister("feed")
                names = list(chunk.table.column_names)
            self.database.execute("COMMIT")
        except duckdb.Error as error:
            raise UserError(f"'{source.name}' cannot be joined with other sources ({one_line(error)})") from None
        if bad:
            self.notes.append(f"{source.name}: {bad:,} row{'s' * (bad != 1)} cannot be read and left out (the first, {first})")
        if names is None:
            raise UserError(f"'{source.name}' has no row that can be read; expected at least one")
        return source, names

    def close_doors(self) -> None:
        """Allow no file, extension or variable from here on, and lock that."""
        self.database.execute("SET enable_external_access = false; SET python_enable_replacements = false; "
                              "SET lock_configuration = true")


@contextmanager
def tables() -> Iterator[Tables]:
    """Open DuckDB in a temporary folder that goes when this ends; one thread, so that rows keep their order."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="bessemer-") as folder:
        settings = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "memory_limit": MEMORY,
                    "temp_directory": f"{folder}/spill", "threads": "1"}
        with duckdb.connect(f"{folder}/tables.duckdb", config=settings) as database:
            yield Tables(database)


def inner(config: Any) -> Source:
    """Return the source of a config inside another's, its columns renamed as it says."""
    source: Source = plugin_of(FOLDER, config).function(config)

    def read() -> Iterator[Chunk]:
        for chunk in source.read():
            names = [config.rename.get(name, name) for name in chunk.table.column_names]
            yield Chunk(chunk.table.rename_columns(names), chunk.numbers, chunk.rejected, chunk.notes)

    return Source(source.name, source.files, read) if config.rename else source


def outside_of(*configs: Any) -> tuple[Path | str, ...]:
    """Return what decides the rows of sources: files and checksums, each once."""
    return tuple(dict.fromkeys(item for config in configs for item in getattr(config, "outside", tuple)()))


def picked(table: pa.Table, columns: tuple[str, ...] | None, name: str) -> pa.Table:
    """Return the columns asked for; one that is not there is a UserError."""
    for column in columns or ():
        if column not in table.column_names:
            raise UserError(f"'{name}' has no column '{column}'{nearest(column, table.column_names)}")
    return table.select(list(columns)) if columns is not None else table


def one_line(error: Exception) -> str:
    """Return DuckDB's first sentence and the line that it points at."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = next((line.split(":")[0].lower() for line in lines if line.startswith("LINE ")), "")
    return lines[0][:300].rstrip("!.") + (f", {where} of the query" if where else "")


def opened(column: pa.ChunkedArray) -> pa.Array:
    """Return a column's values; those of JSON as their text."""
    return texts(column) if is_typed(column) else column.combine_chunks()
