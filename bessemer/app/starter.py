"""The first recipe: look at a file and write a commented recipe that runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.app.starter_tables import (
    INTERVALS,
    KEPT_KEYS,
    comment,
    divided,
    flow,
    headless,
    key_of,
    line_of,
    recipe_text,
    sources_of,
    split_of,
    table_of,
    targets_of,
    told,
    unread,
)
from bessemer.core.artifact import explained, write_atomic
from bessemer.core.config import parse_yaml
from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin
from bessemer.core.recipe import make_recipe

if TYPE_CHECKING:
    from bessemer.data.inspect import Found, Inspection

SMALL, MIDDLE = 2_000, 20_000
LISTED = 30
CHARS_A_TOKEN = {True: 3.5, False: 1.2}


@dataclass(frozen=True)
class Choice:
    """What the recipe is built on.

    Attributes:
        text: the column to learn from.
        target: the column to learn.
        latin: whether most letters are of the Latin script, for which the catalogue has pretrained weights.
        max_length: tokens a row.
        epochs: passes of fine-tuning.
    """

    text: Found
    target: Found
    latin: bool
    max_length: int
    epochs: int


def write_recipe(data: Path, targets: Sequence[str] = (), task: str | None = None, force: bool = False) -> tuple[Path, list[str]]:
    """Write `<name>.yaml` for a file into the current folder; return it and what was found, line by line.

    Args:
        data: the file.
        targets: the columns to learn; guessed by default.
        task: `regression`, `classification` or `multilabel`; by the targets' values by default.
        force: write over a recipe that is there.
    """
    from bessemer.data.inspect import inspect

    each = targets_of(data, targets, task)
    if not each:
        columns = ", ".join(column.name for column in inspect(data).columns[:LISTED])
        raise UserError(f"none of the columns of '{data}' looks like a label ({columns}); name one with --target COLUMN")
    name = re.sub(r"[^\w\-]+", "-", data.stem).strip("-") or "data"
    file = Path(f"{name}.yaml")
    if file.exists() and not force:
        raise UserError(f"'{file}' is there already; delete it, or say --force to write over it")
    found = next(iter(each.values()))
    if any(item.table for item in each.values()):
        table = table_of(data, each)
        if not table.inputs:
            raise UserError(f"'{data}' has no column to learn all of {', '.join(each)} from; name fewer with --target")
        text, lines = recipe_text(name, table), told(data, table)
    else:
        if len(each) > 1:
            raise UserError(f"'{data}' holds text, from which one label is learnt at a time; name one --target")
        choice = _choose(found)
        text, lines = _text(name, found, choice), _told(data, found, choice)
    make_recipe(parse_yaml(text, str(file)), str(file))  # what is written can be read
    with explained(Path.cwd(), "change to another folder (cd FOLDER)"):
        write_atomic(file, text)
    return file, lines


def _choose(found: Inspection) -> Choice:
    texts = [column for column in found.columns if column.name in found.inputs]
    text = max(texts, key=lambda column: column.lengths.get("p50", 0))
    target = next(column for column in found.columns if column.name == found.target)
    latin = text.latin >= 0.8
    tokens = text.lengths.get("p95", 128) / CHARS_A_TOKEN[latin] + 2
    length = next((size for size in (32, 64, 128, 256) if tokens <= size), 256)
    rows = found.rows
    return Choice(text, target, latin, length, 10 if rows < SMALL else 4 if rows < MIDDLE else 2)


def _told(data: Path, found: Inspection, choice: Choice) -> list[str]:
    lines = [f"{data}: {found.kind}, {found.rows:,} rows looked at{unread(found)}", *headless(found), *divided(found)]
    for column in found.columns:
        use = "input" if column.name == choice.text.name else "target" if column.name == choice.target.name else "not used"
        shown = ", ".join(f"{label} ({count})" for label, count in list(column.counts.items())[:5])
        if len(column.counts) > 5:
            shown += f" and {len(column.counts) - 5:,} more"
        lines.append(f"  {line_of(column.name)}: {column.kind}, {column.distinct:,} different, {column.missing} missing → {use}"
                     + (f": {shown}" if use == "target" and shown else "")
                     + (f" ({column.note})" if use == "target" and column.note else ""))
    return lines


def _text(name: str, found: Inspection, choice: Choice) -> str:
    whole = dump_plugin("data/sources", found.source) or {}
    source = {key: value for key, value in whole.items() if key in KEPT_KEYS and value is not None
              or (key, value) == ("level", -1)}
    rename = {column.name: free_name(column.name, found) for column in (choice.text, choice.target) if reserved(column.name)}
    if rename:
        source["rename"] = rename
    text, target = (rename.get(column.name, column.name) for column in (choice.text, choice.target))
    balanced = min(choice.target.counts.values(), default=1) * 3 >= max(choice.target.counts.values(), default=1)
    model = f"{{kind: pretrained, name: {_weights()}}}" if choice.latin else "{kind: bert, num_hidden_layers: 3, hidden_size: 192}"
    tokenizer = f"{{kind: pretrained, name: {_weights()}}}" if choice.latin else "{kind: wordpiece, vocab_size: 8000}"
    start = "model" if choice.latin else "init"
    pretrain = "" if choice.latin else f"""  pretrain:                            # learns the language of the training text
    model: {model}
    task: {{kind: mlm}}
    num_train_epochs: {max(8, choice.epochs)}
    learning_rate: 5.0e-4
    bf16: auto                         # faster where the processor multiplies such numbers itself
