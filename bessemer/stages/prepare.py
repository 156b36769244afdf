"""Prepare: from files of rows to clean, split, encoded shards, with everything rejected in quarantine.

sources -> clean (a Parquet file in the scratch folder) -> duplicates and conflicts -> split -> fit on training -> encode -> shards

Files: `train|validation|test/00000.arrow`, `schema.json`, `columns/<name>/`, `quarantine.parquet`, `funnel.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import Pick, make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import RunContext
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Source
from bessemer.data import by as dividing
from bessemer.data import clean as cleaning
from bessemer.data import selection
from bessemer.data.clean import INTERNAL, Feed, Plan
from bessemer.data.columns import ONE_VALUE
from bessemer.data.near import NearDuplicates
from bessemer.data.quarantine import Quarantine
from bessemer.data.rows import split_name
from bessemer.data.selection import Selection
from bessemer.data.shards import ShardReader
from bessemer.data.split import SPLITS, Splitter
from bessemer.modalities import codec_of
from bessemer.stages._columns import Work, encode, expand_patterns, fit, modality, pair_of, rules_of, with_lengths, with_years
from bessemer.stages._crosses import Given, crossed, searched
from bessemer.stages._outliers import Outliers, without_outliers
from bessemer.stages._scrubbing import Scrubbed

FEW_ROWS = 5


class Prepare(StageConfig):
    """Rows read, cleaned, divided and encoded."""

    sources: Annotated[tuple[Annotated[Config, Pick("data/sources")], ...], Field(min_length=1)]
    """Where rows come from, in order: files (csv, jsonl, parquet, excel, a folder of texts, …), databases, or data sets of
    the catalogue or a hub."""
    inputs: Annotated[dict[str, Annotated[Config, Pick("modalities")]], Field(min_length=1)]
    """Column -> what it is: text, or the columns of a table (number, category, date, …). A name may be a pattern: `"x_*": number`."""
    targets: dict[str, Annotated[Config, Pick("modalities")]] = {}
    """Column -> what it is: category, number, multilabel; none for text without labels."""
    weight: str | None = None
    """The column of row weights, numbers of 0 or more."""
    split: Annotated[Config, Pick("data/splits")] = Field(default_factory=lambda: make("data/splits", "stratified"))
    """How rows are divided: random, stratified, by group, by time, in folds, or given."""
    duplicates: Literal["remove", "keep"] | None = None
    """Rows that repeat an earlier row, inputs and targets: by default removed from text, kept in tables. Those of given splits stay."""
    near_duplicates: Annotated[int, Field(ge=1, le=15)] | NearDuplicates | None = None
    """Of tables, a number: rows are duplicates too whose numbers are equal in this many significant digits, and words but for capitals.
    Of text, settings: `{threshold: 0.85}`: texts of 20 characters or more are duplicates too whose shingles are alike to this part."""
    conflicts: Literal["remove", "keep"] | None = None
    """Rows whose inputs occur with different labels: by default removed from text, kept in tables. Those of given splits stay."""
    unlabelled: Literal["reject", "keep"] = "reject"
    """Texts without a label: set aside, or kept in the training split for what learns from them too (the task consistency); those that
    repeat a labelled text are set aside. A source without the target's column is of such rows."""
    crosses: Literal["auto"] | Given = ()
    """Further inputs, each made of two to four others: `[[a, b], [c, d]]`; the product of numbers, the pair of categories. auto: the pairs,
    8 at most, that tell more of the first target on validation rows than its columns do one by one."""
    outliers: Outliers | None = None
    """Set training rows aside whose numbers are far from the others'; validation and test rows stay."""
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
            if not name:
                raise ValueError("a column needs a name, and one is ''; use 'rename' of the source")
            if name in INTERNAL or name.startswith("."):
                raise ValueError(f"a column cannot be named '{name}', which Bessemer uses itself; use 'rename' of the source")
        for role, columns in (("input", self.inputs), ("target", self.targets)):
            for name, config in columns.items():
                if role not in modality(config).roles:
                    raise ValueError(f"the column '{name}' is of a kind that cannot be a{'n' * (role == 'input')} {role}")
        pair_of(self.inputs)
        tagged = [name for name, item in self.targets.items() if modality(item).misfit is not None]
        if tagged and (len(self.targets) > 1 or [plugin_of("modalities", item).name for item in self.inputs.values()] != ["text"]):
            raise ValueError(f"the target '{tagged[0]}' has a tag for each unit of a text; it needs one input of kind text, and no other "
                             "target beside it")
        if self.unlabelled == "keep":
            self._check_unlabelled()
        both = sorted(set(self.inputs) & set(self.targets))
        if both:
            raise ValueError(f"the column '{both[0]}' is an input and a target; it would be learnt from itself")
        return self

    def _check_unlabelled(self) -> None:
        vector = any(modality(item).vector for item in self.inputs.values())
        if vector or any(modality(item).answer != "label" for item in self.targets.values()):
            raise ValueError("unlabelled: keep is for texts whose targets are labels; remove it")
        if not self.targets:
            raise ValueError("unlabelled: keep has no effect without targets: every row is without a label; remove it")
        if self._splitter().by is not None:
            raise ValueError("unlabelled: keep puts rows into training whatever their group or time; remove it, or divide at random")

    def _splitter(self) -> Splitter:
        made: Splitter = plugin_of("data/splits", self.split).function(self.split)
        return made


