"""Files: Parquet, Arrow and CSV (TSV) files, here or at any address that fsspec knows (s3://, hdfs://, …), read block by block.

A block is a row group of Parquet or a record batch of Arrow. Where one of a file would take more than 64 MiB decoded, and for CSV,
which cannot be read from the middle, the file's rows are copied once into Arrow blocks of at most 32 MiB in the stage's own folder.
So a block takes 64 MiB at most. Files are read, never mapped, and those that are not copied must not change: size and time are
looked at before every block.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, RowStream
from bessemer.data.rows import expand, missing_column
from bessemer.data.streams import Place
from bessemer.data.streams._batches import batch_rows
from bessemer.data.streams._copy import make_copy, read_batch, read_copy
from bessemer.data.streams._stores import File, elsewhere

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 64 << 20
SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".csv": "csv",
            ".tsv": "csv", ".txt": "csv"}


class Files(Config):
    """Rows of Parquet, Arrow (file format) or CSV files."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, an address such as `s3://bucket/rows-*.parquet`, or a list of them; several are stacked."""
    format: Literal["auto", "parquet", "arrow", "csv"] = "auto"
    """What the files are; auto: by the end of their names."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Of CSV, the sign between fields; found in the header (one of `,` `;` tab `|`) by default."""

    def outside(self) -> tuple[Path | str, ...]:
        """Return the files here, and of those elsewhere a text that changes when they do."""
        return tuple(file.path if file.system is None else f"{file.name} {file.stamp()}" for file in _listed(self))


@dataclass
class _Part:
    """One file as blocks.

    Attributes:
        rows: of each block, rejected ones among them.
        rejected: of each block.
        read: (block of this file, first row's number - 1, columns) -> its rows.
        schema: column -> its type, for the check that files agree; of CSV every column is of any type.
    """

    file: File
    rows: list[int]
    rejected: list[int]
    read: Callable[[int, int, tuple[str, ...] | None], Chunk]
    schema: dict[str, Any]
    firsts: list[int] = field(default_factory=list)


@register("data/streams", "files")
def files(config: Files, place: Place) -> RowStream:
    """Return the rows of the files."""
    import numpy as np

    found = _listed(config)
    parts = [_part(file, index, config, place) for index, file in enumerate(found)]
    _agree(parts, place.columns)
    owners = [(part, block) for part in parts for block in range(len(part.rows))]
    starts = np.concatenate([[0], np.cumsum([part.rows[block] for part, block in owners])]).astype(np.int64)
    if not starts[-1]:
        raise UserError(f"'{found[0].name}' has columns but no rows; expected at least one")
    for part in parts:
        part.firsts = np.concatenate([[0], np.cumsum(part.rows)]).tolist()

    def read(block: int, columns: tuple[str, ...] | None) -> Chunk:
        part, own = owners[block]
        return part.read(own, part.firsts[own], columns)

    names = tuple(dict.fromkeys(name for part in parts for name in part.schema))
    return RowStream(found[0].name if len(found) == 1 else f"{found[0].name} and {len(found) - 1} more",
                     config.outside(), starts, names, read, lambda block: owners[block][0].file.name,
                     np.array([part.rejected[block] for part, block in owners], np.int64))


# ---- which files ----

def _listed(config: Files) -> list[File]:
    found: list[File] = []
    for entry in (config.path,) if isinstance(config.path, str) else config.path:
        if "://" in entry:
            found += elsewhere(entry)
        else:
            found += [File(str(path), path) for path in expand(entry)]
    if not found:
        raise UserError("a stream has an empty list of paths; name at least one file")
    return found


def _format(file: File, config: Files) -> str:
    if config.format != "auto":
        return config.format
    suffix = Path(file.name).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"'{file.name}' does not say what it is by its name; expected one of {', '.join(SUFFIXES)}, or set 'format'")
    return SUFFIXES[suffix]


def _part(file: File, index: int, config: Files, place: Place) -> _Part:
    kind = _format(file, config)
    if kind == "csv":
        return _copied(file, place, index, lambda: _csv_chunks(file, config, place), {})
    if file.whole():
        return _copied(file, place, index, lambda: _fetched_chunks(file, kind, place), {})
    opened = _parquet(file) if kind == "parquet" else _arrow(file)
    wanted = _wanted(opened, place)
    if max(opened.sizes(wanted), default=0) <= LARGEST:
        return _Part(file, opened.rows, [0] * len(opened.rows), lambda block, first, columns: _direct(opened, block, first, columns),
                     opened.schema)
    return _copied(file, place, index, lambda: opened.chunks(wanted), opened.schema)


def _wanted(opened: _Opened, place: Place) -> list[str]:
    for name in place.columns or ():
        if name not in opened.schema:
            raise missing_column(name, opened.schema, opened.file.name)
    return list(place.columns if place.columns is not None else opened.schema)


def _copied(file: File, place: Place, index: int, chunks: Callable[[], Iterator[Chunk]], schema: dict[str, Any]) -> _Part:
    folder = place.folder / f"{index:05d}"
    blocks = make_copy(folder, chunks(), place.numbers, place.limit)
    if not schema:
        table = read_copy(folder, 0, None).table if blocks else None
        schema = dict.fromkeys(table.column_names) if table is not None else {}
    return _Part(file, [sum(block) for block in blocks], [bad for _, bad in blocks],
                 lambda block, first, columns: read_copy(folder, block, columns), schema)


