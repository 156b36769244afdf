"""What the catalogue's tables share: strings of a delimited file become numbers, categories and nulls; rows become chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.types import Chunk

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_CHUNK = 65_536


def strings(file: Path, names: Sequence[str], skip: int = 0, delimiter: str = ",", quote: str | None = None) -> pa.Table:
    """Return a delimited file (plain or .gz) as strings without spaces around them; empty ones and `?` are null.

    Args:
        file: UTF-8 text without line breaks in its values.
        names: of all its columns, in order.
        skip: lines of its header.
        delimiter: between two values.
        quote: around a value that has the delimiter.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    table = csv.read_csv(
        file,
        read_options=csv.ReadOptions(column_names=list(names), skip_rows=skip),
        parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=quote or False),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    trimmed = [pc.utf8_trim_whitespace(column) for column in table.columns]
    missing = pa.array(["", "?"])
    return pa.table([pc.if_else(pc.is_in(column, missing), None, column) for column in trimmed], names=list(names))


def numbers(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return the table with the named columns of strings as int64, or as float64 where one of them has a fraction."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in names:
        column = table[name]
        whole = pc.all(pc.match_substring_regex(column, r"^-?[0-9]+$"), min_count=0).as_py()
        table = table.set_column(table.column_names.index(name), name, column.cast(pa.int64() if whole else pa.float64()))
    return table


def with_split(table: pa.Table, train: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return the table with a column `split`: `train` where the boolean [N] says so, else `test`."""
    import pyarrow.compute as pc

    return table.append_column("split", pc.if_else(train, "train", "test"))


def chunks(table: pa.Table, first: int = 1) -> Iterator[Chunk]:
    """Yield the rows of a table that is in memory; `first` is the number of the first one in its file."""
    import numpy as np

    for start in range(0, table.num_rows, ROWS_A_CHUNK):
        part = table.slice(start, ROWS_A_CHUNK)
        yield Chunk(part, np.arange(first + start, first + start + part.num_rows, dtype=np.int64))
