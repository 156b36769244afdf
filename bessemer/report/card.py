"""The model card: README.md with front matter that Hugging Face's hub reads (model-index).

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from bessemer.report import show
from bessemer.report.data import ReportData
from bessemer.report.html import final_form, metric_names
from bessemer.report.part import Value
from bessemer.report.sheets import Evaluation, Form

SAME = {
    "text": "The scores hold for text like the data above; on other sources, times or languages they must be measured again.",
    "table": "The scores hold for rows like the data above; on other sources or times they must be measured again."}
CERTAIN = {
    "label": "Probabilities are as calibrated as the ECE says, no better; a threshold for decisions needs data of your own.",
    "number": "An estimate far outside the range of the training rows is a guess; quantiles cover what the coverage says, no more.",
    "flags": "A label is said to hold from a probability of one half; another threshold needs data of your own.",
    "tags": "Each unit has its most probable tag; nothing makes the tags of neighbours fit each other."}
BIAS = {
    "text": "The model repeats the biases of its training text and of its labels.",
    "table": "The model repeats the biases of its training rows and of how their truth was found."}

INTENDED = {
    "label": "Assigning one of the labels below to {rows} like those that it was trained on.",
    "number": "Estimating a number for {rows} like those that it was trained on.",
    "flags": "Telling which of the labels below hold for {rows} like those that it was trained on.",
    "tags": "Giving each unit of a text one of the labels below, for {rows} like those that it was trained on."}
CARE = "Not for decisions about people without a person in between."

USAGE = {"text": '''import bessemer

model = bessemer.Model.load(".")
model.predict(["a text to judge"])''', "table": '''import bessemer

model = bessemer.Model.load(".")
model.predict({"a column": ["its value"], "another": [1.5]})  # every input column of the data'''}


def front_matter(data: ReportData) -> dict[str, Any]:
    """Return the card's front matter as plain values; what is unknown is left out."""
    card = data.card
    found: dict[str, Any] = {"license": card.licence, "language": list(card.language), "base_model": card.base_model,
                             "pipeline_tag": data.task, "tags": list(dict.fromkeys(["bessemer", *card.tags]))}
    metrics = [{"type": name, "name": name, "value": round(value.value, 6)}
               for name, value in _metrics(data).items() if value.value is not None]
    if metrics:
        name = _line(data.data_name or data.title)
        data_set = {"name": name, "type": _slug(name), "split": _line(data.split)}
        results = {"task": {"type": data.task}, "dataset": data_set, "metrics": metrics}
        found["model-index"] = [{"name": _line(data.title), "results": [results]}]
    return {name: value for name, value in found.items() if value}


def _metrics(data: ReportData) -> dict[str, Value]:
    if data.evaluation and data.evaluation.metrics:
        return data.evaluation.metrics
    form = final_form(data)
    return {} if form is None else form.metrics


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name.lower()).strip("-") or "data"


def _line(words: str) -> str:
    """Put words on one line: a `---` on a line of its own would end the front matter."""
    return " ".join(show.clean(words).split())


