"""Parquet: rows of typed columns, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.rows import Rows, expand, open_checked
from bessemer.data.typed import Types, batch_rows, chosen, plain_chunk


class Parquet(Rows):
    """Rows of Parquet files; files that are stacked must agree on the types of the columns used."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "parquet")
def source(config: Parquet) -> Source:
    """Return the rows of Parquet files."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        types: Types = {}
        for file in files:
            yield from _read(file, config, types)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: Parquet, types: Types) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = 0
    with open_checked(file, "Parquet", text=False) as stream:
        try:
            opened = pq.ParquetFile(stream, coerce_int96_timestamp_unit="us", pre_buffer=False, buffer_size=1 << 20)
            _check(opened.metadata, file)
            wanted = chosen(opened.schema_arrow, config.columns, file, types)
            total = opened.metadata.num_rows
            if not total:
                raise UserError(f"'{file}' has columns but no rows; expected at least one")
            for batch in opened.iter_batches(batch_size=batch_rows(len(wanted)), columns=wanted, use_threads=False):
                yield plain_chunk(batch, wanted, done, asked=config.columns is not None)
                done += batch.num_rows
        except (pa.ArrowException, OSError, OverflowError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise _damaged(file, str(error)) from None
    if done != total:
        raise _damaged(file, f"{done:,} rows found, {total:,} announced")


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"'{file}' is damaged or no Parquet file ({(why.splitlines() or ['no reason given'])[0][:300]}); was it copied "
                     "whole? Get it again")


def _check(metadata: Any, file: Path) -> None:
    """Refuse a footer that contradicts itself or the file's length, before it sizes a buffer."""
    size, rows = file.stat().st_size, 0
    for position in range(metadata.num_row_groups):
        group = metadata.row_group(position)
        rows += group.num_rows
        if group.num_rows < 0:
            raise _damaged(file, f"row group {position + 1} has {group.num_rows} rows")
        for place in range(group.num_columns):
            column = group.column(place)
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset is not None:
                start = min(start, column.dictionary_page_offset)
            if start < 0 or column.total_compressed_size < 0 or start + column.total_compressed_size > size:
                raise _damaged(file, f"column {place + 1} of row group {position + 1} lies outside the file")
    if rows != metadata.num_rows:
        raise _damaged(file, f"its row groups have {rows:,} rows, its footer {metadata.num_rows:,}")