"""
    task = f"    task: {{kind: classification, class_weights: {'none' if balanced else 'balanced'}}}\n"
    task = task if found.task == "classification" else INTERVALS if found.task == "regression" else ""
    split = {"kind": "stratified" if found.task == "classification" else "random", "validation": 0.1, "test": 0.15}
    stages = ["prepare", *([] if choice.latin else ["pretrain"]), "finetune", "baseline", "compress", "evaluate", "export"]
    return f"""# Made by: bessemer init. Every key is explained in docs/reference.md; `bessemer schema` prints the schema for editors.
#   bessemer plan {name}.yaml        rehearses every stage on a handful of rows
#   bessemer run {name}.yaml         does it all
#   bessemer run {name}.yaml finetune.learning_rate=3e-5    runs again only what that changes
name: {flow(name)}
seed: 0
stages:
  prepare:                             # read, clean, divide, encode; what is rejected goes to quarantine.parquet
    sources:
{sources_of(found, source)}    inputs:
      {key_of(text)}: {{kind: text, max_length: {choice.max_length}, tokenizer: {tokenizer}}}
    targets:
      {key_of(target)}: {flow(dict(found.target_modality or {"kind": "category"}))}{comment(choice.target.note)}
    split: {split_of(found, split)}
{pretrain}  finetune:                            # learns the target; the best validation weights are kept
    {start}: {model if choice.latin else "pretrain"}
    num_train_epochs: {choice.epochs}
    learning_rate: {"5.0e-5" if choice.latin else "2.0e-4"}
    early_stopping_patience: 3
    bf16: auto                         # faster where the processor multiplies such numbers itself
{task}    adaptation: full                   # or head, or {{kind: lora, r: 8}}
  baseline:                            # the classical model that a network has to beat
    kind: finetune
    model: {{kind: tfidf_linear}}
  compress: {{}}                         # ONNX, and int8 of it
  evaluate:                            # one look at the test rows scores every form
    models: [finetune, baseline, compress]
  export:                              # a folder that predicts without torch
    scores: evaluate
  report:
    stages: [{", ".join(stages)}]
"""


def _weights() -> str:
    """Return the first weights of the catalogue."""
    from bessemer.core.registry import plugins

    return next(name for name, item in sorted(plugins("datasets").items()) if item.function(item.config()).kind == "weights")


def reserved(name: str) -> bool:
    """Tell whether a column needs another name: Bessemer uses its own itself, or it has none."""
    from bessemer.data.clean import INTERNAL

    return not name or name in INTERNAL or name.startswith(".")


def free_name(name: str, found: Inspection) -> str:
    """Return another name for a column whose own cannot be used."""
    taken = {column.name for column in found.columns}
    made = f"{name.lstrip('.').replace('*', '_')}_column".removeprefix("_" if not name else "")
    while made in taken or reserved(made):
        made += "_"
    return made
