"""A copy of rows that cannot be read from the middle, in Arrow files of one block each: `00000.arrow`, `00000.rejected.arrow`, ….

A block's columns that are said to be numbers are stored as float64 where every text of the block is one; else the block keeps its
texts, so that cleaning decides. `copy.json` is written last: a folder without it is not a copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.artifact import write_atomic
from bessemer.core.errors import UserError
from bessemer.core.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 65_536
BYTES = 32 << 20
INDEX = "copy.json"
NUMBER = ".number"


@dataclass
class _Writer:
    """Gathers rows until they make a block."""

    folder: Path
    numbers: frozenset[str]
    blocks: list[list[int]] = field(default_factory=list)
    waiting: list[tuple[pa.Table, np.ndarray]] = field(default_factory=list)
    rejected: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    size: int = 0

    def add(self, chunk: Chunk) -> None:
        if chunk.rejected is not None and len(chunk.rejected):
            self.rejected.append(chunk.rejected)
        table, numbers = chunk.table, chunk.numbers
        while len(table):
            each = max(1, table.nbytes // len(table))
            count = max(1, min(ROWS - self.rows, (BYTES - self.size) // each))
            part = table.slice(0, count)
            self.waiting.append((part, numbers[:count]))
            self.rows, self.size = self.rows + len(part), self.size + each * len(part)
            table, numbers = table.slice(count), numbers[count:]
            if self.rows >= ROWS or self.size >= BYTES - each:
                self.flush()

    def flush(self) -> None:
        import numpy as np
        import pyarrow as pa

        if not self.waiting and not self.rejected:
            return
        bad = sum(len(table) for table in self.rejected)
        name = f"{len(self.blocks):05d}"
        if self.waiting:
            table = pa.concat_tables([part for part, _ in self.waiting]).combine_chunks()
            made = {column: _typed(table[column], column in self.numbers) for column in table.column_names}
            made[NUMBER] = pa.array(np.concatenate([numbers for _, numbers in self.waiting]))
            _write(self.folder / f"{name}.arrow", pa.table(made))
        if bad:
            _write(self.folder / f"{name}.rejected.arrow", pa.concat_tables(self.rejected))
        self.blocks.append([self.rows, bad])
        self.waiting, self.rejected, self.rows, self.size = [], [], 0, 0


def make_copy(folder: Path, chunks: Iterable[Chunk], numbers: frozenset[str], limit: int | None) -> list[list[int]]:
    """Copy rows to a folder and return each block's (rows, rejected rows); a finished copy is left as it is.

    Args:
        folder: of the copy; what an interrupted copy left there is removed.
        chunks: the rows.
        numbers: columns to store as numbers.
        limit: bytes of decoded rows after which to stop, or None.
    """
    if (folder / INDEX).is_file():
        found: list[list[int]] = json.loads((folder / INDEX).read_text(encoding="utf-8"))["blocks"]
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writer, size = _Writer(folder, numbers), 0
    for chunk in chunks:
        writer.add(chunk)
        size += chunk.table.nbytes
        if limit is not None and size > limit:
            break
    writer.flush()
    write_atomic(folder / INDEX, json.dumps({"blocks": writer.blocks}) + "\n")
    return writer.blocks


def read_copy(folder: Path, block: int, columns: tuple[str, ...] | None) -> Chunk:
    """Return one block of a copy."""
    import numpy as np
    import pyarrow as pa

    names = [*columns, NUMBER] if columns is not None else None
    bad = folder / f"{block:05d}.rejected.arrow"
    rejected = _read(bad, None) if bad.is_file() else None
    if not (folder / f"{block:05d}.arrow").is_file() and rejected is not None:
        empty: Any = pa.table({name: pa.array([], pa.string()) for name in columns or ()})
        return Chunk(empty, np.zeros(0, np.int64), rejected)
    table = _read(folder / f"{block:05d}.arrow", names)
    return Chunk(table.drop_columns([NUMBER]), table[NUMBER].to_numpy(), rejected)


def _typed(column: pa.ChunkedArray, number: bool) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    whole = whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)
    if not number or not (pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type)):
        return whole
    try:
        return pc.cast(whole, pa.float64())
    except pa.ArrowInvalid:  # a text that is no plain number: cleaning decides about it
        return whole


def _write(file: Path, table: pa.Table) -> None:
    import pyarrow as pa

    table = table.combine_chunks()
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)


def _read(file: Path, columns: list[str] | None) -> pa.Table:
    """Read a file into memory: one that is altered meanwhile is an error, where a mapped file would end the process."""
    import pyarrow as pa

    try:
        with pa.OSFile(str(file), "rb") as source:
            return read_batch(source, 0, columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"'{file}' is damaged or gone ({str(error).splitlines()[0]}); run the recipe again to copy the rows anew") from None


def read_batch(source: Any, number: int, columns: list[str] | None) -> pa.Table:
    """Return some columns of one record batch of an open Arrow file."""
    import pyarrow as pa

    opened = pa.ipc.open_file(source)
    if columns is not None:
        places = sorted(opened.schema.names.index(name) for name in columns)
        opened = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=places, use_threads=False))
    table = pa.Table.from_batches([opened.get_batch(number)])
    return table if columns is None else table.select(columns)
