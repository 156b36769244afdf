"""The first recipe of a table: every column with its kind, sizes by the number of rows, gradient boosting and a line beside the network."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bessemer.app.starter_steps import WORDS_ORDER, ordinal_of, steps_of
from bessemer.core.pick import dump_plugin
from bessemer.data.published import COLUMN

if TYPE_CHECKING:
    from bessemer.data.inspect import Found, Inspection

LINES = 60
SHOWN_NAMES = 5
STREAM_ROWS, STREAM_BYTES = 3_000_000, 2_000_000_000
STREAMED = ("csv", "parquet", "arrow")
WIDE = 300
ORDER = ("train", "validation", "test")
INTERVALS = "    # task: {kind: supervised, quantiles: [0.05, 0.5, 0.95]}    # intervals beside every number\n"
KEPT_KEYS = ("kind", "path", "table", "sheet", "encoding")
ENCODING = " (where the file is not UTF-8, name its encoding, such as --encoding cp1252)"
PACKED = {".gz": 4, ".zip": 4, ".bz2": 5, ".xz": 6, ".zst": 4}


@dataclass(frozen=True)
class Size:
    """How a table of so many rows is learnt from, so that two cores need minutes.

    Attributes:
        rows: fewer rows than these.
        epochs: passes at most.
        patience: validations without a better value before it stops.
        evals: validations in a pass.
        batch: rows a batch.
        members: sub-networks.
        width: of both hidden layers.
    """

    rows: float
    epochs: float
    patience: int
    evals: int
    batch: int
    members: int
    width: int


SIZES = (
    Size(1_000, 100, 16, 1, 32, 8, 256),
    Size(5_000, 100, 16, 1, 128, 8, 256),
    Size(20_000, 60, 12, 1, 256, 8, 256),
    Size(100_000, 20, 5, 1, 256, 4, 256),
    Size(500_000, 4, 6, 2, 1024, 8, 128),
    Size(float("inf"), 1, 6, 8, 1024, 8, 128))
SETTINGS = {"learning_rate": "1.5e-3", "lr_scheduler_type": "constant", "warmup_ratio": "0", "weight_decay": "1.0e-3",
            "max_grad_norm": "1.0"}


@dataclass(frozen=True)
class Table:
    """What the recipe is built on.

    Attributes:
        found: what the file seems to be.
        targets: column -> how it is read.
        inputs: the columns to learn from.
        left: column -> why it is left out.
        rows: of the whole file, about.
        rename: column -> the name that it is given.
        streamed: whether the rows are read where they are.
    """

    found: Inspection
    targets: Mapping[str, Mapping[str, Any]]
    inputs: tuple[Found, ...]
    left: Mapping[str, str]
    rows: int
    rename: Mapping[str, str]
    streamed: bool

    def named(self, name: str) -> str:
        """Return the name that a column has in the recipe."""
        return self.rename.get(name, name)


def table_of(data: Path, each: Mapping[str, Inspection]) -> Table:
    """Return what the recipe is built on.

    Args:
        data: the file.
        each: target -> what was found with it as the target; what is no input for one of them is none.
    """
    from bessemer.app.starter import free_name, reserved

    found = next(iter(each.values()))
    shared = [column for column in found.columns if column.name not in each
              and all(column.name in other.inputs for other in each.values())]
    left = {column.name: next((why for why in (_why(other, column.name) for other in each.values()) if why), "it is no column of a table")
            for column in found.columns if column not in shared and column.name not in each}
    rows = rows_about(data, found)
    streamed = found.kind in STREAMED and (rows > STREAM_ROWS or data.stat().st_size > STREAM_BYTES)
    used = [*each, *(column.name for column in shared)]
    rename = {name: free_name(name, found) for name in used if reserved(name) or "*" in name}
    if streamed:  # a stream reads files as they are
        left.update({name: "it has no name, or one that Bessemer uses itself; write another" for name in rename if name not in each})
        shared, rename = [column for column in shared if column.name not in rename], {}
    targets = {name: dict(other.target_modality or {}) for name, other in each.items()}
    seen = {name: next(column for column in other.columns if column.name == name) for name, other in each.items()}
    found = replace(found, columns=tuple(seen.get(column.name, column) for column in found.columns))
    return Table(found, targets, tuple(shared), left, rows, rename, streamed)


def _why(found: Inspection, name: str) -> str:
    return next(column.reason for column in found.columns if column.name == name)


def rows_about(data: Path, found: Inspection) -> int:
    """Return about how many rows a file has: counted where it says so or is small, else by the lines of its beginning."""
    from bessemer.data.rows import plain_head

    if found.kind == "parquet":
        import pyarrow.parquet as pq

        return int(pq.read_metadata(data).num_rows)
    if found.rows < 1000 or found.kind not in ("csv", "jsonl", "lines"):
        return found.rows
    head = plain_head(data, 1 << 20)
    lines = max(1, head.count(b"\n"))
    return max(found.rows, int(data.stat().st_size * PACKED.get(data.suffix, 1) * lines / len(head)))


def unread(found: Inspection) -> str:
    """Return what is said of rows that could not be read, and why; nothing where there are none."""
    if not found.rejected:
        return ""
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(found.reasons.items(), key=lambda item: -item[1])[:3])
    return (f"; {found.rejected:,} more cannot be read and will be set aside: {reasons}"
            + (ENCODING if hasattr(found.source, "encoding") and any("UTF-8" in reason for reason in found.reasons) else ""))


def headless(found: Inspection) -> list[str]:
    """Return lines that say which encoding was guessed, and that the columns' names look like values, where they do."""
    from bessemer.data.values import HEADLESS, like_values

    names = [column.name for column in found.columns]
    said = [f"  {note}" for note in found.notes]
    return [*said, f"  {HEADLESS} ({', '.join(line_of(name) for name in names[:SHOWN_NAMES])}{', …' * (len(names) > SHOWN_NAMES)})"
            ] if like_values(names) or any(column.name in column.counts and not column.name.isdigit() for column in found.columns) else said


