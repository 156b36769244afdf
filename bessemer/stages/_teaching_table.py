"""New rows of a table from training rows: cells taken from other rows, numbers moved along their ranks; encoded as prepare encodes.

Every cell of a new row is a value that some training row has in that column, so it is one that prepare's cleaning let through. Draws are
keyed by (seed, copy, row id). Memory holds a pool of at most 100,000 training rows, from which cells are taken.

Legend: R rows of a block, P rows of the pool, J columns.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.keyed import uniform
from bessemer.core.run import RunContext
from bessemer.core.schema import Role, Schema
from bessemer.data.crosses import crosses_of, with_crosses
from bessemer.data.shards import ShardReader

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.stages.teach import Teach

POOL = 100_000
GROUPS = 10
PARTNER, SWAP, JUMP = 3_201, 3_202, 3_203


class TableMaker:
    """Makes rows of a table; see `Maker`."""

    def __init__(self, config: Teach, schema: Schema, data: Path, run: RunContext) -> None:
        from bessemer.modalities.vectors import open_vectors

        self.config, self.schema, self.run = config, schema, run
        self.reader = ShardReader(data / "train")
        self.vectors = open_vectors(schema, data)
        self.crosses = crosses_of(schema)
        self.columns = [column.name for column in schema.by_role(Role.INPUT) if not column.of]

    def begin(self, answers: dict[str, np.ndarray]) -> None:
        """Load the pool, sort its numbers, and group its rows by what the teachers answer of the first target."""
        import numpy as np

        if not self.config.copies:
            return
        values = next(iter(answers.values()))
        count = len(values)
        chosen = np.unique(np.linspace(0, count - 1, min(count, POOL)).astype(np.int64))
        positions = chosen if count == len(self.reader) else np.linspace(0, len(self.reader) - 1, len(chosen)).astype(np.int64)
        self.pool = self.reader.take(positions, self.columns).combine_chunks()
        self.sorted = {name: np.sort(_numbers(self.pool[name])) for name in self.columns if _is_number(self.pool[name])}
        if values.ndim == 1:
            marks = np.nanquantile(values, np.linspace(0, 1, GROUPS + 1)[1:-1])
            group_P = np.searchsorted(marks, values[chosen])
        else:
            group_P = values[chosen].argmax(1)
        self.by_group = np.argsort(group_P, kind="stable")
        self.starts = np.searchsorted(group_P[self.by_group], np.arange(group_P.max() + 2))
        ids_P = self.reader.take(positions, ("row_id",))["row_id"].to_numpy()
        self.group_of = (np.sort(ids_P), group_P[np.argsort(ids_P)])

    def key_columns(self) -> tuple[str, ...]:
        """Rows of the same encoded inputs are equal."""
        return tuple(name for name in (".numbers", ".codes") if name in self.reader.columns)

    def facts(self) -> dict[str, Any]:
        """Return the rows that cells were taken from."""
        return {"pool": len(self.pool)} if self.config.copies else {}

    def foreign(self, rows: pa.Table) -> pa.Table:
        """Return clean raw rows, encoded."""
        return self._stored(rows["row_id"].to_numpy(), {name: rows[name].combine_chunks() for name in self.columns})

    def copies(self, rows: pa.Table, copy: int) -> pa.Table:
        """Return a row made from each: a share of its cells from one other row, its other numbers moved a little."""
        import pyarrow as pa
        import pyarrow.compute as pc

        row_ids = rows["row_id"].to_numpy()
        partner_R = pa.array(self._partners(row_ids, copy))
        swap_RJ = uniform(self.run.seed, copy, row_ids, len(self.columns), SWAP) < self.config.replaced
        lot_RJ = uniform(self.run.seed, copy, row_ids, len(self.columns), JUMP)
        found = {}
        for index, name in enumerate(self.columns):
            own = rows[name].combine_chunks()
            if name in self.sorted and self.config.jump and len(self.sorted[name]):
                own = self._jumped(own, self.sorted[name], lot_RJ[:, index])
            found[name] = pc.if_else(pa.array(swap_RJ[:, index]), self.pool[name].combine_chunks().take(partner_R), own)
        return self._stored(row_ids, found)

    def _stored(self, row_ids: np.ndarray, columns: dict[str, pa.Array]) -> pa.Table:
        import pyarrow as pa

        whole = pa.table(with_crosses(columns, self.crosses))
        found = {"row_id": pa.array(row_ids), **{name: whole[name] for name in whole.column_names}}
        for name, matrix in zip((".numbers", ".codes"), self.vectors.encode(whole), strict=True):
            if matrix.shape[1]:
                found[name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
        return pa.table(found)

    def _partners(self, row_ids: np.ndarray, copy: int) -> np.ndarray:
        """Return for each row a row of the pool, int64 [R]: of the same group in a share of the copies, else any."""
        import numpy as np

        like_R, lot_R = uniform(self.run.seed, copy, row_ids, 2, PARTNER).T
        any_R = (lot_R * len(self.pool)).astype(np.int64)
        ids, groups = self.group_of
        place_R = np.minimum(np.searchsorted(ids, row_ids), len(ids) - 1)
        group_R = groups[place_R]
        start_R, size_R = self.starts[group_R], self.starts[group_R + 1] - self.starts[group_R]
        same_R = self.by_group[start_R + np.minimum((lot_R * size_R).astype(np.int64), size_R - 1)]
        # A row that is not in the pool has no known group.
        return np.where((like_R < self.config.like) & (ids[place_R] == row_ids), same_R, any_R)

    def _jumped(self, own: pa.Array, sorted_P: np.ndarray, lot_R: np.ndarray) -> pa.Array:
        """Return numbers moved by at most `jump` of the ranks, each to a value that is there; missing ones stay so."""
        import numpy as np
        import pyarrow as pa

        values = _numbers(own, keep=True)
        place_R = np.searchsorted(sorted_P, np.where(np.isnan(values), 0.0, values))
        moved_R = place_R + np.rint((2 * lot_R - 1) * self.config.jump * len(sorted_P)).astype(np.int64)
        new_R = sorted_P[np.clip(moved_R, 0, len(sorted_P) - 1)]
        return pa.array(new_R, mask=np.isnan(values)).cast(own.type, safe=False)


def _is_number(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(column.type) or pa.types.is_integer(column.type))


def _numbers(column: pa.Array | pa.ChunkedArray, keep: bool = False) -> np.ndarray:
    """Return numbers float64, missing ones as nan (`keep`) or left out."""
    import numpy as np
    import pyarrow as pa

    found: np.ndarray = column.cast(pa.float64()).to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.cast(
        pa.float64()).to_numpy()
    return found if keep else found[~np.isnan(found)]
