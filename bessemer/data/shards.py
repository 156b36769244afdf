"""Shards: prepared rows on disk as Arrow IPC files, one record batch each, mapped into memory and read by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 65_536
BYTES = 8 << 20


class ShardWriter:
    """Writes tables as `00000.arrow`, `00001.arrow`, …; equal rows give equal bytes.

    A shard ends at 65,536 rows or 8 MiB, whichever comes first, so that memory stays flat however long the texts are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.shard = folder, 0
        self.waiting: list[pa.Table] = []
        self.rows = self.size = self.total = 0
        folder.mkdir(parents=True)

    def add(self, table: pa.Table) -> None:
        """Append rows; all tables have the same columns."""
        while len(table):
            size = max(1, table.nbytes // len(table))
            part = table.slice(0, max(1, min(ROWS - self.rows, (BYTES - self.size) // size)))
            table = table.slice(len(part))
            self.waiting.append(part)
            self.rows, self.size, self.total = self.rows + len(part), self.size + size * len(part), self.total + len(part)
            if self.rows >= ROWS or self.size >= BYTES - size:
                self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self.waiting:
            return
        table = pa.concat_tables(self.waiting)
        batch = pa.record_batch([_whole(column) for column in table.columns], schema=table.schema)
        with pa.OSFile(str(self.folder / f"{self.shard:05d}.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
            out.write_batch(batch)
        self.shard, self.waiting, self.rows, self.size = self.shard + 1, [], 0, 0

    def close(self) -> None:
        """Write what is left."""
        self._flush()


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one freshly laid out array: bytes must not depend on how the chunks were cut."""
    import pyarrow as pa

    return pa.concat_arrays([*column.chunks, column.chunks[0].slice(0, 0)]) if column.num_chunks else column.combine_chunks()


class ShardReader:
    """One split, read by position without loading it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, list[np.ndarray]] = {}
        self.files = sorted(folder.glob("*.arrow"))
        if not self.files and (folder.parent / "manifest.json").is_file():
            raise UserError(f"the {folder.name} split of '{folder.parent}' has no rows, and this reads some; give prepare's split a "
                            f"'{folder.name}' part above 0")
        if not self.files:
            raise UserError(f"'{folder}' holds no prepared rows; run the recipe's prepare stage")

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        import pyarrow as pa

        found = []
        for file in self.files:
            try:
                found.append(pa.ipc.open_file(pa.memory_map(str(file))).get_batch(0))
            except pa.ArrowInvalid as error:
                raise UserError(f"'{file}' is damaged ({str(error).splitlines()[0]}); delete '{folder_of(file)}' and run the "
                                "recipe again to make it anew") from None
        return found

    @cached_property
    def _starts(self) -> np.ndarray:
        import numpy as np

        return np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._starts[-1])

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the stored columns."""
        return tuple(self._batches[0].schema.names)

    def take(self, positions: np.ndarray, columns: Sequence[str] | None = None) -> pa.Table:
        """Return rows by position (int [B], any order, repeats allowed), in that order; `columns` None means all."""
        import numpy as np
        import pyarrow as pa

        wanted = list(columns) if columns is not None else list(self.columns)
        positions = np.asarray(positions, np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions must be 0 to {len(self) - 1}, not {positions.min()} to {positions.max()}")
        shards = np.searchsorted(self._starts, positions, side="right") - 1
        parts, places = [], []
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            local = pa.array(positions[here] - self._starts[shard])
            parts.append(pa.Table.from_batches([self._batches[shard].select(wanted).take(local)]))
            places.append(here)
        if not parts:
            return pa.Table.from_batches([self._batches[0].select(wanted).slice(0, 0)])
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(parts).combine_chunks().take(pa.array(back))

    def stored(self, name: str) -> np.ndarray:
        """Return a whole column of numbers, [N]."""
        import numpy as np

        return np.concatenate([batch.column(name).to_numpy(zero_copy_only=False) for batch in self._batches])

    def rows(self, name: str, positions: np.ndarray) -> np.ndarray:
        """Return rows of a column of numbers [B], of fixed-size lists of numbers [B, W], or of lists of codes [B, T] with -1 beyond a
        row's end, by position, in that order.
        """
        import numpy as np
        import pyarrow as pa

        if pa.types.is_list(self._batches[0].schema.field(name).type):
            return padded(self.take(positions, [name]).column(0).combine_chunks())
        parts = self._views(name)
        positions = np.asarray(positions, np.int64)
        if len(parts) == 1:
            found: np.ndarray = parts[0][positions]
            return found
        shards = np.searchsorted(self._starts, positions, side="right") - 1
        result = np.empty((len(positions), *parts[0].shape[1:]), parts[0].dtype)
        for shard in np.unique(shards):
            here = shards == shard
            result[here] = parts[shard][positions[here] - self._starts[shard]]
        return result

    def _views(self, name: str) -> list[np.ndarray]:
        """Return a column of each shard over the mapped file itself."""
        if name not in self._opened:
            self._opened[name] = [flat(batch.column(name)) for batch in self._batches]
        return self._opened[name]

    def lengths(self, name: str) -> np.ndarray:
        """Return the number of items in each row of a column of lists, int64 [N]."""
        import numpy as np
        import pyarrow.compute as pc

        return np.concatenate([pc.list_value_length(batch.column(name)).to_numpy(zero_copy_only=False)
                               for batch in self._batches]).astype(np.int64)

    def tables(self, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.Table]:
        """Yield the rows in order, at most `rows` at a time."""
        import pyarrow as pa

        for batch in self._batches:
            chosen = batch.select(list(columns)) if columns is not None else batch
            for start in range(0, batch.num_rows, rows):
                yield pa.Table.from_batches([chosen.slice(start, rows)])


def padded(lists: pa.Array) -> np.ndarray:
    """Return lists of whole numbers of 0 or more as int64 [N, T], -1 beyond the end of a row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
    size_N = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    found = np.full((len(size_N), int(size_N.max(initial=0))), -1, np.int64)
    found[np.arange(found.shape[1]) < size_N[:, None]] = lists.flatten().to_numpy()
    return found


def flat(column: pa.Array) -> np.ndarray:
    """Return a column of numbers [N], or of fixed-size lists of numbers [N, W], as numpy over the same memory; it has no nulls."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
        found: np.ndarray = column.values.to_numpy(zero_copy_only=False)[column.offset * width:(column.offset + len(column)) * width]
        return found.reshape(len(column), width)
    plain: np.ndarray = column.to_numpy(zero_copy_only=False)
    return plain


def folder_of(file: Path) -> Path:
    """Return the artifact's folder that a shard belongs to."""
    return file.parent.parent