def _csv_chunks(file: File, config: Files, place: Place) -> Iterator[Chunk]:
    from bessemer.data.sources.csv import Csv, source

    with tempfile.TemporaryDirectory(dir=_made(place.folder)) as folder:
        path = file.path
        if file.system is not None:
            path = file.fetched(Path(folder))
        yield from source(Csv(path=str(path), delimiter=config.delimiter, columns=place.columns)).read()


def _fetched_chunks(file: File, kind: str, place: Place) -> Iterator[Chunk]:
    """Yield the rows of a file that its store gives from the beginning only."""
    with tempfile.TemporaryDirectory(dir=_made(place.folder)) as folder:
        here = File(file.name, file.fetched(Path(folder)))
        opened = _parquet(here) if kind == "parquet" else _arrow(here)
        yield from opened.chunks(_wanted(opened, place))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ---- files that are read from the middle ----

@dataclass(frozen=True)
class _Opened:
    """A file whose blocks are read on their own.

    Attributes:
        rows: of each block.
        sizes: (columns) -> bytes of each block, decoded.
        block: (number, columns or None) -> its rows.
        chunks: (columns) -> all rows in small chunks, for a copy.
        stamp: of the file when it was opened.
    """

    file: File
    schema: dict[str, Any]
    rows: list[int]
    sizes: Callable[[list[str]], list[int]]
    block: Callable[[int, list[str] | None], pa.Table]
    chunks: Callable[[list[str]], Iterator[Chunk]]
    stamp: str


def _direct(opened: _Opened, block: int, first: int, columns: tuple[str, ...] | None) -> Chunk:
    import numpy as np

    if opened.file.system is None and opened.file.stamp() != opened.stamp:
        raise UserError(f"'{opened.file.name}' was altered while it was read; let files rest while they are used, and run the recipe again")
    table = opened.block(block, list(columns) if columns is not None else None)
    if len(table) != opened.rows[block]:
        raise UserError(f"'{opened.file.name}' was altered while it was read; let files rest while they are used, and run the recipe again")
    return Chunk(table, np.arange(first + 1, first + 1 + len(table), dtype=np.int64))


def _parquet(file: File) -> _Opened:
    import numpy as np
    import pyarrow.parquet as pq

    stamp = file.stamp()
    with file.open() as source:
        metadata = pq.read_metadata(source)
        schema = metadata.schema.to_arrow_schema()
    rows = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def sizes(columns: list[str]) -> list[int]:
        found = []
        for number, count in enumerate(rows):
            group = metadata.row_group(number)
            plain = sum(group.column(i).total_uncompressed_size for i in range(group.num_columns)
                        if group.column(i).path_in_schema.split(".")[0] in columns)
            found.append(max(plain, sum(_width(schema.field(name).type) for name in columns) * count))
        return found

    def block(number: int, columns: list[str] | None) -> pa.Table:
        with file.open() as source:
            return pq.ParquetFile(source, metadata=metadata).read_row_group(number, columns=columns, use_threads=False)

    def chunks(columns: list[str]) -> Iterator[Chunk]:
        import pyarrow as pa

        done, width = 0, max(1, sum(_width(schema.field(name).type) for name in columns))
        with file.open() as source:
            opened = pq.ParquetFile(source, metadata=metadata, buffer_size=1 << 20, pre_buffer=False)
            for batch in opened.iter_batches(batch_size=max(64, min(65_536, (8 << 20) // width)), columns=columns, use_threads=False):
                yield Chunk(pa.Table.from_batches([batch]), np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64))
                done += batch.num_rows

    return _Opened(file, {entry.name: entry.type for entry in schema}, rows, sizes, block, chunks, stamp)


def _arrow(file: File) -> _Opened:
    import numpy as np
    import pyarrow as pa

    stamp = file.stamp()
    with file.open() as source:
        opened = pa.ipc.open_file(source)
        schema, rows = opened.schema, batch_rows(source)

    def sizes(columns: list[str]) -> list[int]:
        return [rows_ * sum(_width(schema.field(name).type) for name in columns) for rows_ in rows]

    def block(number: int, columns: list[str] | None) -> pa.Table:
        with file.open() as source:
            return read_batch(source, number, columns)

    def chunks(columns: list[str]) -> Iterator[Chunk]:
        done = 0
        for number, count in enumerate(rows):
            table = block(number, columns)
            yield Chunk(table, np.arange(done + 1, done + 1 + count, dtype=np.int64))
            done += count

    return _Opened(file, {entry.name: entry.type for entry in schema}, rows, sizes, block, chunks, stamp)


def _width(kind: Any) -> int:
    """Return the bytes of a value: exact for numbers and lists of fixed size, a guess for texts."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size) * _width(kind.value_type)
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 32


def _agree(parts: list[_Part], columns: tuple[str, ...] | None) -> None:
    """Refuse files whose columns differ in kind; whole numbers and floats go together."""
    first: dict[str, tuple[str, Any, str]] = {}
    for part in parts:
        for name in columns if columns is not None else part.schema:
            kind = part.schema.get(name)
            if kind is None:
                continue
            known, exact, where = first.setdefault(name, (_family(kind), kind, part.file.name))
            if known != _family(kind):
                raise UserError(f"'{part.file.name}': the column '{name}' holds {kind}, but in '{where}' it holds {exact}; make the "
                                "files alike")


@lru_cache(256)
def _family(kind: Any) -> str:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)
