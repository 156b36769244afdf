"""Which clean rows are used, and in which split: duplicates and conflicts out, then sampling, then the split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError
from bessemer.data import by, duplicates
from bessemer.data.near import NearDuplicates
from bessemer.data.nearness import Nearness, nearness, with_near
from bessemer.data.quarantine import SHOWN, Quarantine
from bessemer.data.split import SPLITS, Population, Splitter, order

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SAMPLING = 1_002


@dataclass(frozen=True)
class Rules:
    """What decides.

    Attributes:
        inputs: columns whose equality makes a duplicate.
        targets: columns of labels; the first one stratifies.
        values: other targets; they make rows differ, no more.
        splitter: how rows are divided.
        seed: of the run.
        limit: rows to keep, or None.
        duplicates: `"remove"` or `"keep"`.
        conflicts: `"remove"` or `"keep"`.
        scratch: folder for temporary files.
        hashed: compare rows by a 64-bit hash instead of an MD5 of their text: for tables of many columns.
        digits: rows whose numbers are equal in this many significant digits, and words but for case, are duplicates; None: exact ones.
        unlabelled: rows without any label are among them; they go to training.
        near: which texts nearly repeat one another; None: that is not asked.
    """

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    splitter: Splitter
    seed: int
    limit: int | None
    duplicates: str
    conflicts: str
    scratch: Path
    values: tuple[str, ...] = ()
    hashed: bool = False
    digits: int | None = None
    unlabelled: bool = False
    near: NearDuplicates | None = None


@dataclass(frozen=True)
class Selection:
    """What was decided.

    Attributes:
        row_ids: int64 [N], rows that are used, rising.
        splits: int8 [N], the position in SPLITS of each.
        overlap: bool [N], rows of validation and test whose inputs also occur in training; None where nothing was kept twice.
        names: of the sources.
        rows_out: int64 [sources], rows used of each.
        unsampled: int64 [sources], rows that `limit` left out.
        labels: split -> target label -> rows (of the first target), for people.
        overlaps: split -> rows that overlap with training.
        kept_duplicates: duplicates that stayed.
        kept_conflicts: rows of conflicting labels that stayed.
        notes: lines for people.
    """

    row_ids: np.ndarray
    splits: np.ndarray
    overlap: np.ndarray | None
    names: list[str]
    rows_out: np.ndarray
    unsampled: np.ndarray
    labels: dict[str, dict[str, int]]
    overlaps: dict[str, int] = field(default_factory=dict)
    kept_duplicates: int = 0
    kept_conflicts: int = 0
    notes: list[str] = field(default_factory=list)

    def split_of(self, row_ids: np.ndarray) -> np.ndarray:
        """Return the split of each row, -1 where it is not used; int8 [n]."""
        import numpy as np

        places = np.minimum(np.searchsorted(self.row_ids, row_ids), len(self.row_ids) - 1)
        found: np.ndarray = np.where(self.row_ids[places] == row_ids, self.splits[places], -1).astype(np.int8)
        return found

    def overlap_of(self, row_ids: np.ndarray) -> np.ndarray:
        """Return whether each used row overlaps with training, bool [n]."""
        import numpy as np

        assert self.overlap is not None
        found: np.ndarray = self.overlap[np.searchsorted(self.row_ids, row_ids)]
        return found


def select(file: Path, names: list[str], quarantine: Quarantine, rules: Rules) -> Selection:
    """Decide about every clean row; duplicates and conflicts go to quarantine.

    Args:
        file: the clean Parquet file.
        names: of the sources, by number.
        quarantine: takes what is removed.
        rules: what decides.
    """
    import numpy as np
    import pyarrow as pa

    twins = duplicates.find(file, duplicates.Compared(rules.inputs, rules.targets, rules.values, rules.hashed, rules.digits), names,
                            rules.scratch)
    given = rules.splitter.given
    out = pa.table({"row_id": pa.array([], pa.int64()), "reason": pa.array([], pa.string()), "detail": pa.array([], pa.string())})
    kept_conflicts, kept_duplicates = twins.conflicts, twins.duplicates
    if rules.conflicts == "remove" and not given:
        out = pa.concat_tables([out, _because(twins.conflicts, "conflicting labels")])
        kept_conflicts = twins.conflicts.slice(0, 0)
    if rules.duplicates == "remove" and not given:
        rest = ~np.isin(twins.duplicates["row_id"].to_numpy(), out["row_id"].to_numpy())
        out = pa.concat_tables([out, _duplicates(twins.duplicates.filter(pa.array(rest)))])
        kept_duplicates = twins.duplicates.slice(0, 0)
    if rules.unlabelled:
        out = pa.concat_tables([out, _repeats(twins.rows, out["row_id"].to_numpy())])
    _set_aside(file, out.sort_by("row_id"), names, quarantine, rules.inputs)
    rows = twins.rows.filter(pa.array(~np.isin(twins.rows["row_id"].to_numpy(), out["row_id"].to_numpy())))
    if not len(rows):
        raise UserError(f"every row was set aside, so there is nothing to learn from: {quarantine.top()}")
    found: Nearness | None = None
    if rules.near is not None:
        found = nearness(file, rows, names, rules.near, (rules.inputs, given, rules.duplicates == "remove"))
        _set_aside(file, found.out, names, quarantine, rules.inputs)
        rows = rows.filter(pa.array(~np.isin(rows["row_id"].to_numpy(), found.out["row_id"].to_numpy())))
    rows, dropped = _sample(rows, rules)
    splits, notes = _divided(file, rows, twins, rules, quarantine)
    overlap = None
    if given or len(kept_duplicates) or len(kept_conflicts) or rules.splitter.by is not None or (found and len(found.pairs)):
        overlap = _overlap(rows["key"].to_numpy(), splits)
    if found is not None:
        notes = [*notes, *found.notes]
        if overlap is not None:
            overlap, more = with_near(overlap, rows["row_id"].to_numpy(), splits, found)
            notes = [*notes, *more]
    if given and len(kept_duplicates) + len(kept_conflicts):
        notes = [*notes, f"the given splits hold {len(kept_duplicates):,} duplicates and {len(kept_conflicts):,} rows of "
                         "conflicting labels, which stay as they are"]
    if rules.digits is not None:
        notes = [*notes, _near(twins, len(kept_duplicates) > 0, rules.digits)]
    sources = _sources(file)
    return Selection(
        row_ids=rows["row_id"].to_numpy(), splits=splits, overlap=overlap, names=names, notes=notes,
        rows_out=_per_source(sources, rows["row_id"].to_numpy(), len(names)),
        unsampled=_per_source(sources, dropped, len(names)), labels=_labels(rows, splits, twins, rules),
        overlaps={} if overlap is None else {SPLITS[code]: int(overlap[splits == code].sum()) for code in (1, 2)},
        kept_duplicates=len(kept_duplicates), kept_conflicts=len(kept_conflicts))


def _bare(rows: pa.Table) -> np.ndarray:
    """Return which rows have no label at all, bool [N]."""
    import numpy as np

    found: np.ndarray = np.all([rows[name].to_numpy() < 0 for name in rows.column_names if name.startswith("code")], axis=0)
    return found


def _repeats(rows: pa.Table, gone: np.ndarray) -> pa.Table:
    """Return the rows without a label, beside those gone already, whose inputs stand in a labelled row too."""
    import numpy as np
    import pyarrow as pa

    bare_N, key_N, row_N = _bare(rows), rows["key"].to_numpy(), rows["row_id"].to_numpy()
    again_N = bare_N & np.isin(key_N, key_N[~bare_N]) & ~np.isin(row_N, gone)
    detail = ["the same input occurs with a label"] * int(again_N.sum())
    return _because(pa.table({"row_id": row_N[again_N], "detail": pa.array(detail, pa.string())}), "duplicate")


def _divided(file: Path, rows: pa.Table, twins: duplicates.Twins, rules: Rules, quarantine: Quarantine) -> tuple[np.ndarray, list[str]]:
    """Return the split of each row, int8 [N], and notes; rows without a label are trained on, the others divided as ever."""
    import numpy as np
    import pyarrow as pa

    bare_N = _bare(rows) if rules.unlabelled else np.zeros(len(rows), bool)
    if not bare_N.any():
        return rules.splitter.assign(_population(file, rows, twins, rules, quarantine))
    elsewhere = int((_given(rows)[bare_N] > 0).sum())
    if elsewhere:
        raise UserError(f"unlabelled: keep, but {elsewhere:,} rows of the given validation and test splits have no label; rows without one "
                        "can only be learnt from: give them the split train, or leave them out by 'where'")
    if bare_N.all():
        raise UserError("unlabelled: keep, and not one row has a label; to learn from text alone leave the targets out and pretrain")
    found, notes = rules.splitter.assign(_population(file, rows.filter(pa.array(~bare_N)), twins, rules, quarantine))
    splits = np.zeros(len(rows), np.int8)
    splits[~bare_N] = found
    return splits, [*notes, f"{int(bare_N.sum()):,} rows without a label are in training, for what learns from such rows"]


def _because(table: pa.Table, reason: str) -> pa.Table:
    import pyarrow as pa

    return pa.table({"row_id": table["row_id"], "reason": pa.array([reason] * len(table), pa.string()),
                     "detail": table["detail"].cast(pa.string())})


def _duplicates(table: pa.Table) -> pa.Table:
    """Return why each duplicate is set aside."""
    import pyarrow.compute as pc

    found = _because(table, "duplicate")
    return found.set_column(1, "reason", pc.if_else(table["near"], "near duplicate", "duplicate"))


def _near(twins: duplicates.Twins, kept: bool, digits: int) -> str:
    import pyarrow.compute as pc

    count = pc.sum(twins.duplicates["near"]).as_py() or 0
    like = f"equal in {digits} significant digits, letters in any case"
    if not count:
        return f"no row nearly repeats an earlier row ({like})"
    what = "they stay; those that are divided here are in one split with the row that they repeat" if kept else "they are in quarantine"
    return f"{count:,} rows nearly repeat an earlier row ({like}), and {len(twins.duplicates) - count:,} exactly; {what}"


def _set_aside(file: Path, out: pa.Table, names: list[str], quarantine: Quarantine, inputs: tuple[str, ...]) -> None:
    """Write removed rows with their first input to quarantine, a batch at a time."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    gone = out["row_id"].to_numpy()
    if not len(gone):
        return
    with pq.ParquetFile(file, pre_buffer=False) as clean:
        for batch in clean.iter_batches(batch_size=8192, columns=["row_id", "source", "row", inputs[0]], use_threads=False):
            found = batch.filter(pa.array(np.isin(batch.column("row_id").to_numpy(), gone)))
            places = np.searchsorted(gone, found.column("row_id").to_numpy())
            for source in np.unique(found.column("source").to_numpy()):
                mask = pc.equal(found.column("source"), pa.scalar(int(source), pa.int32()))
                part, why = found.filter(mask), out.take(pa.array(places)).filter(mask)
                first = part.column(inputs[0])
                plain = pa.nulls(len(first), pa.string()) if pa.types.is_nested(first.type) else first.cast(pa.string())
                shown = pc.utf8_slice_codeunits(plain, 0, SHOWN)
                quarantine.add(names[int(source)], part.column("row"), why["reason"].combine_chunks(),
                               why["detail"].combine_chunks(), shown)


