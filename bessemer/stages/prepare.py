"""Prepare: from files of rows to clean, split, encoded shards, with everything rejected in quarantine.

sources -> clean (a Parquet file in the scratch folder) -> duplicates and conflicts -> split -> fit on training -> encode -> shards

Files: `train|validation|test/00000.arrow`, `schema.json`, `columns/<name>/`, `quarantine.parquet`, `funnel.json`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import Pick, dump_plugin, make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import RunContext
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Codec, Modality, Source
from bessemer.data import clean as cleaning
from bessemer.data import selection
from bessemer.data.clean import INTERNAL, Feed, Plan
from bessemer.data.quarantine import Quarantine
from bessemer.data.rows import split_name
from bessemer.data.selection import Selection
from bessemer.data.shards import ShardReader, ShardWriter
from bessemer.data.split import SPLITS, Splitter
from bessemer.modalities import codec_of, column_folder

if TYPE_CHECKING:
    import pyarrow as pa

FEW_ROWS = 5


class Prepare(StageConfig):
    """Rows read, cleaned, divided and encoded."""

    sources: Annotated[tuple[Annotated[Config, Pick("data/sources")], ...], Field(min_length=1)]
    """Where rows come from, in order: files (csv, jsonl, parquet, lines) or data sets of the catalogue."""
    inputs: Annotated[dict[str, Annotated[Config, Pick("modalities")]], Field(min_length=1)]
    """Column -> what it is (text)."""
    targets: dict[str, Annotated[Config, Pick("modalities")]] = {}
    """Column -> what it is (category); none for text without labels."""
    weight: str | None = None
    """The column of row weights, numbers of 0 or more."""
    split: Annotated[Config, Pick("data/splits")] = Field(default_factory=lambda: make("data/splits", "stratified"))
    """How rows are divided: random, stratified or given."""
    duplicates: Literal["remove", "keep"] = "remove"
    """Rows that repeat an earlier row, inputs and labels; those of given splits always stay."""
    conflicts: Literal["remove", "keep"] = "remove"
    """Rows whose inputs occur with different labels; those of given splits always stay."""
    limit: Annotated[int, Field(ge=10)] | None = None
    """Keep this many rows, drawn at random (with given splits: of training alone)."""

    @model_validator(mode="after")
    def _fits(self) -> Prepare:
        given = self._splitter().given
        for position, source in enumerate(self.sources):
            if source.split is not None and not given:
                raise ValueError(f"source {position + 1} names its split, but the recipe's split is not 'given'; write "
                                 "'split: {kind: given}' or remove it")
            if source.split is not None and split_name(source.split) is None:
                raise ValueError(f"source {position + 1}: the split '{source.split}' is none of train, validation, test")
            if given and self.split.column is None and source.split is None:
                raise ValueError(f"the split is 'given', but source {position + 1} has no 'split' and no 'column' is named")
        for name in [*self.inputs, *self.targets]:
            if name in INTERNAL or name.startswith("."):
                raise ValueError(f"a column cannot be named '{name}', which Bessemer uses itself; use 'rename' of the source")
        for role, columns in (("input", self.inputs), ("target", self.targets)):
            for name, config in columns.items():
                if role not in _modality(config).roles:
                    raise ValueError(f"the column '{name}' is of a kind that cannot be a{'n' * (role == 'input')} {role}")
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            raise ValueError(f"the column '{both[0]}' is an input and a target; it would be learnt from itself")
        return self

    def _splitter(self) -> Splitter:
        made: Splitter = plugin_of("data/splits", self.split).function(self.split)
        return made


def _modality(config: Config) -> Modality:
    made: Modality = plugin_of("modalities", config).function(config)
    return made


@dataclass(frozen=True)
class _Work:
    """What the parts of the stage share: the configuration, the run, the folder to write to and the clean file."""

    config: Prepare
    run: RunContext
    out: Path
    clean: Path


@register("stages", "prepare")
def prepare(config: Prepare, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write prepared data and return its facts: rows, labels, lengths, the funnel."""
    work = _Work(config, run, out, run.scratch / "clean.parquet")
    splitter: Splitter = plugin_of("data/splits", config.split).function(config.split)
    with Quarantine(out / "quarantine.parquet") as quarantine:
        counts = _clean(work, splitter, quarantine)
        names = [count.name for count in counts]
        if not any(count.kept for count in counts):
            raise UserError(f"every row was set aside or left out, so there is nothing to learn from: {_why(quarantine, counts)}")
        chosen = selection.select(work.clean, names, quarantine, selection.Rules(
            inputs=tuple(config.inputs), targets=tuple(config.targets), splitter=splitter, seed=run.seed, limit=config.limit,
            duplicates=config.duplicates, conflicts=config.conflicts, scratch=run.scratch))
        run.check()
        for note in chosen.notes:
            run.note(note)
    schema = _fit(work, chosen)
    codecs = {column.name: codec_of(column, out) for column in schema.columns if column.role != Role.WEIGHT}
    written = _encode(work, chosen, schema, codecs)
    funnel = _funnel(counts, quarantine, chosen, written)
    _tell(funnel, run)
    _tell_rare(funnel, run)
    schema = _with_lengths(schema, codecs, out)
    schema.save(out)
    (out / "funnel.json").write_text(json.dumps(funnel, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part = {"rehearsal_part": _part(config, run.rehearsal)} if run.rehearsal else {}
    return {"rows": written, **funnel, **part, "quarantined": quarantine.count, "notes": chosen.notes,
            "columns": {column.name: column.facts for column in schema.columns},
            "bytes": sum(item.stat().st_size for item in out.rglob("*.arrow"))}


def _tell(funnel: dict[str, Any], run: RunContext) -> None:
    """Tell people what became of every row."""
    for source in funnel["sources"]:
        asked = {"not selected by 'where'": source["not_selected"], "not drawn (limit)": source["not_sampled"]}
        left = {**{f"quarantined: {reason}": count for reason, count in source["rejected"].items()}, **asked}
        told = "".join(f" + {count:,} {reason}" for reason, count in left.items() if count)
        run.note(f"{source['name']}: {source['rows_in']:,} rows in = {source['rows_out']:,} out{told}")


def _tell_rare(funnel: dict[str, Any], run: RunContext) -> None:
    """Tell people of labels with so few rows to score that their numbers say little."""
    for split in ("validation", "test"):
        rare = [f"{label} ({count})" for label, count in funnel["splits"].get(split, {}).items() if count < FEW_ROWS]
        if rare:
            run.note(f"{split}: labels with fewer than {FEW_ROWS} rows, whose scores say little: {', '.join(rare[:10])}")


def _part(config: Prepare, limit: int) -> float:
    """Return the part of the sources' bytes that a rehearsal reads: files up to the limit are read whole."""
    sizes = [path.stat().st_size for source in config.sources for path in getattr(source, "outside", tuple)() if isinstance(path, Path)]
    return sum(min(size, limit) for size in sizes) / sum(sizes) if sum(sizes) else 1.0


def _clean(work: _Work, splitter: Splitter, quarantine: Quarantine) -> list[cleaning.Count]:
    config, run = work.config, work.run
    plan = Plan(inputs={name: _modality(item).clean for name, item in config.inputs.items()},
                targets={name: _modality(item).clean for name, item in config.targets.items()},
                weight=config.weight, split=splitter.column, rehearsal=run.rehearsal)
    feeds = [_feed(source, plan) for source in config.sources]
    with run.progress("reading", None, "rows") as progress:

        def each(rows: int) -> None:
            run.check()
            progress.advance(rows)

        return cleaning.clean(feeds, plan, work.clean, quarantine, each)


def _feed(config: Any, plan: Plan) -> Feed:
    """Return one source with the columns that the recipe asks for."""
    where = {config.rename.get(name, name): values for name, values in config.where.items()}
    split = split_name(config.split) if config.split else None
    back = {new: old for old, new in config.rename.items()}
    if config.columns is None:
        wanted = [name for name in plan.wanted(where) if not (split and name == plan.split)]
        config = config.model_copy(update={"columns": tuple(back.get(name, name) for name in wanted)})
    source: Source = plugin_of("data/sources", config).function(config)
    return Feed(source, where, config.rename, split)


def _why(quarantine: Quarantine, counts: list[cleaning.Count]) -> str:
    left = sum(count.not_selected for count in counts)
    return "; ".join(part for part in (quarantine.top(), f"not selected by 'where' ({left:,} rows)" if left else "") if part)


def _fit(work: _Work, chosen: Selection) -> Schema:
    """Fit every column on the training split alone."""
    columns = []
    for role, picked in ((Role.INPUT, work.config.inputs), (Role.TARGET, work.config.targets)):
        for name, config in picked.items():
            folder = column_folder(work.out, name)
            folder.mkdir(parents=True)
            arrays = (table[name].combine_chunks() for table, _ in _batches(work, chosen, 0, [name]))
            labels, facts = _modality(config).fit(arrays, work.run.seed, folder)
            if role == Role.TARGET:
                if len(labels) < 2:
                    raise UserError(f"the target '{name}' has only one label ('{labels[0]}') in the training rows, so there is "
                                    "nothing to tell apart; expected at least two" if labels else
                                    f"the target '{name}' has no label in the training rows")
                _unseen(work, chosen, name, labels)
            plain = dump_plugin("modalities", config) or {}
            aliases = sorted({old for source in work.config.sources for old, new in source.rename.items() if new == name})
            columns.append(Column(name=name, role=role, modality=plain, labels=labels, facts=facts, aliases=tuple(aliases)))
            if not any(folder.iterdir()):
                folder.rmdir()
    if work.config.weight:
        columns.append(Column(name=work.config.weight, role=Role.WEIGHT, modality={"kind": "weight"}))
    found = sorted(work.out.glob("columns/*/tokenizer.json"))
    if len(found) == 1:
        shutil.copyfile(found[0], work.out / "tokenizer.json")
    return Schema(columns=tuple(columns))


def _unseen(work: _Work, chosen: Selection, name: str, labels: tuple[str, ...]) -> None:
    """Refuse validation or test rows whose label no training row has."""
    for split in (1, 2):
        for table, _ in _batches(work, chosen, split, ["source", "row", name]):
            for row in table.to_pylist():
                if row[name] is not None and row[name] not in labels:
                    raise UserError(f"the label '{row[name]}' of the target '{name}' occurs in {SPLITS[split]} (row {row['row']} "
                                    f"of '{chosen.names[row['source']]}') but never in training; add training rows with it or "
                                    "remove those rows")


def _batches(work: _Work, chosen: Selection, split: int | None, columns: list[str]) -> Iterator[tuple[pa.Table, Any]]:
    """Yield the clean rows that are used (of one split, or all) with the split of each, int8 [n]."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(work.clean) as file:
        for batch in file.iter_batches(batch_size=8192, columns=["row_id", *columns], use_threads=False):
            work.run.check()
            splits = chosen.split_of(batch.column("row_id").to_numpy())
            kept = splits >= 0 if split is None else splits == split
            if kept.any():
                yield pa.Table.from_batches([batch]).filter(pa.array(kept)), splits[np.flatnonzero(kept)]


def _encode(work: _Work, chosen: Selection, schema: Schema, codecs: dict[str, Codec]) -> dict[str, int]:
    """Write the shards and return the rows of each split."""
    import pyarrow as pa

    columns = [*work.config.inputs, *work.config.targets, *(["weight"] if work.config.weight else [])]
    writers = {code: ShardWriter(work.out / SPLITS[code]) for code in sorted(set(chosen.splits.tolist()))}
    with work.run.progress("encoding", len(chosen.splits), "rows") as progress:
        for table, splits in _batches(work, chosen, None, columns):
            stored: dict[str, Any] = {"row_id": table["row_id"]}
            for column in schema.columns:
                if column.role == Role.WEIGHT:
                    stored["weight"] = table["weight"]
                    continue
                encoded = codecs[column.name].encode(table[column.name].combine_chunks())
                if column.role == Role.TARGET:
                    stored[column.name] = encoded["codes"]
                else:
                    stored[column.name] = table[column.name]
                    stored.update({f"{column.name}.{part}": values for part, values in encoded.items()})
            if chosen.overlap is not None:
                stored["overlap"] = pa.array(chosen.overlap_of(table["row_id"].to_numpy()))
            whole = pa.table(stored)
            for code, writer in writers.items():
                writer.add(whole.filter(pa.array(splits == code)))
            progress.advance(len(table))
    for writer in writers.values():
        writer.close()
    return {SPLITS[code]: writer.total for code, writer in writers.items()}


def _with_lengths(schema: Schema, codecs: dict[str, Codec], out: Path) -> Schema:
    """Return the schema with each text column's length quantiles in the training split."""
    import numpy as np

    columns = []
    for column in schema.columns:
        codec = codecs.get(column.name)
        if codec is not None and codec.length is not None:
            lengths = ShardReader(out / SPLITS[0]).lengths(f"{column.name}.{codec.length}")
            marks = {f"p{mark}": int(np.quantile(lengths, mark / 100, method="lower")) for mark in (5, 25, 50, 75, 95, 99, 100)}
            column = column.model_copy(update={"facts": {**column.facts, "lengths": {**marks, "mean": float(lengths.mean())}}})
        columns.append(column)
    return Schema(columns=tuple(columns))


def _funnel(counts: list[cleaning.Count], quarantine: Quarantine, chosen: Selection, written: dict[str, int]) -> dict[str, Any]:
    """Return what became of every row, and refuse to go on where one was lost."""
    sources: list[dict[str, Any]] = []
    for position, count in enumerate(counts):
        rejected = dict(sorted(quarantine.reasons.get(count.name, {}).items()))
        rows_out = int(chosen.rows_out[position])
        unsampled = int(chosen.unsampled[position])
        if count.rows_in != rows_out + sum(rejected.values()) + count.not_selected + unsampled:
            raise GuardError(f"'{count.name}': {count.rows_in:,} rows in, but {rows_out:,} out, {sum(rejected.values()):,} "
                             f"quarantined, {count.not_selected:,} not selected and {unsampled:,} not sampled; this is a fault of "
                             "Bessemer, please report it")
        sources.append({"name": count.name, "rows_in": count.rows_in, "rows_out": rows_out, "not_selected": count.not_selected,
                        "not_sampled": unsampled, "rejected": rejected})
    expected = sum(source["rows_out"] for source in sources)
    if sum(written.values()) != expected:
        raise GuardError(f"{sum(written.values()):,} rows were written, {expected:,} expected; "
                         "this is a fault of Bessemer, please report it")
    return {"sources": sources, "splits": chosen.labels, "overlap": chosen.overlaps,
            "kept_duplicates": chosen.kept_duplicates, "kept_conflicts": chosen.kept_conflicts}