@register("stages", "prepare")
def prepare(config: Prepare, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write prepared data and return its facts: rows, labels, lengths, the funnel."""
    splitter: Splitter = plugin_of("data/splits", config.split).function(config.split)
    config = _expanded(config, splitter)
    work = _work(config, out, run)
    scrubbed = Scrubbed(config.inputs)
    with Quarantine(out / "quarantine.parquet", scrubbed.kinds) as quarantine:
        counts = _clean(config, work, (splitter, scrubbed), quarantine)
        for note in [*(note for count in counts for note in count.notes), *scrubbed.notes()]:
            run.note(note)
        names = [count.name for count in counts]
        if not any(count.kept for count in counts):
            raise UserError(f"every row was set aside or left out, so there is nothing to learn from: {_why(quarantine, counts)}")
        chosen = selection.select(work.clean, names, quarantine, _rules(config, splitter, run))
        run.check()
        for note in chosen.notes:
            run.note(note)
        more: dict[str, Any] = {"scrubbed": scrubbed.found} if scrubbed.kinds else {}
        if config.outliers is not None:
            chosen, more["outliers"] = without_outliers(work, chosen, config.outliers, quarantine)
    if config.crosses == "auto":
        work, more["crosses"] = searched(work, chosen)
    schema = fit(work, chosen)
    codecs = {column.name: codec_of(column, out) for column in schema.columns if column.role != Role.WEIGHT}
    written = encode(work, chosen, schema, codecs)
    funnel = _funnel(counts, quarantine, chosen, written)
    _tell(funnel, quarantine, run)
    _tell_rare(funnel, run, any(modality(item).answer == "label" for item in config.targets.values()))
    schema = with_lengths(work, schema, codecs)
    schema.save(out)
    (out / "funnel.json").write_text(json.dumps(funnel, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if _is_table(config):
        _profile(schema, out, run)
    part = {"rehearsal_part": _part(config, run.rehearsal)} if run.rehearsal else {}
    return {"rows": written, **funnel, **part, **more, "quarantined": quarantine.count, "notes": chosen.notes,
            "columns": {column.name: column.facts for column in schema.columns},
            "bytes": sum(item.stat().st_size for item in out.rglob("*.arrow"))}


def _work(config: Prepare, out: Path, run: RunContext) -> Work:
    aliases = {name: tuple(sorted({old for source in config.sources for old, new in source.rename.items() if new == name}))
               for name in [*config.inputs, *config.targets]}
    work = Work(config.inputs, config.targets, config.weight, aliases, run, out, run.scratch / "clean.parquet")
    return work if config.crosses == "auto" else crossed(work, config.crosses)


def _is_table(config: Prepare) -> bool:
    return any(modality(item).vector for item in config.inputs.values())


def _expanded(config: Prepare, splitter: Splitter) -> Prepare:
    """Return the config with each input pattern (`"x_*"`) replaced by the columns of the first source that it names."""
    if not any("*" in name for name in config.inputs):
        return config
    source = config.sources[0]
    first: Source = plugin_of("data/sources", source).function(source)
    found: list[str] = next((chunk.table.column_names for chunk in first.read() if chunk.table.num_columns), [])
    names = [source.rename.get(name, name) for name in found]
    taken = {*config.targets, *config.inputs, config.weight, splitter.column, splitter.by.column if splitter.by else None, *INTERNAL}
    return config.model_copy(update={"inputs": expand_patterns(config.inputs, names, taken, first.name)})


def _rules(config: Prepare, splitter: Splitter, run: RunContext) -> selection.Rules:
    table = _is_table(config)
    kinds = {name: modality(item).answer for name, item in config.targets.items()}
    policy = "keep" if table else "remove"  # like rows are natural in tables; those of like inputs stay in one split
    return selection.Rules(
        inputs=tuple(config.inputs), targets=tuple(name for name, kind in kinds.items() if kind == "label"),
        values=tuple(name for name, kind in kinds.items() if kind != "label"), splitter=splitter, seed=run.seed, limit=config.limit,
        duplicates=config.duplicates or policy, conflicts=config.conflicts or policy, scratch=run.scratch, hashed=table,
        unlabelled=config.unlabelled == "keep",
        **_near(config))


def _near(config: Prepare) -> dict[str, Any]:
    near = config.near_duplicates
    if isinstance(near, int) and not _is_table(config):
        raise UserError("near_duplicates as a number of digits is for tables, whose numbers can be nearly equal; the recipe's input is "
                        "running text: write {threshold: 0.85}")
    if isinstance(near, NearDuplicates) and _is_table(config):
        raise UserError("near_duplicates with a threshold is for running text; the recipe's inputs are a table: write a number of digits")
    return {"digits": near} if isinstance(near, int) else {"near": near}


def _profile(schema: Schema, out: Path, run: RunContext) -> None:
    """Write `profile.json`: what each column holds, how it drifts from training to test, and how it goes with the targets."""
    from bessemer.data.profile import profile

    with run.progress("profile", None, "columns"):
        there = [out / SPLITS[code] for code in (0, 2) if (out / SPLITS[code]).is_dir()]
        train, *test = (with_years(ShardReader(folder).tables(), schema, out) for folder in there)
        found = profile(train, test[0] if test else None, schema, tuple(column.name for column in schema.by_role(Role.TARGET)))
    (out / "profile.json").write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _tell(funnel: dict[str, Any], quarantine: Quarantine, run: RunContext) -> None:
    """Tell people what became of every row."""
    for source in funnel["sources"]:
        asked = {"not selected by 'where'": source["not_selected"], "not drawn (limit)": source["not_sampled"]}
        left = {**{f"quarantined: {reason}{quarantine.place(reason)}": count for reason, count in source["rejected"].items()}, **asked}
        told = "".join(f" + {count:,} {reason}" for reason, count in left.items() if count)
        run.note(f"{source['name']}: {source['rows_in']:,} rows in = {source['rows_out']:,} out{told}")


def _tell_rare(funnel: dict[str, Any], run: RunContext, labelled: bool) -> None:
    """Tell people of labels, or of splits where there are none, with so few rows to score that their numbers say little."""
    for split in ("validation", "test"):
        if not sum(funnel["splits"].get(split, {}).values()):
            continue  # nothing was asked for
        if not labelled:
            rows = funnel["splits"].get(split, {}).get("rows", 0)
            if 0 < rows < FEW_ROWS:
                run.note(f"{split}: {rows} row{'s' * (rows > 1)}, whose scores say little")
            continue
        rare = [f"{label} ({count})" for label, count in funnel["splits"].get(split, {}).items() if count < FEW_ROWS]
        if rare:
            run.note(f"{split}: labels with fewer than {FEW_ROWS} rows, whose scores say little: "
                     f"{', '.join(rare[:10])}{f' and {len(rare) - 10:,} more' if len(rare) > 10 else ''}")


def _part(config: Prepare, limit: int) -> float:
    """Return the part of the sources' bytes that a rehearsal reads: files up to the limit are read whole."""
    sizes = [path.stat().st_size for source in config.sources for path in getattr(source, "outside", tuple)() if isinstance(path, Path)]
    return sum(min(size, limit) for size in sizes) / sum(sizes) if sum(sizes) else 1.0


def _clean(config: Prepare, work: Work, how: tuple[Splitter, Scrubbed], quarantine: Quarantine) -> list[cleaning.Count]:
    run, (splitter, scrubbed) = work.run, how
    by = splitter.by
    inputs, targets = ({name: modality(item) for name, item in columns.items()} for columns in (config.inputs, config.targets))
    plan = Plan(inputs={name: scrubbed.counted(name, item.clean) for name, item in inputs.items()},
                targets={name: item.clean for name, item in targets.items()},
                weight=config.weight, split=splitter.column, rehearsal=run.rehearsal, unlabelled=config.unlabelled == "keep",
                by=(by.column, dividing.groups if by.kind == "group" else dividing.Times(by.column, by.day_first)) if by else None,
                **rules_of(inputs, targets))
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
    wanted = plan.wanted(where, split)

    def opened(without: frozenset[str]) -> Feed:
        names = tuple(back.get(name, name) for name in wanted if name not in without)
        chosen = config.model_copy(update={"columns": names}) if config.columns is None else config
        source: Source = plugin_of("data/sources", chosen).function(chosen)
        return Feed(source, where, config.rename, split, without)

    return cleaning.bare(opened, plan) if plan.unlabelled else opened(frozenset())


def _why(quarantine: Quarantine, counts: list[cleaning.Count]) -> str:
    left = sum(count.not_selected for count in counts)
    top = quarantine.top()
    listed = " but a list" in top
    where = f" of {', '.join(dict.fromkeys(count.name for count in counts))}" if listed else ""
    parts = (f"{top}{where}", f"not selected by 'where' ({left:,} rows)" if left else "", ONE_VALUE if listed else "")
    return "; ".join(part for part in parts if part)


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
