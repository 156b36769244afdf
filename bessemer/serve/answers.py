"""Answers as JSON values, a row at a time; floats keep every bit.

Legend: N rows, C labels, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bessemer.core.types import Answer


def plain_rows(answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
    """Return for each row what is said of each target: `{target: {"kind": …, …}}`.

    A label has `label`, `probability` and `probabilities`; a number `value` and, where the model has them, `quantiles`; flags have
    `labels` (those that hold) and `probabilities`; tags `tags` and `probabilities`, one of each for every
    unit of the text. `spread` is there where the model has members.
    """
    columns = {target: _WAYS[answer.kind](answer) for target, answer in answers.items()}
    for target, answer in answers.items():
        if answer.spread is not None:
            for item, spread in zip(columns[target], answer.spread.tolist(), strict=True):
                item["spread"] = spread
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _label(answer: Answer) -> list[dict[str, Any]]:
    names, found = answer.labels, []
    for row, best in zip(answer.values.tolist(), answer.values.argmax(axis=1).tolist(), strict=True):
        found.append({"kind": "label", "label": names[best], "probability": row[best],
                      "probabilities": dict(zip(names, row, strict=True))})
    return found


def _number(answer: Answer) -> list[dict[str, Any]]:
    levels = [f"{level:g}" for level in answer.quantiles]
    if not levels:
        return [{"kind": "number", "value": row[0]} for row in answer.values.tolist()]
    return [{"kind": "number", "value": row[0], "quantiles": dict(zip(levels, row[1:], strict=True))} for row in answer.values.tolist()]


def _flags(answer: Answer) -> list[dict[str, Any]]:
    names = answer.labels
    return [{"kind": "flags", "labels": [name for name, value in zip(names, row, strict=True) if value >= 0.5],
             "probabilities": dict(zip(names, row, strict=True))} for row in answer.values.tolist()]


def _tags(answer: Answer) -> list[dict[str, Any]]:
    assert answer.offsets is not None
    names, ends = answer.labels, answer.offsets.tolist()
    best = [names[code] for code in answer.values.argmax(axis=1).tolist()]
    sure = answer.values.max(axis=1).tolist()
    return [{"kind": "tags", "tags": best[start:stop], "probabilities": sure[start:stop]}
            for start, stop in zip(ends[:-1], ends[1:], strict=True)]


_WAYS: dict[str, Callable[[Answer], list[dict[str, Any]]]] = {"label": _label, "number": _number, "flags": _flags, "tags": _tags}
