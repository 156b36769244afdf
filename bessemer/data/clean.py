"""From sources to clean rows in one Parquet file on disk: reading, choosing, cleaning; what fails goes to quarantine.

The clean file's columns: `row_id` (int64, position among the rows read, all sources in order), `source` (int32), `row` (int64,
its number in the source), `split` (string or null), one column for each input and target, and `weight` and `.by` where they are asked for.
Memory holds one chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import MissingColumn, UserError
from bessemer.core.types import Chunk, Source
from bessemer.data.by import COLUMN
from bessemer.data.columns import ONE_VALUE, OneType, literal, no_texts, texts
from bessemer.data.crosses import with_crosses
from bessemer.data.memory import give_back
from bessemer.data.quarantine import Quarantine
from bessemer.data.rows import split_name

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Clean = Callable[["pa.Array"], "tuple[pa.Array, pa.Array]"]
PIECE_BYTES = 8 << 20
INTERNAL = ("row_id", "source", "row", "split", "weight", "overlap")


@dataclass(frozen=True)
class Feed:
    """One source and what is taken of it.

    Attributes:
        source: the rows.
        where: column -> the values that it may have.
        rename: column in the file -> its name here.
        split: the split of all its rows, or None.
        without: targets of which it has no column.
    """

    source: Source
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rename: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """What becomes of each column.

    Attributes:
        inputs: input column -> its modality's clean.
        targets: target column -> its modality's clean.
        weight: the column of row weights, or None.
        split: the column that names a row's split, or None.
        rehearsal: read at most about this many bytes of each source; None reads everything.
        crosses: derived input column -> the input columns that it is made of.
        by: the column by whose values rows are divided, and what reads them; they are stored as `.by`.
        unlabelled: keep rows that have no target at all.
        lists: columns whose values may be lists.
        fits: target -> an input column, and (clean values, clean values of that column) -> why a value does not fit the other.
    """

    inputs: dict[str, Clean]
    targets: dict[str, Clean]
    weight: str | None = None
    split: str | None = None
    rehearsal: int | None = None
    crosses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by: tuple[str, Clean] | None = None
    fits: Mapping[str, tuple[str, Callable[[pa.Array, pa.Array], pa.Array]]] = field(default_factory=dict)
    unlabelled: bool = False
    lists: frozenset[str] = frozenset()

    def wanted(self, feed_where: Mapping[str, tuple[str, ...]], feed_split: str | None) -> tuple[str, ...]:
        """Return the columns to read of a feed, in order, each once; one whose rows are all of one split names none."""
        extra = [name for name in (self.weight, None if feed_split else self.split, self.by[0] if self.by else None) if name]
        return tuple(dict.fromkeys([*self.inputs, *self.targets, *extra, *feed_where]))


@dataclass
class Count:
    """What became of one source's rows.

    Attributes:
        name: of the source.
        rows_in: rows read.
        not_selected: rows that `where` left out.
        kept: rows in the clean file.
        notes: what its source tells people.
    """

    name: str
    rows_in: int = 0
    not_selected: int = 0
    kept: int = 0
    notes: list[str] = field(default_factory=list)


class _Faults:
    """Why rows of a chunk are rejected: the first reason found for each."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[str, str, str | None]] = {}

    def enter(self, why: pa.Array, name: str, values: pa.Array) -> None:
        """Enter one column's reasons (null where a value is fine) where a row has none yet."""
        import pyarrow.compute as pc

        if why.null_count < len(why):
            for place in pc.indices_nonzero(why.is_valid()).to_pylist():
                value = values[place].as_py()
                self.found.setdefault(place, (why[place].as_py(), f"column '{name}'", None if value is None else str(value)))


