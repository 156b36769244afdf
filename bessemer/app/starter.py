"""The first recipe: look at a file and write a commented recipe that runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.app.starter_steps import WORDS_ORDER, ordinal_of, steps_of
from bessemer.app.starter_tables import (
    INTERVALS,
    comment,
    divided,
    flow,
    headless,
    key_of,
    line_of,
    recipe_text,
    source_of,
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
from bessemer.core.recipe import make_recipe

if TYPE_CHECKING:
    from bessemer.data.inspect import Found, Inspection

SMALL, MIDDLE = 2_000, 20_000
LISTED = 30
CHARS_A_TOKEN = {True: 3.5, False: 1.2}
LENGTHS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Aim:
    """What is to be learnt.

    Attributes:
        column: the column.
        read: how it is read, ready for a recipe.
        labels: label -> how often it occurs, where a row has several.
    """

    column: Found
    read: Mapping[str, Any]
    labels: Mapping[str, int]


@dataclass(frozen=True)
class Choice:
    """What the recipe is built on.

    Attributes:
        texts: the column to learn from, or the two that are read together.
        aims: the columns to learn.
        left: column of text -> why it is left out.
        latin: whether most letters are of the Latin script, for which the catalogue has pretrained weights.
        max_length: tokens a row.
        epochs: passes of fine-tuning.
    """

    texts: tuple[Found, ...]
    aims: tuple[Aim, ...]
    left: Mapping[str, str]
    latin: bool
    max_length: int
    epochs: int


def write_recipe(data: Path, targets: Sequence[str] = (), task: str | None = None, force: bool = False,
                 encoding: str | None = None) -> tuple[Path, list[str]]:
    """Write `<name>.yaml` for a file into the current folder; return it and what was found, line by line.

    Args:
        data: the file.
        targets: the columns to learn; guessed by default.
        task: `regression`, `classification`, `multilabel` or `tags`; by the targets' values by default.
        force: write over a recipe that is there.
        encoding: of the file's text; found by default.
    """
    from bessemer.data.inspect import inspect

    each = targets_of(data, targets, task, encoding)
    if not each:
        columns = ", ".join(column.name for column in inspect(data, encoding=encoding).columns[:LISTED])
        raise UserError(f"none of the columns of '{data}' looks like a label ({columns}); name one with --target COLUMN")
    name = re.sub(r"[^\w\-]+", "-", data.stem).strip("-") or "data"
    file = Path(f"{name}.yaml")
    if file.exists() and not force:
        raise UserError(f"'{file}' is there already; delete it, or say --force to write over it")
    found = next(iter(each.values()))
    if len(each) > 1:
        found = _together(data, each)
    if found.table:
        table = table_of(data, each)
        if not table.inputs:
            raise UserError(f"'{data}' has no column to learn all of {', '.join(each)} from; name fewer with --target")
        text, lines = recipe_text(name, table), told(data, table)
    else:
        choice = _choose(found, each)
        text, lines = _text(name, found, choice), _told(data, found, choice)
    make_recipe(parse_yaml(text, str(file)), str(file))  # what is written can be read
    with explained(Path.cwd(), "change to another folder (cd FOLDER)"):
        write_atomic(file, text)
    return file, lines


def _together(data: Path, each: Mapping[str, Inspection]) -> Inspection:
    """Return what was found for several targets: a text or a pair of them, where there is no other input for all of them, or a table."""
    tags = next((name for name, item in each.items() if item.task == "tags"), None)
    if tags is not None:
        raise UserError(f"'{data}': the target '{tags}' holds tags, one for each word or character, which are learnt by themselves; name "
                        "it alone, or the other targets without it")
    table = table_of(data, each)
    kinds = sorted(column.kind for column in table.inputs)
    text = kinds in (["text"], ["words"]) or (kinds == ["text", "text"] and _labels(each))
    return replace(table.found, table=not text, inputs=tuple(column.name for column in table.inputs), task=None)


def _labels(each: Mapping[str, Inspection]) -> bool:
    return all(item.task == "classification" for item in each.values())


def _choose(found: Inspection, each: Mapping[str, Inspection]) -> Choice:
    texts, left = _read_together([column for column in found.columns if column.name in found.inputs], _labels(each))
    columns = {column.name: column for column in found.columns}
    aims = tuple(Aim(columns[name], item.target_modality or {"kind": "category"}, item.labels) for name, item in each.items())
    latin = min(text.latin for text in texts) >= 0.8
    tokens = sum(text.lengths.get("p95", 128) / CHARS_A_TOKEN[latin] + 1 for text in texts) + 1
    if found.task == "tags" and (found.target_modality or {}).get("unit") == "character":
        tokens = texts[0].lengths.get("p95", 128) + 2
    length = next((size for size in LENGTHS if tokens <= size), LENGTHS[-1])
    rows = found.rows
    return Choice(texts, aims, left, latin, length, 10 if rows < SMALL else 4 if rows < MIDDLE else 2)


def _read_together(texts: Sequence[Found], labels: bool) -> tuple[tuple[Found, ...], dict[str, str]]:
    """Return the text to learn from, or the two that make a pair, and why the other columns of text are left out."""
    running = [column for column in texts if column.kind == "text"] or list(texts)
    if len(running) == 2 and labels:
        chosen = tuple(running)
        why = "it holds a few words a row, and two texts at most are read together"
    else:
        chosen = (max(texts, key=lambda column: column.lengths.get("p50", 0)),)
        why = f"'{line_of(chosen[0].name)}' is longer"
        if labels:
            why += "; two at most are read together: a pair needs a line for each under inputs, with the same settings, and no baseline"
    return chosen, {column.name: why for column in texts if column not in chosen}


def _told(data: Path, found: Inspection, choice: Choice) -> list[str]:
    lines = [f"{data}: {found.kind}, {found.rows:,} rows looked at{unread(found)}", *headless(found), *divided(found)]
    inputs, aims = {column.name for column in choice.texts}, {aim.column.name: aim for aim in choice.aims}
    for column in found.columns:
        if column.name not in aims:
            use = (("input, read with the other as a pair" if len(inputs) > 1 else "input") if column.name in inputs
                   else f"left out: {choice.left[column.name]}" if column.name in choice.left else "not used")
            number = "" if column.kind == "list" and not column.distinct else f"{column.distinct:,} different, "
            lines.append(f"  {line_of(column.name)}: {column.kind}, {number}{column.missing:,} missing → {use}")
            continue
        aim = aims[column.name]
        counts = aim.labels or column.counts
        written = str(aim.read["kind"])
        kind, number = ((written, f"{len(counts):,} different labels") if aim.labels else (column.kind, f"{column.distinct:,} different"))
        other = "" if kind in (written, "boolean") else f" ({written})"
        shown = ", ".join(f"{label} ({count})" for label, count in list(counts.items())[:5])
        if len(counts) > 5:
            shown += f" and {len(counts) - 5:,} more"
        lines.append(f"  {line_of(column.name)}: {kind}, {number}, {column.missing} missing → target{other}"
                     + (f": {shown}" if shown else "") + (f" ({column.note})" if column.note else ""))
    return lines


def _text(name: str, found: Inspection, choice: Choice) -> str:
    """Return the recipe: its head, the data, what learns from them, and what is done with it."""
    tags, pair = found.task == "tags", len(choice.texts) == 2
    learning = _tagger(found) if tags else _learner(found, choice)
    baseline = """  baseline:                            # the classical model that a network has to beat
    kind: finetune
    model: {kind: tfidf_linear}
