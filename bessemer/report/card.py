"""The model card: README.md with front matter that Hugging Face's hub reads (model-index).

Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from bessemer.report import show
from bessemer.report.data import Form, ReportData, Value
from bessemer.report.html import final_form

ALWAYS = (
    "The scores hold for text like the data above; on other sources, times or languages they must be measured again.",
    "Probabilities are as calibrated as the ECE says, no better; a threshold for decisions needs data of your own.",
    "The model repeats the biases of its training text and of its labels.",
)

USAGE = '''import bessemer

model = bessemer.Model.load(".")
model.predict(["a text to judge"])'''


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
    return {} if form is None else {"accuracy": form.accuracy, "recall": form.recall, "f1": form.f1}


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


def _form_row(form: Form) -> tuple[str, ...]:
    name = _cell(form.name) + (" (this)" if form.final else "")
    return (name, show.both(form.accuracy), show.both(form.recall), show.both(form.f1), show.size(form.size_bytes),
            show.milliseconds(form.latency_median_ms), show.times(form.speedup))


def _evaluation(data: ReportData) -> list[str]:
    parts = []
    if data.evaluation and data.evaluation.metrics:
        rows = [(name, show.plain(value.value), show.bounds(value) or show.ABSENT)
                for name, value in data.evaluation.metrics.items()]
        parts += [f"On {show.whole(data.evaluation.rows)} rows of the {data.split} split, 95% bootstrap intervals.",
                  _table(("metric", "value", "95% interval"), rows)]
    if data.forms:
        head = ("form", "accuracy", "recall", "F1", "size", "latency", "speed to torch fp32")
        parts.append(_table(head, [_form_row(form) for form in data.forms]))
    parts += ["\n".join(f"- {_cell(row.question)} {row.metric}, {_cell(row.a)} − {_cell(row.b)}: "
                        f"{show.signed(row.difference.value)} {show.bounds(row.difference)}: {_cell(row.verdict)}."
                        for row in data.comparisons)] if data.comparisons else []
    if data.looks is not None:
        parts.append(f"Looks at the {data.split} split before these numbers, this one included: {data.looks}.")
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
    use = card.intended_use or ("Assigning one of the labels below to a text like those that it was trained on. Not "
                                "for decisions about people without a person in between.")
    sections = [
        ("Intended use", [use]), ("Data", _data(data)), ("Training", [card.training] if card.training else []),
        ("Evaluation", _evaluation(data)),
        ("Limitations", ["\n".join(f"- {sentence}" for sentence in (*card.limitations, *ALWAYS))]),
        ("How to use", [f"```python\n{card.usage or USAGE}\n```"]),
    ]
    body = [f"# {_cell(data.title)}", *([_cell(data.summary)] if data.summary else [])]
    for title, parts in sections:
        if parts:
            body += [f"## {title}", *parts]
    return f"---\n{head}---\n\n" + show.clean("\n\n".join(body)) + "\n"