def told(data: Path, table: Table) -> list[str]:
    """Return what was found, line by line."""
    found = table.found
    lines = [f"{data}: {found.kind}, a table, about {table.rows:,} rows, {found.rows:,} looked at{unread(found)}", *headless(found),
             *divided(found)]
    many = len(found.columns) > LINES
    inputs = {column.name for column in table.inputs}
    for column in found.columns:
        if many and column.name in inputs:
            continue
        said = "input" if column.name in inputs else "target" if column.name in table.targets else f"left out: {table.left[column.name]}"
        if column.name in table.targets:
            said += f" ({table.targets[column.name]['kind']})"
        lines.append(f"  {line_of(column.name)}: {column.kind}, {_different(column)}{column.missing:,} missing → {said}"
                     + (f" ({column.note})" if column.note else ""))
    if many:
        kinds: dict[str, int] = {}
        for column in table.inputs:
            kinds[column.kind] = kinds.get(column.kind, 0) + 1
        lines.append("  inputs: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()))
    return [*lines[:2 * LINES], *([f"  … and {len(lines) - 2 * LINES:,} more"] if len(lines) > 2 * LINES else [])]


def _different(column: Found) -> str:
    if column.kind == "list" and column.distinct:
        return f"{column.distinct:,} different labels, "
    return "" if column.kind in ("vector", "list", "other") else f"{column.distinct:,} different, "


def recipe_text(name: str, table: Table) -> str:
    """Return the recipe, with a comment where a person may want to change something."""
    boosting = importlib.util.find_spec("lightgbm") is not None
    models = ["finetune", *(["lightgbm"] if boosting else []), "linear", *(["blend"] if boosting else [])]
    stages = ["prepare", *models, "compress", "evaluate", "export"]
    trees = """  lightgbm:                            # gradient boosting on the same rows, for comparison and for the blend
    kind: finetune
    model: {kind: lightgbm}
""" if boosting else "  # lightgbm: {kind: finetune, model: {kind: lightgbm}}    # needs the package lightgbm: pip install lightgbm\n"
    blend = """  blend:                               # both together, weighted by the validation rows
    models: [finetune, lightgbm]
""" if boosting else ""
    return f"""# Made by: bessemer init. Every key is explained in docs/reference.md; `bessemer schema` prints the schema for editors.
#   bessemer plan {name}.yaml        rehearses every stage on a handful of rows
#   bessemer run {name}.yaml         does it all
#   bessemer run {name}.yaml finetune.num_train_epochs=20    runs again only what that changes
name: {flow(name)}
seed: 0
stages:
{_prepare(table)}{_finetune(table)}{trees}  linear:                              # what a straight line does
    kind: finetune
    model: {{kind: linear}}
{blend}  compress: {{}}                         # ONNX, checked against the network
  evaluate:                            # one look at the test rows scores every form; intervals and pairs
    models: [{", ".join([*models, "compress"])}]
  export:                              # a folder that predicts without torch
    scores: evaluate
  report:
    stages: [{", ".join(stages)}]
"""


def source_of(found: Inspection, rename: Mapping[str, str]) -> dict[str, Any]:
    """Return a recipe's source: what cannot be left to its defaults. Of folders of splits, each is a source and its classes lie in it."""
    whole = dump_plugin("data/sources", found.source) or {}
    source = {key: value for key, value in whole.items() if key in KEPT_KEYS and value is not None or (key, value) == ("level", -1)}
    return {**source, **({"rename": dict(rename)} if rename else {})}


def sources_of(found: Inspection, source: Mapping[str, Any]) -> str:
    """Return the lines of a recipe's sources: one, or one for each folder of data that come divided."""
    folders = {name: folder for name, folder in found.splits.items() if folder is not None}
    if not folders:
        return f"      - {flow(source)}\n"
    each = [{**source, "path": str(folder), "split": name}
            for name, folder in sorted(folders.items(), key=lambda item: ORDER.index(item[0]))]
    return "".join(f"      - {flow(item)}\n" for item in each)


def divided(found: Inspection) -> list[str]:
    """Return the line that says that the data come divided, if they do."""
    if not found.splits:
        return []
    return [f"  they come divided ({', '.join(sorted(found.splits, key=ORDER.index))}), and stay so: split: {split_of(found, {})}"]


def split_of(found: Inspection, otherwise: Mapping[str, Any]) -> str:
    """Return how a recipe divides the rows: as they come divided, or else in the way that is said."""
    if not found.splits:
        return flow(otherwise)
    columns = [COLUMN] if None in found.splits.values() else []
    return flow({"kind": "given", **({"column": columns[0]} if columns else {})})


def _prepare(table: Table) -> str:
    source = source_of(table.found, table.rename)
    notes = {column.name: comment("; ".join(filter(None, (
        column.note, WORDS_ORDER if steps_of(column, table.targets.get(column.name)) == "words" else ""))))
        for column in table.found.columns}
    targets = "".join(f"      {key_of(table.named(name))}: {flow(config)}{notes[name]}\n" for name, config in table.targets.items())
    kinds = [config["kind"] for config in table.targets.values()]
    split = "stratified" if kinds[0] in ("category", "boolean") else "random"
    columns = f"    inputs:                            # column: what it is\n{_inputs(table)}    targets:\n{targets}"
    if table.streamed:
        held = max(10_000, min(200_000, table.rows // 50))
        return f"""  prepare:                             # fits columns, holds rows out; training reads the file where it is
    kind: stream
    source: {flow({"kind": "files", "path": source["path"]})}
{columns}    validation: {held}
    test: {held}
"""
    return f"""  prepare:                             # read, clean, divide, encode; what is rejected goes to quarantine.parquet
    sources:
{sources_of(table.found, source)}{columns}    split: {split_of(table.found, {"kind": split, "validation": 0.15, "test": 0.15})}
"""


def _finetune(table: Table) -> str:
    size = next(size for size in SIZES if table.rows < size.rows)
    wide = ", number_embedding: none" if len(table.inputs) > WIDE else ""
    numbers = any(config["kind"] == "number" for config in table.targets.values())
    settings = "".join(f"    {key}: {value}\n" for key, value in SETTINGS.items())
    steps = [table.named(column.name) for column in table.found.columns if steps_of(column, table.targets.get(column.name))]
    intervals = (INTERVALS if numbers else "") + (ordinal_of(steps) if steps else "")
    evals = f"    evals_per_epoch: {size.evals}\n" if size.evals > 1 else ""
    return f"""  finetune:                            # a network of members that share weights; the best validation weights are kept
    model: {{kind: members, members: {size.members}, hidden_sizes: [{size.width}, {size.width}]{wide}}}
{intervals}    num_train_epochs: {size.epochs:g}
    early_stopping_patience: {size.patience}
{evals}    per_device_train_batch_size: {size.batch}
{settings}"""


def _inputs(table: Table) -> str:
    """Return a line for every input, patterns where they are many and one kind covers a common beginning, and why others are none."""
    lines = []
    patterns = _patterns(table) if len(table.inputs) > LINES else {}
    covered = {name for names in patterns.values() for name in names}
    for column in table.inputs:
        if column.name not in covered:
            lines.append(f"      {key_of(table.named(column.name))}: {flow(dict(column.modality or {}))}{comment(column.note)}\n")
    kinds = {column.name: dict(column.modality or {}) for column in table.inputs}
    lines += [f"      {key_of(pattern)}: {flow(kinds[names[0]])}    # {len(names):,} columns\n" for pattern, names in patterns.items()]
    left = list(table.left.items())
    lines += [f"      # {line_of(name)}: left out, {line_of(why)}\n" for name, why in left[:LINES]]
    if len(left) > LINES:
        lines.append(f"      # … and {len(left) - LINES:,} more left out\n")
    return "".join(lines)


def comment(note: str) -> str:
    """Return what is said of a column as a comment behind its line of the recipe; nothing where there is nothing to say."""
    return f"    # {line_of(note)}" if note else ""


def _patterns(table: Table) -> dict[str, list[str]]:
    """Return pattern -> columns, where every column of the file that the pattern names is an input of one kind or a target."""
    groups: dict[str, list[Found]] = {}
    for column in table.inputs:
        beginning = re.sub(r"\d+$", "", column.name)
        if beginning and beginning != column.name and not set(beginning) & set("*?[") and column.name not in table.rename:
            groups.setdefault(beginning, []).append(column)
    others = [column.name for column in table.found.columns if column.name not in table.targets]
    found: dict[str, list[str]] = {}
    for beginning, columns in groups.items():
        names = {column.name for column in columns}
        alike = len({repr(column.modality) for column in columns}) == 1
        if alike and len(columns) > 2 and all(name in names for name in others if name.startswith(beginning)):
            found[f"{beginning}*"] = [column.name for column in columns]
    return found


def line_of(text: str) -> str:
    """Return a text on one line, as a comment or a person's terminal takes it; '' where it is empty."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split()) or "''"


class _OneLine(yaml.SafeDumper):
    """YAML whose texts stay on one line: a text that is empty or has signs that are not printed is quoted with escapes."""


_OneLine.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, None if text.isprintable() and text else '"'))


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    return yaml.dump(value, Dumper=_OneLine, default_flow_style=True, allow_unicode=True, width=1_000_000_000).removesuffix("...\n").strip()


def key_of(name: str) -> str:
    """Return a column's name as a YAML key on one line."""
    made = flow({name: 0})[1:-4]
    return flow([name])[1:-1] if made.startswith("? ") else made.strip()


def targets_of(data: Path, targets: Sequence[str], task: str | None, encoding: str | None = None) -> dict[str, Inspection]:
    """Return each target with what was found for it; without a name, of the one that looks like it (empty: none does)."""
    from bessemer.data.inspect import inspect

    each = {}
    wanted: Sequence[str | None] = targets or [None]
    for name in wanted:
        found = inspect(data, name, task, len(wanted) > 1, encoding)
        if found.target is not None:
            each[found.target] = found
    return each