def _sample(rows: pa.Table, rules: Rules) -> tuple[pa.Table, np.ndarray]:
    """Return the rows that `limit` keeps, in their order, and the ids of the others."""
    import numpy as np
    import pyarrow as pa

    splits = _given(rows)
    free = np.flatnonzero(splits == 0) if rules.splitter.given else np.arange(len(rows))
    if rules.limit is None or rules.limit >= len(free):
        return rows, np.array([], np.int64)
    keep = np.ones(len(rows), bool)
    keep[free[order(rows["key"].to_numpy()[free], rules.seed, SAMPLING)[rules.limit:]]] = False
    return rows.filter(pa.array(keep)), rows["row_id"].to_numpy()[~keep]


def _given(rows: pa.Table) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.index_in(rows["split"].cast(pa.string()), value_set=pa.array(SPLITS))
    return np.asarray(pc.fill_null(codes, -1).to_numpy(), np.int8)


def _population(file: Path, rows: pa.Table, twins: duplicates.Twins, rules: Rules, quarantine: Quarantine) -> Population:
    import numpy as np
    import pyarrow.parquet as pq

    names: tuple[str, ...] = ("all rows",)
    strata = np.zeros(len(rows), np.int32)
    if rules.targets:
        names = (*twins.labels[rules.targets[0]], "no label")
        strata = _with_twins(rows["code0"].to_numpy().astype(np.int32), rows["key"].to_numpy())
        strata = np.where(strata < 0, len(names) - 1, strata)
        if len(np.unique(strata)) == 1:
            aside = f". {quarantine.count:,} were set aside: {quarantine.top(1)}" if quarantine.count else ""
            left = " that are left" if aside else ""
            raise UserError(f"the target '{rules.targets[0]}' has only one label ('{names[int(strata[0])]}') in all {len(rows):,} "
                            f"rows{left}, so there is nothing to tell apart; expected at least two{aside}")
    values = None
    if rules.splitter.by is not None:
        stored = pq.read_table(file, columns=["row_id", by.COLUMN], use_threads=False)
        places = np.searchsorted(stored["row_id"].to_numpy(), rows["row_id"].to_numpy())
        whole = stored[by.COLUMN].combine_chunks()
        values = by.codes(whole.take(places)) if rules.splitter.by.kind == "group" else by.moments(whole, rules.splitter.by.column)[places]
    return Population(rows["key"].to_numpy(), strata, _given(rows), names, rules.seed, values)