class _Cleaner:
    """Cleans chunk after chunk; counts rows and watches that labels keep one type."""

    def __init__(self, plan: Plan, quarantine: Quarantine) -> None:
        self.plan, self.quarantine, self.next_id = plan, quarantine, 0
        self.types = {name: OneType(name, name in plan.lists) for name in plan.targets}

    def table(self, chunk: Chunk, position: int, feed: Feed, count: Count) -> pa.Table:
        """Return a chunk's clean rows."""
        import numpy as np
        import pyarrow as pa

        if chunk.rejected is not None and len(chunk.rejected):
            bad = chunk.rejected
            self.quarantine.add(count.name, bad["row"].combine_chunks(), _short(bad["reason"].to_pylist()),
                                bad["reason"].combine_chunks(), bad["content"].combine_chunks())
            count.rows_in += len(bad)
        table, numbers = chunk.table, chunk.numbers
        ids = np.arange(self.next_id, self.next_id + len(table), dtype=np.int64)
        self.next_id += len(table)
        count.rows_in += len(table)
        if feed.where and len(table):
            chosen = _chosen(table, feed.where)
            count.not_selected += int((~chosen).sum())
            table, numbers, ids = table.filter(pa.array(chosen)), numbers[chosen], ids[chosen]
        faults = _Faults()
        columns = _columns(self.plan, self.types, Chunk(table, numbers), count.name, faults)
        splits = self._splits(table, numbers, feed, count.name)
        places = np.array(sorted(faults.found), np.int64)
        found = [faults.found[place] for place in places.tolist()]
        self.quarantine.add(count.name, numbers[places], [item[0] for item in found], [item[1] for item in found],
                            [item[2] for item in found])
        kept = np.ones(len(table), bool)
        kept[places] = False
        result = pa.table({"row_id": ids, "source": pa.repeat(pa.scalar(position, pa.int32()), len(table)),
                           "row": pa.array(numbers, pa.int64()), "split": splits, **columns}).filter(pa.array(kept))
        count.kept += len(result)
        return result

    def _splits(self, table: pa.Table, numbers: np.ndarray, feed: Feed, source: str) -> pa.Array:
        import pyarrow as pa

        if feed.split:
            return pa.repeat(feed.split, len(table))
        if not self.plan.split:
            return pa.nulls(len(table), pa.string())
        values = texts(table[self.plan.split]).cast(pa.string()).dictionary_encode()
        names = []
        for code, value in enumerate(values.dictionary.to_pylist()):
            name = split_name(value)
            if name is None:
                row = numbers[values.indices.to_pylist().index(code)]
                raise UserError(f"row {row} of '{source}': the split column '{self.plan.split}' holds '{value}'; expected train, "
                                "validation or test")
            names.append(name)
        if values.null_count:
            row = numbers[values.is_null().to_pylist().index(True)]
            raise UserError(f"row {row} of '{source}': the split column '{self.plan.split}' is empty; expected train, validation "
                            "or test")
        return pa.DictionaryArray.from_arrays(values.indices, pa.array(names, pa.string())).dictionary_decode()


def _named(function: Clean, name: str, source: str) -> Clean:
    """Return a cleaning whose errors name the column and its source: a modality knows its values only."""
    import pyarrow as pa

    def cleaned(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        try:
            return function(values)
        except UserError as error:
            more = f"; {ONE_VALUE}" if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) else ""
            raise UserError(f"column '{name}' of '{source}': {error}{more}") from None

    return cleaned


def _columns(plan: Plan, types: dict[str, OneType], chunk: Chunk, source: str, faults: _Faults) -> dict[str, pa.Array]:
    """Return the clean columns of a chunk's rows; what is wrong with some is entered in `faults`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table, numbers = chunk.table, chunk.numbers
    clean: dict[str, pa.Array] = {}
    absent = pa.array([bool(plan.targets) and not plan.unlabelled] * len(table), pa.bool_())
    for name, function in plan.targets.items():
        faults.enter(types[name].wrong(table[name]), name, texts(table[name]))
        clean[name], why = types[name].clean(table[name], (numbers, source), _named(function, name, source))
        nothing = pc.coalesce(pc.equal(why, literal("missing")), clean[name].is_null())
        absent = pc.and_(absent, nothing)
        faults.enter(pc.if_else(nothing, literal(None), why), name, texts(table[name]))
    for name, function in plan.inputs.items():
        faults.enter(no_texts(table[name], lists=name in plan.lists), name, texts(table[name]))
        clean[name], why = _named(function, name, source)(texts(table[name], lists=name in plan.lists))
        faults.enter(why, name, texts(table[name]))
    for name, (other, misfit) in plan.fits.items():
        faults.enter(misfit(clean[name], clean[other]), name, texts(table[name], lists=name in plan.lists))
    why = pc.if_else(absent, literal("missing label"), literal(None))
    faults.enter(why, ", ".join(plan.targets), texts(table[next(iter(plan.inputs or plan.targets))]))
    if plan.weight:
        raw = texts(table[plan.weight])
        clean["weight"], why = _weights(raw, plan.weight)
        faults.enter(why, plan.weight, raw)
    if plan.by:
        raw = texts(table[plan.by[0]])
        clean[COLUMN], why = plan.by[1](raw)
        faults.enter(why, plan.by[0], raw)
    whole = with_crosses(clean, plan.crosses)
    order = [*plan.inputs, *plan.crosses, *plan.targets, *(["weight"] if plan.weight else []), *([COLUMN] if plan.by else [])]
    return {name: whole[name] for name in order}


def clean_rows(chunk: Chunk, plan: Plan) -> tuple[pa.Table, np.ndarray | None]:
    """Return a chunk's clean rows by the same rules as `clean`, and which of its rows they are (bool [n]; None where all are good)."""
    import numpy as np
    import pyarrow as pa

    faults = _Faults()
    table = pa.table(_columns(plan, {name: OneType(name, name in plan.lists) for name in plan.targets}, chunk, "the stream", faults))
    if not faults.found:
        return table, None
    kept = np.ones(len(table), bool)
    kept[list(faults.found)] = False
    return table.filter(pa.array(kept)), kept