"""
    models = ["finetune", *([] if tags or pair or len(choice.aims) > 1 else ["baseline"]), "compress"]
    stages = ["prepare", *([] if tags or choice.latin else ["pretrain"]), *models, "evaluate", "export"]
    return f"""# Made by: bessemer init. Every key is explained in docs/reference.md; `bessemer schema` prints the schema for editors.
#   bessemer plan {name}.yaml        rehearses every stage on a handful of rows
#   bessemer run {name}.yaml         does it all
#   bessemer run {name}.yaml finetune.learning_rate=3e-5    runs again only what that changes
name: {flow(name)}
seed: 0
stages:
{_prepare(found, choice)}{learning}{baseline if "baseline" in models else ""}  compress: {{}}                         # ONNX, and int8 of it
  evaluate:                            # one look at the test rows scores every form
    models: [{", ".join(models)}]
  export:                              # a folder that predicts without torch
    scores: evaluate
  report:
    stages: [{", ".join(stages)}]
"""


def _prepare(found: Inspection, choice: Choice) -> str:
    from bessemer.data.cut_words import CUT

    used = (*choice.texts, *(aim.column for aim in choice.aims))
    rename = {column.name: free_name(column.name, found) for column in used if reserved(column.name)}
    pretrained = choice.latin and found.task != "tags"
    tokenizer = f"{{kind: pretrained, name: {_weights()}}}" if pretrained else "{kind: wordpiece, vocab_size: 8000}"
    if choice.aims[0].read.get("unit") == "character":
        tokenizer = "{kind: characters}"
    inputs = "".join(f"      {key_of(rename.get(column.name, column.name))}: {{kind: text, {'lists: join, ' if column.note == CUT else ''}"
                     f"max_length: {choice.max_length}, tokenizer: {tokenizer}}}\n" for column in choice.texts)
    if len(choice.texts) == 2:
        inputs += ("      # both are read together, as a pair (question and answer, two texts to compare); to read one alone, remove\n"
                   "      # the line of the other; a baseline of TF-IDF (kind: finetune, model: {kind: tfidf_linear}) reads one alone\n")
    inputs += "".join(f"      # {line_of(name)}: left out, {why}\n" for name, why in choice.left.items())
    split = {"kind": "stratified" if found.task == "classification" else "random", "validation": 0.1, "test": 0.15}
    targets = ""
    for aim in choice.aims:
        note = "; ".join(filter(None, (aim.column.note, WORDS_ORDER if steps_of(aim.column, aim.read) == "words" else "")))
        targets += f"      {key_of(rename.get(aim.column.name, aim.column.name))}: {flow(dict(aim.read))}{comment(note)}\n"
    return f"""  prepare:                             # read, clean, divide, encode; what is rejected goes to quarantine.parquet
    sources:
{sources_of(found, source_of(found, rename))}    inputs:
{inputs}    targets:
{targets}    split: {split_of(found, split)}
"""


def _learner(found: Inspection, choice: Choice) -> str:
    """Return the stages that learn a label, several or a number."""
    model = f"{{kind: pretrained, name: {_weights()}}}" if choice.latin else "{kind: bert, num_hidden_layers: 3, hidden_size: 192}"
    pretrain = "" if choice.latin else f"""  pretrain:                            # learns the language of the training text
    model: {model}
    task: {{kind: mlm}}
    num_train_epochs: {max(8, choice.epochs)}
    learning_rate: 5.0e-4
    bf16: auto                         # faster where the processor multiplies such numbers itself
