"""What an update keeps of its new rows beside the network, for what is made of that network later: some to learn from, some to judge by.

A smaller network that never saw them, judged by the old rows alone, would undo the update and look better than it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.data.shards import ShardReader, ShardWriter

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

HELD_OUT = "held_out"
"""Folder of the new rows, and those of the updates before, that no method learnt from."""
NEW_ROWS = "new_rows.parquet"
"""Raw inputs of new rows that were learnt, and of those of the updates before."""


def keep_new(fresh: Path, old: Path, out: Path, limit: int) -> None:
    """Write both to an update's folder.

    Args:
        fresh: the new rows, prepared: train, choose and gate.
        old: folder of the network that was updated, which may be an update too.
        out: the folder.
        limit: rows to learn from at most, evenly spread.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bessemer.stages.compress import raw_rows

    writer = ShardWriter(out / HELD_OUT)
    parts = [ShardReader(fresh / name) for name in ("choose", "gate")]
    names = next(parts[0].tables(rows=1)).column_names
    for part in (*parts, *([ShardReader(old / HELD_OUT)] if (old / HELD_OUT).is_dir() else [])):
        for table in part.tables():
            writer.add(table.select(names))
    writer.close()
    tables = [raw_rows(fresh, "train", np.arange(len(ShardReader(fresh / "train"))))[0]]
    if (old / NEW_ROWS).is_file():
        tables.append(pq.read_table(old / NEW_ROWS).select(tables[0].column_names))
    whole = pa.concat_tables(tables, promote_options="permissive")
    pq.write_table(whole.take(pa.array(np.unique(np.linspace(0, len(whole) - 1, min(limit, len(whole))).astype(np.int64)))), out / NEW_ROWS)


def with_held_out(model: Path, rows: pa.Table, truths: dict[str, np.ndarray]) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Return validation rows and truths, followed by what a network's folder holds out of its updates' new rows."""
    import numpy as np
    import pyarrow as pa

    from bessemer.stages.compress import raw_rows

    if not (model / HELD_OUT).is_dir():
        return rows, truths
    more, known = raw_rows(model, HELD_OUT, np.arange(len(ShardReader(model / HELD_OUT))))
    whole = pa.concat_tables([rows, more.select(rows.column_names)], promote_options="permissive").combine_chunks()
    return whole, {target: _joined(values, known[target]) for target, values in truths.items()}


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return both above each other; tags [N, T] of fewer units are filled up with -1, as a row of fewer units is."""
    import numpy as np

    if first.ndim == 2 and first.shape[1] != second.shape[1]:
        width = max(first.shape[1], second.shape[1])
        first, second = (np.pad(item, ((0, 0), (0, width - item.shape[1])), constant_values=-1) for item in (first, second))
    return np.concatenate([first, second])
