"""New rows whose inputs equal those of old ones: what they say of an update's scores, and which of them must not be learnt.

Legend: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass
class Equal:
    """Counts new rows that are old ones again.

    Attributes:
        inputs: the columns that are compared, all as cleaned.
        trained: hashes of old training rows that are kept with the model.
        validation: hashes of the old validation rows that are scored.
        counts: of new rows: `training` and `validation` equal such an old row; `left_out` would have been learnt though they are
            validation rows.
    """

    inputs: tuple[str, ...]
    trained: np.ndarray
    validation: np.ndarray
    counts: dict[str, int] = field(default_factory=lambda: {"training": 0, "validation": 0, "left_out": 0})

    def seen(self, table: pa.Table) -> np.ndarray:
        """Return which clean rows equal an old validation row, bool [N], and count them and those that equal a training row."""
        import numpy as np

        hash_N = hashes(table, self.inputs)
        again_N = np.isin(hash_N, self.validation)
        self.counts["validation"] += int(again_N.sum())
        self.counts["training"] += int(np.isin(hash_N, self.trained).sum())
        return again_N

    def told(self) -> str:
        """Return the counts as the end of a sentence; empty where there are none."""
        found = self.counts
        parts = [f"{found['training']:,} equal old training rows"] if found["training"] else []
        if found["validation"]:
            parts.append(f"{found['validation']:,} equal old validation rows, {found['left_out']:,} of which are not learnt, as they would "
                         "flatter the score of old rows")
        return "".join(f"; {part}" for part in parts)


def equal_to(old: Path, data: Path, rows: int) -> Equal:
    """Return what tells which new rows are old ones.

    Args:
        old: the model's folder.
        data: the prepared data of the old rows.
        rows: validation rows that are scored at most.
    """
    import numpy as np

    from bessemer.data.shards import ShardReader
    from bessemer.stages._trained import REPLAY

    names = tuple(column.name for column in Schema.load(old).by_role(Role.INPUT) if not column.of)
    none = np.zeros(0, np.uint64)
    trained = [hashes(table, names) for table in ShardReader(old / REPLAY).tables(names)] if (old / REPLAY).is_dir() else []
    reader = ShardReader(data / "validation")
    positions = np.unique(np.linspace(0, max(0, len(reader) - 1), min(len(reader), rows)).astype(np.int64))
    return Equal(names, np.unique(np.concatenate([none, *trained])), np.unique(hashes(reader.take(positions, names), names)))


def hashes(table: pa.Table, names: Sequence[str]) -> np.ndarray:
    """Return a 64-bit hash of each row's values in these columns, uint64 [N]; equal values of one type have equal hashes."""
    import duckdb
    import numpy as np

    if not len(table):
        return np.zeros(0, np.uint64)
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.register("given", table.select(list(names)))
        found = opened.sql(f"SELECT hash({columns}) AS k FROM given").to_arrow_table()
    return found["k"].to_numpy().astype(np.uint64)