def _cell(words: str) -> str:
    """Make untrusted words harmless in a Markdown table: one line, no markup, no cell border."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", escape(_line(words), quote=False))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _forms(data: ReportData) -> str:
    names = metric_names(data.forms)
    head = ("form", *map(show.title, names), "size", "latency", f"speed to {_cell(data.reference)}")
    return _table(head, [_form_row(form, names) for form in data.forms])


def _form_row(form: Form, names: list[str]) -> tuple[str, ...]:
    name = _cell(form.name) + (" (this)" if form.final else "")
    return (name, *(show.both(form.metrics.get(metric, Value()), metric) for metric in names), show.size(form.size_bytes),
            show.milliseconds(form.latency_median_ms), show.times(form.speedup))


def _sheet(sheet: Evaluation, split: str) -> list[str]:
    """Return a sentence and the table of every metric of one target, and of each label of flags."""
    rows = [(show.title(name), show.scored(value, name), show.limits(value, name) or show.ABSENT)
            for name, value in sheet.metrics.items()]
    whose = f"{_cell(sheet.target)}: " if sheet.target else ""
    parts = [f"{whose}{'on' if whose else 'On'} {show.whole(sheet.rows)} rows of the {split} split, 95% bootstrap intervals.",
             _table(("metric", "value", "95% interval"), rows)]
    if sheet.per_label:
        parts.append(_table(("label", "precision", "recall", "F1", "support"),
                            [(_cell(row.label), *(show.plain(value) for value in (row.precision, row.recall, row.f1)),
                              show.whole(row.support)) for row in sheet.per_label[:50]]))
    return parts


def _evaluation(data: ReportData) -> list[str]:
    parts = []
    if data.evaluation and data.evaluation.metrics:
        parts += _sheet(data.evaluation, data.split)
    if data.forms:
        parts.append(_forms(data))
    for target in data.others:
        parts += _sheet(target.evaluation, data.split)
    parts += ["\n".join(f"- {_cell(row.question)} {show.title(row.metric)}{f' of {_cell(row.target)}' if row.target else ''}, "
                        f"{_cell(row.a)} − {_cell(row.b)}: {show.change(row.difference, row.metric)} "
                        f"{show.limits(row.difference, row.metric)}: {_cell(row.verdict)}."
                        for row in data.comparisons)] if data.comparisons else []
    if data.looks is not None:
        parts.append(f"Looks at the {data.split} split before these numbers, this one included: {data.looks}.")
    for update in data.updates:
        parts.append(f"Update {_cell(update.stage)}: {_cell(update.decision)}. {_cell(update.reason)}".rstrip())
        if update.table:
            parts.append(_table(("rows", "metric", "before", "after", "difference"), [
                (_cell(row.data), show.title(row.metric), show.scored(Value(value=row.before), row.metric),
                 show.scored(Value(value=row.after), row.metric),
                 f"{show.change(row.difference, row.metric)} {show.limits(row.difference, row.metric)}".rstrip())
                for row in update.table]))
    return parts


def _data(data: ReportData) -> list[str]:
    parts = []
    if data.data_name:
        parts.append(f"Data: {_cell(data.data_name)}.")
    if data.splits:
        parts.append(_table(("split", "rows"), [(_cell(split.name), show.whole(split.rows)) for split in data.splits]))
    read, kept = sum(row.rows_in for row in data.funnel), sum(row.rows_out for row in data.funnel)
    if data.funnel:
        why: dict[str, int] = {}
        for row in data.funnel:
            for reason, count in row.rejected.items():
                why[reason] = why.get(reason, 0) + count
        told = ", ".join(f"{_cell(reason)} {show.whole(count)}" for reason, count in why.items() if count)
        parts.append(f"Of {show.whole(read)} rows read, {show.whole(kept)} were kept" + (f"; left out: {told}." if told else "."))
    labels = data.evaluation.labels if data.evaluation else ()
    if labels:
        parts.append("Labels: " + ", ".join(_cell(label) for label in labels[:50]) + ".")
    return parts


def model_card(data: ReportData) -> str:
    """Return README.md: front matter, use, data, training, evaluation with intervals, limitations, how to use.

    Args:
        data: the same data as the report's.

    Returns:
        Markdown; the same data give the same bytes.
    """
    import yaml

    head = yaml.safe_dump(front_matter(data), sort_keys=False, allow_unicode=True, width=1000)
    card = data.card
    kind = data.evaluation.kind if data.evaluation else "label"
    rows = "a text" if data.reads == "text" else "rows of a table"
    use = card.intended_use or f"{INTENDED[kind].format(rows=rows)} {CARE}"
    always = (SAME[data.reads], CERTAIN[kind], BIAS[data.reads])
    sections = [
        ("Intended use", [use]), ("Data", _data(data)), ("Training", [card.training] if card.training else []),
        ("Evaluation", _evaluation(data)),
        ("Limitations", ["\n".join(f"- {sentence}" for sentence in (*card.limitations, *always))]),
        ("How to use", [f"```python\n{card.usage or USAGE[data.reads]}\n```"]),
    ]
    body = [f"# {_cell(data.title)}", *([_cell(data.summary)] if data.summary else [])]
    for title, parts in sections:
        if parts:
            body += [f"## {title}", *parts]
    return f"---\n{head}---\n\n" + show.clean("\n\n".join(body)) + "\n"
