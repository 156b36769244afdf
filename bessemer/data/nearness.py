"""What is done about texts that nearly repeat one another: set aside, or told and scored apart.

Legend: N rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.data.near import NearDuplicates, near_pairs
from bessemer.data.split import SPLITS

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Nearness:
    """What was found.

    Attributes:
        out: rows to set aside: `row_id` (rising), `reason`, `detail`.
        pairs: ids of the rows of each pair that stays, int64 [P, 2].
        notes: lines for people.
    """

    out: pa.Table
    pairs: np.ndarray
    notes: list[str] = field(default_factory=list)


def nearness(file: Path, rows: pa.Table, names: list[str], near: NearDuplicates, how: tuple[tuple[str, ...], bool, bool]) -> Nearness:
    """Return which of the rows go because they nearly repeat another.

    Rows to be divided: those near an earlier one of the same labels (where duplicates are removed). Rows of given splits: those of
    training that are near one of validation or test, where `across` says so.

    Args:
        file: the clean Parquet file.
        rows: the rows that are used: `row_id` (rising), `split`, codes of labels.
        names: of the sources, by number.
        near: what near is.
        how: the input columns, whether splits are given, whether duplicates are removed.
    """
    import numpy as np

    inputs, given, remove = how
    ids = rows["row_id"].to_numpy()
    found, similar = near_pairs(lambda: _texts(file, ids, inputs), near)
    like = f"{near.threshold:g} or more of their {near.size}-{near.unit[:-1]} shingles in common"
    if not given:
        same = np.ones(len(found), bool)
        for column in (name for name in rows.column_names if name.startswith("code")):
            codes = rows[column].to_numpy()
            same &= codes[found[:, 0]] == codes[found[:, 1]]
        gone, kept, keep_pairs = found[:, 1], found[:, 0], ~same
        chosen = same & remove
    else:
        split = rows["split"].to_pylist()
        train = np.array([name == SPLITS[0] for name in split], bool)
        crosses = train[found[:, 0]] != train[found[:, 1]]
        gone = np.where(train[found[:, 0]], found[:, 0], found[:, 1])
        kept = found.sum(axis=1) - gone
        chosen = crosses & (near.across == "remove")
        keep_pairs = ~chosen
    out = _out(file, (ids[gone[chosen]], ids[kept[chosen]], similar[chosen]), names,
               "near duplicate of a held-out row" if given else "near duplicate")
    pairs = ids[found[keep_pairs]] if remove or given else ids[found]
    pairs = pairs[~np.isin(pairs, out["row_id"].to_numpy()).any(axis=1)] if len(pairs) else pairs
    notes = [f"{len(out):,} rows nearly repeat another ({like}) and are in quarantine"] if len(out) else []
    if len(pairs):
        notes.append(f"{len(np.unique(pairs)):,} rows nearly repeat another ({like}) and stay"
                     + ("" if given or not remove else ", as their labels differ"))
    return Nearness(out, pairs, notes or [f"no row nearly repeats another ({like})"])


def with_near(overlap: np.ndarray, row_ids: np.ndarray, splits: np.ndarray, found: Nearness) -> tuple[np.ndarray, list[str]]:
    """Return which rows of validation and test overlap with training, those that are only near included, bool [N]; and a note."""
    import numpy as np

    pairs = found.pairs[np.isin(found.pairs, row_ids).all(axis=1)] if len(found.pairs) else found.pairs
    if not len(pairs):
        return overlap, []
    places = np.searchsorted(row_ids, pairs)
    near = np.zeros(len(row_ids), bool)
    for one, other in ((0, 1), (1, 0)):
        held = (splits[places[:, one]] > 0) & (splits[places[:, other]] == 0)
        near[places[held, one]] = True
    new = int((near & ~overlap).sum())
    whole: np.ndarray = overlap | near
    told = f"{new:,} rows of validation and test are not equal but near to a row of training; they are scored apart too"
    return whole, [told] if new else []


def _texts(file: Path, ids: np.ndarray, inputs: tuple[str, ...]) -> Iterator[pa.Array]:
    """Yield the inputs of used rows as one text each, in order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as clean:
        for batch in clean.iter_batches(batch_size=8192, columns=["row_id", *inputs], use_threads=False):
            used = batch.filter(pa.array(np.isin(batch.column("row_id").to_numpy(), ids)))
            parts = [pc.fill_null(used.column(name).cast(pa.string()), "") for name in inputs]
            yield parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "\n")


def _out(file: Path, gone: tuple[np.ndarray, np.ndarray, np.ndarray], names: list[str], reason: str) -> pa.Table:
    """Return the rows to set aside, each once, with the row that it is most like (of equals, the first)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, others, similar = gone
    order = np.lexsort((others, -similar, ids))
    ids, others, similar = ids[order], others[order], similar[order]
    first = np.r_[True, ids[1:] != ids[:-1]] if len(ids) else np.zeros(0, bool)
    ids, others, similar = ids[first], others[first], similar[first]
    where = pq.read_table(file, columns=["row_id", "source", "row"], use_threads=False)
    place = np.searchsorted(where["row_id"].to_numpy(), others)
    source, row = where["source"].to_numpy()[place], where["row"].to_numpy()[place]
    details = [f"near duplicate of {names[number]} row {line} (similarity {value:.2f})"
               for number, line, value in zip(source.tolist(), row.tolist(), similar.tolist(), strict=True)]
    return pa.table({"row_id": pa.array(ids, pa.int64()), "reason": pa.array([reason] * len(ids), pa.string()),
                     "detail": pa.array(details, pa.string())})