def clean(feeds: list[Feed], plan: Plan, file: Path, quarantine: Quarantine,
          each: Callable[[int], None]) -> list[Count]:
    """Write the clean rows of all feeds to a Parquet file and return what became of each feed's rows.

    Args:
        feeds: the sources, in order.
        plan: what becomes of each column.
        file: the Parquet file to write.
        quarantine: takes the rows that fail.
        each: called with the number of rows after each chunk.
    """
    import pyarrow.parquet as pq

    cleaner, counts, writer = _Cleaner(plan, quarantine), [], None
    try:
        for position, (feed, name) in enumerate(zip(feeds, _names(feeds), strict=True)):
            count = Count(name, notes=[f"{name} has no column '{lost}': all of its rows are without one" for lost in sorted(feed.without)])
            counts.append(count)
            for chunk in _limited(_whole(feed, plan), plan.rehearsal):
                count.notes += chunk.notes
                for piece in _pieces(chunk):
                    table = cleaner.table(piece, position, feed, count)
                    writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd", use_dictionary=False)
                    writer.write_table(table)
                    each(len(piece.table))
                    give_back()
    finally:
        if writer is not None:
            writer.close()
    return counts


def bare(opened: Callable[[frozenset[str]], Feed], plan: Plan) -> Feed:
    """Return a feed of rows that may have no target: without the targets of which its source has no column.

    Its rows are looked through until each target has had a value, or to the end: some sources know their columns only then.

    Args:
        opened: the targets that are not read -> the feed.
        plan: what becomes of each column.
    """
    without: frozenset[str] = frozenset()
    while True:
        feed = opened(without)
        left = set(plan.targets) - without
        try:
            for chunk in _whole(feed, plan):
                left -= {name for name in left if name in chunk.table.column_names and chunk.table[name].null_count < len(chunk.table)}
                if not left:
                    break
        except MissingColumn as error:
            lost = feed.rename.get(error.column, error.column)
            if lost not in left:
                raise
            without |= {lost}
            continue
        return feed


def _names(feeds: list[Feed]) -> list[str]:
    """Return the sources' names, numbered where two are alike."""
    names = [feed.source.name for feed in feeds]
    return [name if names.count(name) == 1 else f"{name} (source {position + 1})" for position, name in enumerate(names)]


def _whole(feed: Feed, plan: Plan) -> Iterator[Chunk]:
    """Yield a source's chunks with all columns that the recipe names; of a feed without some targets these are missing in all rows."""
    import pyarrow as pa

    wanted = plan.wanted(feed.where, feed.split)
    for chunk in feed.source.read():
        table = chunk.table.rename_columns([feed.rename.get(name, name) for name in chunk.table.column_names])
        for name in wanted if table.num_columns else ():
            if name in table.column_names:
                continue
            if name not in feed.without:
                raise MissingColumn(f"'{feed.source.name}' is read without the column '{name}', which the recipe names; add it to the "
                                    f"source's 'columns' ({', '.join(table.column_names)}), or remove them to read all", name)
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
        yield Chunk(table, chunk.numbers, chunk.rejected, chunk.notes)


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    """Yield the rows of a chunk, those of long texts some at a time, since cleaning holds several copies of them."""
    rows = max(1, len(chunk.table) * PIECE_BYTES // max(1, chunk.table.nbytes))
    yield Chunk(chunk.table.slice(0, rows), chunk.numbers[:rows], chunk.rejected)
    for start in range(rows, len(chunk.table), rows):
        yield Chunk(chunk.table.slice(start, rows), chunk.numbers[start:start + rows])


def _limited(chunks: Iterator[Chunk], limit: int | None) -> Iterator[Chunk]:
    """Yield chunks, the last one cut, until about `limit` bytes have been seen."""
    import pyarrow.compute as pc

    done = 0
    for chunk in chunks:
        size = chunk.table.nbytes
        if limit is None or done + size <= limit or not len(chunk.table):
            done += size
            yield chunk
            continue
        rows = max(1, int(len(chunk.table) * (limit - done) / size))
        rejected = chunk.rejected
        if rejected is not None:
            rejected = rejected.filter(pc.less_equal(rejected["row"], int(chunk.numbers[rows - 1])))
        yield Chunk(chunk.table.slice(0, rows), chunk.numbers[:rows], rejected, chunk.notes)
        return


def _chosen(table: pa.Table, where: dict[str, tuple[str, ...]]) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = np.ones(len(table), bool)
    for name, values in where.items():
        column = texts(table[name]).cast(pa.string())
        chosen &= pc.is_in(column, value_set=pa.array(values, pa.string())).to_numpy(zero_copy_only=False)
    return chosen


def _weights(values: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    import numpy as np
    import pyarrow as pa

    try:
        found = values.cast(pa.float32()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise UserError(f"the weight column '{name}' holds something that is no number ({error}); weights are numbers of 0 or "
                        "more") from None
    bad = ~(np.isfinite(found) & (found >= 0))
    return pa.array(found), pa.array(["weight is no number of 0 or more" if wrong else None for wrong in bad], pa.string())


def _short(reasons: list[str]) -> list[str]:
    """Return the categories of reading errors: numbers in them would make each a reason of its own."""
    return ["wrong number of fields" if reason.startswith("expected ") else reason for reason in reasons]