def _with_twins(codes_N: np.ndarray, keys_N: np.ndarray) -> np.ndarray:
    """Return each row's label code, a missing one that of a row with equal inputs which has one.

    Of several targets such rows may lack different ones, and are no duplicates; drawn among other labels they would fall into other splits.
    """
    import numpy as np

    bare_N = codes_N < 0
    if not bare_N.any() or bare_N.all():
        return codes_N
    known, first = np.unique(keys_N[~bare_N], return_index=True)
    place = np.minimum(np.searchsorted(known, keys_N[bare_N]), len(known) - 1)
    found = codes_N.copy()
    found[bare_N] = np.where(known[place] == keys_N[bare_N], codes_N[~bare_N][first[place]], codes_N[bare_N])
    return found


def _overlap(keys: np.ndarray, splits: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = (splits > 0) & np.isin(keys, keys[splits == 0])
    return found


def _labels(rows: pa.Table, splits: np.ndarray, twins: duplicates.Twins, rules: Rules) -> dict[str, dict[str, int]]:
    import numpy as np

    result: dict[str, dict[str, int]] = {}
    for code, name in enumerate(SPLITS):
        if not rules.targets:
            result[name] = {"rows": int((splits == code).sum())}
            continue
        labels = twins.labels[rules.targets[0]]
        codes = rows["code0"].to_numpy()[splits == code]
        counts = np.bincount(codes[codes >= 0], minlength=len(labels))
        result[name] = {label: int(count) for label, count in zip(labels, counts, strict=True)}
    return result


def _sources(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return row ids and source numbers of all clean rows, in order."""
    import pyarrow.parquet as pq

    table = pq.read_table(file, columns=["row_id", "source"], use_threads=False)
    return table["row_id"].to_numpy(), table["source"].to_numpy()


def _per_source(sources: tuple[np.ndarray, np.ndarray], row_ids: np.ndarray, count: int) -> np.ndarray:
    import numpy as np

    found: np.ndarray = np.bincount(sources[1][np.searchsorted(sources[0], row_ids)], minlength=count)
    return found
