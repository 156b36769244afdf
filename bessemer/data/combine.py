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
from bessemer.core.errors import MissingColumn, UserError, nearest
from bessemer.core.pick import dump_plugin, make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Chunk, Source
from bessemer.data.columns import is_typed, texts
from bessemer.data.rows import KINDS, kind_of
from bessemer.data.values import HOLDS

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

    def load(self, name: str, config: Config, *, plain: tuple[str, ...] = (), numbers: bool = True) -> tuple[Source, list[str]]:
        """Read a source into the table `name` whose columns are c0, c1, … and `number`; return it and its columns' names.

        Lists of JSON lines become lists. Rows that cannot be read are told in the notes, as is what of JSON stays text. A source without
        rows is a UserError.

        Args:
            name: of the table.
            config: of the source.
            plain: columns that stay as the source gives them.
            numbers: whether values that a database or a sheet holds as numbers become numbers.
        """
        import duckdb
        import pyarrow as pa

        source, names, bad, first = inner(config), None, 0, ""
        held: list[set[str]] = []
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
                held = held or [set() for _ in columns]
                for place, field_ in enumerate(chunk.table.schema):
                    held[place] |= _held(chunk.table.column(place), field_)
                feed = pa.table([*columns, chunk.numbers], names=[*(f"c{i}" for i in range(len(columns))), "number"])
                self.database.register("feed", feed)
                self.database.execute(f"INSERT INTO {name} SELECT * FROM feed" if names is not None else
                                      f"CREATE TABLE {name} AS SELECT * FROM feed")
                self.database.unregister("feed")
                names = list(chunk.table.column_names)
            for place, column in enumerate(names or ()):
                if column not in plain:
                    self._typed((name, f"c{place}"), held[place], f"{source.name}: the column '{column}'", numbers=numbers)
            self.database.execute("COMMIT")
        except duckdb.Error as error:
            raise UserError(f"'{source.name}' cannot be joined with other sources ({one_line(error)})") from None
        if bad:
            self.notes.append(f"{source.name}: {bad:,} row{'s' * (bad != 1)} cannot be read and left out (the first, {first})")
        if names is None:
            raise UserError(f"'{source.name}' has no row that can be read; expected at least one")
        return source, names

    def _typed(self, at: tuple[str, str], held: set[str], told: str, *, numbers: bool) -> None:
        """Give a column of text the type of what it holds; tell where that is left as JSON text."""
        (table, column), held = at, held - {"nothing"}
        if numbers and held and held <= {"whole", "number"}:
            kind = "BIGINT" if held == {"whole"} else "DOUBLE"
            missed = f"SELECT 1 FROM {table} WHERE {column} IS NOT NULL AND TRY_CAST({column} AS {kind}) IS NULL LIMIT 1"
            if not self.database.execute(missed).fetchone():
                self.database.execute(f"ALTER TABLE {table} ALTER {column} SET DATA TYPE {kind}")
        if held == {"list"}:
            items = f"SELECT unnest(from_json({column}, '[\"JSON\"]')) AS item FROM {table}"
            kinds, whole = self.database.execute("SELECT list(DISTINCT json_type(item)), bool_and(TRY_CAST(item AS BIGINT) IS NOT NULL) "
                                                 f"FROM ({items}) WHERE json_type(item) <> 'NULL'").fetchall()[0]
            found = set(kinds or ())
            if found & {"ARRAY", "OBJECT"}:
                held = {"lists of lists or mappings"}
            else:
                exact, number = found <= {"UBIGINT", "BIGINT"}, found <= {"UBIGINT", "BIGINT", "DOUBLE"}
                kind = "VARCHAR" if not found or not number else "BIGINT" if exact and whole else "DOUBLE"
                self.database.execute(f"ALTER TABLE {table} ALTER {column} SET DATA TYPE {kind}[] USING "
                                      f"from_json({column}, '[\"{kind}\"]')")
                return
        deep = [what for what in ("lists of lists or mappings", "list", "mapping") if what in held]
        if deep:
            beside = " beside other values" if len(held) > len(deep) else ""
            whats = " and ".join(what if what.startswith("lists") else f"{what}s" for what in deep)
            self.notes.append(f"{told} holds {whats}{beside}, which are JSON text here")

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
            raise MissingColumn(f"'{name}' has no column '{column}'{nearest(column, table.column_names)}", column)
    return table.select(list(columns)) if columns is not None else table


def one_line(error: Exception) -> str:
    """Return DuckDB's first sentence and the line that it points at."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = next((line.split(":")[0].lower() for line in lines if line.startswith("LINE ")), "")
    cast = "; write CAST(… AS …): what CSV and JSON lines hold is text here" if "VARCHAR" in lines[0] and "ompare" in lines[0] else ""
    return lines[0][:300].rstrip("!.") + (f", {where} of the query" if where else "") + cast


def _held(column: pa.ChunkedArray, field_: pa.Field) -> set[str]:
    """Return what a column's values are: JSON's types, or what a source of single values says (see `data.values.chunk_of`)."""
    import pyarrow.compute as pc

    if is_typed(column):
        kinds = pc.unique(pc.struct_field(column.combine_chunks(), "type").drop_null()).to_pylist()
        return {kind if kind in ("list", "mapping") else "text" for kind in kinds}
    return {(field_.metadata or {}).get(HOLDS, b"text").decode()}


def opened(column: pa.ChunkedArray) -> pa.Array:
    """Return a column's values; those of JSON as their text."""
    return texts(column) if is_typed(column) else column.combine_chunks()
