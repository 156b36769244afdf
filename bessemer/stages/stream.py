"""Stream: what prepare does, for rows that no memory and no disk need hold: training reads them where they are, block by block.

stream -> runs held out for validation and test -> some training rows to fit columns on -> clean -> fit -> encode validation and test

Files: those of prepare, but `train/` holds only `stream.json`, how to read the training rows, and `rows/` the copy of rows that
cannot be read from the middle (CSV, over-large row groups). Training rows are cleaned while they are read, by the same rules: those
that fail are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.pick import Pick, dump_plugin
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import RunContext
from bessemer.core.schema import Role
from bessemer.core.types import Chunk, RowStream, Source
from bessemer.data import clean as cleaning
from bessemer.data.clean import INTERNAL, Feed, Plan
from bessemer.data.quarantine import Quarantine
from bessemer.data.selection import Selection
from bessemer.data.split import SPLITS
from bessemer.data.stream_reader import Division, Reading, StreamReader, divide
from bessemer.data.streams import Place
from bessemer.modalities import codec_of
from bessemer.stages import _streams as streams
from bessemer.stages._columns import Work, encode, expand_patterns, fit, modality, rules_of
from bessemer.stages._crosses import Given, crossed
from bessemer.stages._target_codes import refuse_in_streams

if TYPE_CHECKING:
    import numpy as np

REHEARSED_ROWS = 512


class Stream(StageConfig):
    """Rows read block by block: some fitted on, some held out, the rest left where they are."""

    source: Annotated[Config, Pick("data/streams")]
    """Where rows come from: files, or a law that they are computed by."""
    inputs: Annotated[dict[str, Annotated[Config, Pick("modalities")]], Field(min_length=1)]
    """Column -> what it is; a pattern such as `x_*` stands for every column that it names."""
    targets: Annotated[dict[str, Annotated[Config, Pick("modalities")]], Field(min_length=1)]
    """Column -> what it is (number, category)."""
    weight: str | None = None
    """The column of row weights, numbers of 0 or more."""
    validation: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Rows held out to choose by; whole runs of up to 1,024 neighbouring rows, drawn at random."""
    test: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Rows held out to score on, in the same way."""
    fit_rows: Annotated[int, Field(ge=10, le=1_000_000)] = 50_000
    """Training rows that the columns are fitted on (means, labels): the first that training reads."""
    crosses: Given = ()
    """Further inputs, each made of two to four others: `[[a, b], [c, d]]`; the product of numbers, the pair of categories."""
    shuffle: Literal["window", "none"] = "window"
    """window: blocks in random order, the rows of some of them shuffled together; none: for rows that are independent as they lie."""
    window: Annotated[int, Field(ge=1, le=1024)] = 8
    """Blocks that are shuffled together and held in memory, as are as many of the next window; a block takes up to 64 MiB."""

    @model_validator(mode="after")
    def _fits(self) -> Stream:
        for name in [*self.inputs, *self.targets]:
            if name in INTERNAL or name.startswith("."):
                raise ValueError(f"a column cannot be named '{name}', which Bessemer uses itself; write the files with another name")
        for role, columns in (("input", self.inputs), ("target", self.targets)):
            for name, config in columns.items():
                if role not in modality(config).roles:
                    raise ValueError(f"the column '{name}' is of a kind that cannot be a{'n' * (role == 'input')} {role}")
                if role == "input" and not modality(config).vector:
                    raise ValueError(f"the column '{name}' is running text; a stream has columns of tables only")
        refuse_in_streams(self.inputs)
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            raise ValueError(f"the column '{both[0]}' is an input and a target; it would be learnt from itself")
        return self


@dataclass
class _Read:
    """What is read to prepare: rows by file, and which of the clean file's rows are of which split.

    Attributes:
        stream: the rows.
        columns: that are read.
        wanted: block -> split -> rows, counted in the block.
        spans: (first id, end id, split) in the order of reading.
        done: rows read.
    """

    stream: RowStream
    columns: tuple[str, ...]
    wanted: dict[int, dict[int, np.ndarray]]
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    done: int = 0

    def feeds(self) -> list[Feed]:
        """Return one source for each file."""
        import numpy as np

        stream = self.stream
        bad = np.zeros(len(stream.starts) - 1, np.int64) if stream.rejected is None else stream.rejected
        by_file: dict[str, list[int]] = {}
        for block in sorted({*self.wanted, *np.flatnonzero(bad).tolist()}):
            by_file.setdefault(stream.place(block) if stream.place is not None else stream.name, []).append(block)
        return [Feed(Source(name, (), lambda blocks=blocks: self._chunks(blocks))) for name, blocks in by_file.items()]  # type: ignore[misc]

    def _chunks(self, blocks: list[int]) -> Iterator[Chunk]:
        import numpy as np
        import pyarrow as pa

        for block in blocks:
            chunk = self.stream.read(block, self.columns)
            none = np.zeros(0, np.int64)
            for split, rows in sorted(self.wanted.get(block, {-1: none}).items()):
                rows = rows[rows < len(chunk.table)]
                self.spans.append((self.done, self.done + len(rows), split))
                self.done += len(rows)
                yield Chunk(chunk.table.take(pa.array(rows)), chunk.numbers[rows], chunk.rejected)
                chunk = Chunk(chunk.table, chunk.numbers)


@register("stages", "stream")
def stream(config: Stream, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write prepared data whose training rows stay where they are, and return its facts."""
    opened, columns, config = _open(config, out, run)
    counts = {"validation": config.validation, "test": config.test}
    if run.rehearsal:
        counts = {name: min(count, REHEARSED_ROWS, max(1, int(opened.starts[-1]) // 8)) for name, count in counts.items()}
    division = divide(opened.starts, counts, run.seed)
    reading = Reading(run.seed, config.shuffle, config.window, columns)
    read = _Read(opened, columns, _wanted(config, division, reading, counts, opened, run))
    work = crossed(Work(config.inputs, config.targets, config.weight, {}, run, out, run.scratch / "clean.parquet"), config.crosses)
    kinds, aims = ({name: modality(item) for name, item in columns.items()} for columns in (config.inputs, config.targets))
    plan = Plan({name: item.clean for name, item in kinds.items()}, {name: item.clean for name, item in aims.items()}, config.weight,
                **rules_of(kinds, aims))
    with Quarantine(out / "quarantine.parquet") as quarantine, run.progress("reading", None, "rows") as progress:

        def each(rows: int) -> None:
            run.check()
            progress.advance(rows)

        found = cleaning.clean(read.feeds(), plan, work.clean, quarantine, each)
    chosen = _selection(work, read, [count.name for count in found], f"; set aside were: {quarantine.top()}" if quarantine.count else "")
    schema = fit(work, chosen)
    schema.save(out)
    codecs = {column.name: codec_of(column, out) for column in schema.columns if column.role != Role.WEIGHT}
    written = encode(work, _held(chosen), schema, codecs)
    source = streams.Source(
        dump_plugin("data/streams", config.source) or {}, columns, tuple(sorted(_numbers(config))), run.rehearsal,
        streams.stamps(opened, run.root), division.run_rows, {name: runs.tolist() for name, runs in division.held.items()},
        config.shuffle, config.window)
    source.save(out)
    rows = {"train": StreamReader(opened, division, reading, _never).count, **written}
    return {**_told(found, quarantine, chosen, out, run), "rows": rows, "fit_rows": int((chosen.splits == 0).sum()),
            "stream_rows": int(opened.starts[-1]), "blocks": len(opened.starts) - 1, "quarantined": quarantine.count,
            "columns": {column.name: column.facts for column in schema.columns}, **_part(config, out, run),
            "bytes": sum(item.stat().st_size for item in out.rglob("*.arrow"))}


def _open(config: Stream, out: Path, run: RunContext) -> tuple[RowStream, tuple[str, ...], Stream]:
    """Return the stream, the columns to read, and the config with its patterns replaced by column names."""
    folder = out / streams.ROWS
    if any("*" in name for name in config.inputs):
        # of files that are copied, the names come from a small copy
        names = streams.open_source(config.source, Place(run.scratch / "names", limit=1)).columns
        taken = {*config.targets, *config.inputs, config.weight, *INTERNAL}
        config = config.model_copy(update={"inputs": expand_patterns(config.inputs, list(names), taken, "the stream")})
    columns = tuple(dict.fromkeys([*config.inputs, *config.targets, *([config.weight] if config.weight else [])]))
    with run.progress("opening", None, "files"):
        opened = streams.open_source(config.source, Place(folder, _numbers(config), columns, run.rehearsal))
    for name in columns:
        if name not in opened.columns:
            raise UserError(f"'{opened.name}' has no column '{name}'{nearest(name, opened.columns[:30])}")
    return opened, columns, config


def _numbers(config: Stream) -> frozenset[str]:
    """Return the columns whose texts may be stored as the numbers that they are written as."""
    return frozenset(name for name, item in {**config.inputs, **config.targets}.items()
                     if modality(item).answer == "number" and getattr(item, "decimal", ".") != ",")


def _wanted(config: Stream, division: Division, reading: Reading, counts: Mapping[str, int], opened: RowStream,
            run: RunContext) -> dict[int, dict[int, np.ndarray]]:
    """Return block -> split -> the rows to read: those to fit on, and those that are held out, no more than asked for."""
    import numpy as np

    wanted: dict[int, dict[int, np.ndarray]] = {}
    for name, runs in division.held.items():
        left = counts[name]
        for block, begin, end in division.rows(runs):
            rows = np.arange(begin, min(end, begin + left))
            left -= len(rows)
            known = wanted.setdefault(block, {}).get(SPLITS.index(name))
            wanted[block][SPLITS.index(name)] = rows if known is None else np.concatenate([known, rows])
    reader = StreamReader(opened, division, reading, _never)
    count = min(reader.count, config.fit_rows, REHEARSED_ROWS * 4 if run.rehearsal else config.fit_rows)
    if not count:
        raise UserError(f"'{opened.name}' has no rows left to train on once {sum(counts.values()):,} are held out; lower validation and "
                        "test")
    for block, rows in reader.local(reader.batch(0, 0, count)):
        wanted.setdefault(block, {})[0] = rows
    return wanted


def _never(chunk: Chunk) -> Any:
    raise GuardError("rows are decoded by training only; this is a fault of Bessemer, please report it")


def _selection(work: Work, read: _Read, names: list[str], why: str) -> Selection:
    """Return which rows of the clean file are of which split."""
    import numpy as np
    import pyarrow.parquet as pq

    ids = pq.read_table(work.clean, columns=["row_id", "source"]) if work.clean.is_file() else None
    row_ids = ids["row_id"].to_numpy() if ids is not None else np.zeros(0, np.int64)
    spans = [span for span in read.spans if span[1] > span[0]]
    places = np.searchsorted(np.array([span[0] for span in spans]), row_ids, side="right") - 1
    splits = np.array([span[2] for span in spans], np.int8)[places] if len(row_ids) else np.zeros(0, np.int8)
    for code, name in enumerate(SPLITS):
        if not (splits == code).any():
            what = "training rows to fit columns on" if code == 0 else f"rows of {name}"
            raise UserError(f"'{read.stream.name}': none of the {what} could be used{why}")
    rows_out = np.bincount(ids["source"].to_numpy(), minlength=len(names)) if ids is not None else np.zeros(len(names), np.int64)
    return Selection(row_ids, splits, None, names, rows_out, np.zeros(len(names), np.int64), {})


def _held(chosen: Selection) -> Selection:
    """Return the selection without the training rows, which are not stored."""
    from dataclasses import replace

    held = chosen.splits > 0
    return replace(chosen, row_ids=chosen.row_ids[held], splits=chosen.splits[held])


def _told(found: list[cleaning.Count], quarantine: Quarantine, chosen: Selection, out: Path, run: RunContext) -> dict[str, Any]:
    """Write `funnel.json`, of the rows that were read to prepare; tell what became of them; refuse to go on where one was lost."""
    sources = []
    for position, count in enumerate(found):
        rejected = dict(sorted(quarantine.reasons.get(count.name, {}).items()))
        rows_out = int(chosen.rows_out[position])
        if count.rows_in != rows_out + sum(rejected.values()):
            raise GuardError(f"'{count.name}': {count.rows_in:,} rows in, but {rows_out:,} out and {sum(rejected.values()):,} "
                             "quarantined; this is a fault of Bessemer, please report it")
        told = "".join(f" + {number:,} quarantined: {reason}{quarantine.place(reason)}" for reason, number in rejected.items())
        run.note(f"{count.name}: {count.rows_in:,} rows read to prepare = {rows_out:,} out{told}; training rows are cleaned while they "
                 "are read")
        sources.append({"name": count.name, "rows_in": count.rows_in, "rows_out": rows_out, "not_selected": 0, "not_sampled": 0,
                        "rejected": rejected})
    funnel = {"sources": sources, "splits": {}, "overlap": {}, "kept_duplicates": 0, "kept_conflicts": 0}
    (out / "funnel.json").write_text(json.dumps(funnel, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return funnel


def _part(config: Stream, out: Path, run: RunContext) -> dict[str, float]:
    """Return the part of the files' bytes that a rehearsal copies; rows that are not copied are all there."""
    if not run.rehearsal or not (out / streams.ROWS).is_dir():
        return {}
    sizes = [path.stat().st_size for path in getattr(config.source, "outside", tuple)() if isinstance(path, Path)]
    return {"rehearsal_part": sum(min(size, run.rehearsal) for size in sizes) / sum(sizes)} if sum(sizes) else {}