"""
    counts = choice.aims[0].column.counts.values()
    balanced = min(counts, default=1) * 3 >= max(counts, default=1)
    task = f"    task: {{kind: classification, class_weights: {'none' if balanced else 'balanced'}}}\n"
    task = task if found.task == "classification" else INTERVALS if any(aim.read["kind"] == "number" for aim in choice.aims) else ""
    names = [aim.column.name for aim in choice.aims if steps_of(aim.column, aim.read)]
    task += ordinal_of([free_name(name, found) if reserved(name) else name for name in names]) if names else ""
    return f"""{pretrain}  finetune:                            # learns the target; the best validation weights are kept
    {"model" if choice.latin else "init"}: {model if choice.latin else "pretrain"}
    num_train_epochs: {choice.epochs}
    learning_rate: {"5.0e-5" if choice.latin else "2.0e-4"}
    early_stopping_patience: 3
    bf16: auto                         # faster where the processor multiplies such numbers itself
{task}    adaptation: full                   # or head, or {{kind: lora, r: 8}}
"""


def _tagger(found: Inspection) -> str:
    """Return the stage that learns tags."""
    from bessemer.evaluate._tags import has_spans

    rows = found.rows
    best = "    metric_for_best_model: span_f1     # of whole spans, as seqeval counts them\n" if has_spans(list(found.labels)) else ""
    about, model, rate = ("reads the text from both ends", "{kind: text_rnn, dropout: 0.25}", "4.0e-3")
    if (found.target_modality or {}).get("unit") == "character":
        buckets = 200_000 if rows < SMALL else 1_000_000
        about = "reads one to three characters around each"
        model = f"{{kind: ngrams, sizes: [1, 2, 3], buckets: {buckets}, embedding_size: 8, hidden_size: 0, dropout: 0.3}}"
        rate = "1.0e-2\n    weight_decay: 0"
    return f"""  finetune:                            # {about}; the best validation weights are kept
    model: {model}
    num_train_epochs: {20 if rows < SMALL else 8 if rows < MIDDLE else 4}
    per_device_train_batch_size: 32
    learning_rate: {rate}
    early_stopping_patience: 3
{best}"""


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
