"""Why a model says what it says of one row: what its answer would be without each word, or without knowing each column.

Leave one out: Li, Monroe and Jurafsky 2016 (words erased); Robnik-Sikonja and Kononenko 2008 (a column replaced by what is usual).
Long texts and wide tables are asked about in runs of parts first, then within the runs that matter most, so the calls are bounded.
Legend: U parts, S spans, K typical values of a column.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bessemer.core.errors import UserError, nearest
from bessemer.core.schema import Column, Role
from bessemer.serve.words import parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Answer, Predictor

MOST_REASONS = 100
MOST_LABELS = 5
MOST_SPANS = 96
"""Answers asked for one explanation at most, besides the whole row's own; of a table times TYPICAL."""
MOST_SIGNS, MOST_CELLS = 2_000_000, 2_000_000
"""Characters and cells that all rows of one explanation hold together at most; long texts and wide tables get fewer spans."""
READ_SIGNS = 50_000
"""What is beyond in a text stays where it is and is not explained."""
INSIDE, AT_ONCE = 16, 32
"""Parts that a run is cut into at most, and spans of one call from which it is full."""
TYPICAL = 5
MARKS = {1: (50,), 2: (25, 75), 3: (10, 50, 90), 4: (10, 25, 75, 90), 5: (10, 25, 50, 75, 90)}
"""Which percentiles stand for a number column when so many typical values are left beside missing ones."""
SHOWN_SIGNS = 200
TINY = 1e-7

Span = tuple[int, int]


@dataclass(frozen=True)
class Reason:
    """One part of the row and what it does to the answer.

    Attributes:
        target: the target that is answered.
        label: the label whose probability is explained: the most probable one; empty for a number.
        kind: `"words"` (a part of the text) or `"column"`.
        column: the input column.
        text: the words, or the column's value; long ones are cut. Empty where the value is missing.
        start: where the words start in the text as it was given, in code points; -1 for a column.
        stop: where they end, exclusive; -1 for a column.
        change: the answer less the answer without this part: of a probability (-1 to 1), or of the number in its own unit. Above 0 it
            speaks for the label, or raises the number.
        weight: the same as a difference of log-odds, or in standard deviations of the target; what is ranked and drawn, because
            probabilities near 0 and 1 hardly move.
        weights: the same for the most probable labels, at most five; `{"": weight}` for a number.
        changes: as `weights`, in probability.
    """

    target: str
    label: str
    kind: str
    column: str
    text: str
    start: int
    stop: int
    change: float
    weight: float
    weights: dict[str, float]
    changes: dict[str, float]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Question:
    """What is taken away, and how.

    Attributes:
        kind: `"words"` or `"column"`.
        joined: for each part whether the span of it and its next one is also tried.
        budget: spans at most.
        ask: (spans) -> target -> Answer of the row without each span, its probabilities or numbers the mean of several where they are.
    """

    kind: str
    joined: list[bool]
    budget: int
    ask: Callable[[Sequence[Span]], dict[str, Answer]]


def why(predictor: Predictor, row: Mapping[str, Any], target: str | None = None) -> list[Reason]:
    """Return what decided the answer of one row, the weightiest first, target after target.

    A text: each word is taken out and the model asked again; characters of a script without spaces alone and by twos, of which the
    weightier stay. A table: each column in turn is given five typical values of the training rows (quantiles, frequent labels, missing
    as often as it was), and the answer is held against the mean of those five. The same row gives the same reasons.

    Args:
        predictor: any form of a model.
        row: column -> value, as a request holds it.
        target: whose answer; None for every target.

    Raises:
        UserError: an unknown target, or a row that the model cannot read, in the predictor's own words.
    """
    from bessemer.data.given import table_of

    names = [column.name for column in predictor.schema.by_role(Role.TARGET)]
    if target is not None and target not in names:
        raise UserError(f"the model has no target '{target}'{nearest(target, names)}")
    inputs = [column for column in predictor.schema.by_role(Role.INPUT) if not column.of]
    given = table_of([dict(row)], [column.name for column in inputs])
    whole = predictor.predict(given)
    tags = next((name for name, answer in whole.items() if answer.offsets is not None), None)
    if tags is not None:
        raise UserError(f"'{tags}' has a tag for each unit of a text, and reasons are told of one answer a row; ask without reasons")
    if [column.modality["kind"] for column in inputs] == ["text"]:
        text = _text(given, inputs[0])
        question, tell = _of_text(predictor, given, inputs[0], text)
    else:
        question, tell = _of_table(predictor, given, inputs)
    scales = {column.name: float(column.facts.get("std") or 1.0) for column in predictor.schema.by_role(Role.TARGET)}
    chosen = {name: _Effects(answer, scales[name]) for name, answer in whole.items() if target in (None, name)}
    spans, effects = _zoom(question, chosen)
    found: list[Reason] = []
    for name, (weight_SL, change_SL) in effects.items():
        labels = chosen[name].labels
        kept = _tiled(spans, weight_SL[:, 0].tolist(), question.joined)
        own = []
        for place in kept:
            pair = [dict(zip(labels, values[place].tolist(), strict=True)) for values in (weight_SL, change_SL)]
            part, first = tell(spans[place]), labels[0]
            own.append(Reason(name, first, question.kind, part.column, part.text, part.start, part.stop, pair[1][first], pair[0][first],
                              *pair))
        own.sort(key=lambda reason: (-abs(reason.weight), reason.start))
        found += own[:MOST_REASONS]
    return found


class _Told(NamedTuple):
    """What is said of a span; see Reason."""

    column: str
    text: str
    start: int = -1
    stop: int = -1


class _Effects:
    """Compares answers with the whole row's answer about one target.

    Attributes:
        labels: the most probable labels, the first of which is explained; `("",)` for a number.
    """

    def __init__(self, whole: Answer, scale: float) -> None:
        import numpy as np

        self.kind, self.scale = whole.kind, scale
        self.labels: tuple[str, ...]
        if whole.kind == "number":
            self.codes, self.labels = np.zeros(1, np.int64), ("",)
        else:
            self.codes = np.argsort(-whole.values[0], kind="stable")[:MOST_LABELS]
            self.labels = tuple(whole.labels[code] for code in self.codes.tolist())
        self.values, self.odds = self._read(whole.values)

    def _read(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values of the labels, and what weights are differences of: both float64 [S, L]."""
        import numpy as np

        exact = values.astype(np.float64)
        if self.kind == "number":
            return exact[:, :1], exact[:, :1] / self.scale
        own = exact[:, self.codes]
        # Of classes the sum of the others, not 1 - p: a float32 probability beside 1 has no digits left, those beside 0 have all.
        rest, least = 1 - own, TINY
        if self.kind == "label":
            rest, least = np.stack([np.delete(exact, code, axis=1).sum(axis=1) for code in self.codes], axis=1), TINY**2
        return own, np.log(np.maximum(own, least)) - np.log(np.maximum(rest, least))

    def of(self, without: Answer) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and changes [S, L] of the answers without something."""
        values, odds = self._read(without.values)
        return self.odds - odds, self.values - values


def _of_text(predictor: Predictor, given: pa.Table, column: Column, text: str) -> tuple[_Question, Callable[[Span], _Told]]:
    """Return how words are taken out of a text, and what is told of a span: column, text, start, stop."""
    import pyarrow as pa

    words = parts(text[:READ_SIGNS])

    def edges(span: Span) -> Span:
        return words[span[0]].start, words[span[1] - 1].stop

    def ask(spans: Sequence[Span]) -> dict[str, Answer]:
        cut = [text[:start] + text[stop:] for start, stop in map(edges, spans)]
        # A model says nothing of no text; a full stop is the least that can be said.
        rest = [item if any(sign.isprintable() and not sign.isspace() for sign in item) else "." for item in cut]
        return predictor.predict(pa.table({column.name: pa.array(rest, pa.string())}))

    def tell(span: Span) -> _Told:
        start, stop = edges(span)
        return _Told(column.name, _short(text[start:stop]), start, stop)

    budget = min(MOST_SPANS, max(8, MOST_SIGNS // max(1, len(text))))
    return _Question("words", [part.glued for part in words], budget, ask), tell


def _text(given: pa.Table, column: Column) -> str:
    """Return the text of the one row as the model reads it, before cleaning; of a list of words, these with a space between."""
    import pyarrow as pa

    from bessemer.modalities.text import joined

    name = column.named_in(given.column_names)
    found: str = joined(given.column(name).combine_chunks()).cast(pa.string())[0].as_py()
    return found


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_SIGNS else text[:SHOWN_SIGNS - 1] + "…"


def _of_table(predictor: Predictor, given: pa.Table, inputs: Sequence[Column]) -> tuple[_Question, Callable[[Span], _Told]]:
    """Return how columns are forgotten, and what is told of a span of them."""
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Answer
    from bessemer.predictors._tables import clean_columns

    cleaned = clean_columns(given, predictor.schema)
    choices, shown = [], []
    for column in inputs:
        clean = cleaned.column(column.name).combine_chunks()
        choices.append(pa.concat_arrays([clean, typical(column, clean.type)]))
        value = given.column(column.named_in(given.column_names))[0].as_py()
        shown.append(value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False, default=str))

    def ask(spans: Sequence[Span]) -> dict[str, Answer]:
        code_CS = np.zeros((len(inputs), len(spans) * TYPICAL), np.int64)
        for place, (start, stop) in enumerate(spans):
            code_CS[start:stop, place * TYPICAL:(place + 1) * TYPICAL] = np.arange(1, TYPICAL + 1)
        rows = pa.table({column.name: values.take(pa.array(codes))
                         for column, values, codes in zip(inputs, choices, code_CS, strict=True)})
        return {name: Answer(answer.kind, answer.values.reshape(len(spans), TYPICAL, -1).mean(axis=1, dtype=np.float64), answer.labels)
                for name, answer in predictor.predict(rows).items()}

    def tell(span: Span) -> _Told:
        start, stop = span
        alone = stop - start == 1
        return _Told(_short(", ".join(column.name for column in inputs[start:stop])), _short(shown[start]) if alone else "")

    budget = min(MOST_SPANS, max(8, MOST_CELLS // (TYPICAL * len(inputs))))
    return _Question("column", [False] * len(inputs), budget, ask), tell


def typical(column: Column, kind: pa.DataType) -> pa.Array:
    """Return TYPICAL values that stand for a column's training rows, of the clean values' Arrow type; equally likely, some null."""
    import numpy as np
    import pyarrow as pa

    facts = column.facts
    missing, modality = int(facts.get("missing") or 0), column.modality["kind"]
    level = [(place + 0.5) / TYPICAL for place in range(TYPICAL)]
    found: list[Any] = [None] * TYPICAL
    if facts.get("quantiles"):
        holes = round(missing * TYPICAL / max(1, missing + int(facts.get("count") or 0)))
        known = [facts["quantiles"][f"p{mark}"] for mark in MARKS.get(TYPICAL - holes, ())]
        found = [*known, *[None] * holes]
    elif facts.get("counts"):
        count = {**facts["counts"], None: missing}
        names = sorted(count, key=lambda name: (-count[name], name or ""))
        until = np.cumsum([count[name] for name in names]) / sum(count.values())
        found = [names[int(np.searchsorted(until, mark))] for mark in level]
    elif facts.get("first"):
        first, last = (np.datetime64(facts[end], "D").astype(np.int64) for end in ("first", "last"))
        spread = [float(np.clip(facts["mean"] + step * facts["std"], first, last)) for step in (-1.3, -0.5, 0.0, 0.5, 1.3)]
        found = [str(np.datetime64(math.floor(day), "D")) for day in spread]
    elif modality == "vector":
        found = [[0.0] * int(facts["width"])] * TYPICAL
    elif modality == "text":  # one of a pair; a full stop is the least that can be said
        found = ["."] * TYPICAL
    return pa.array(found, kind)


def _cut(span: Span, joined: Sequence[bool], most: int) -> list[Span]:
    """Return the parts of a span, and pairs that are joined, where they are at most `most`; else that many runs of two parts or more."""
    start, stop = span
    single = [(place, place + 1) for place in range(start, stop)]
    pairs = [(place, place + 2) for place in range(start, stop - 1) if joined[place]]
    if len(single) + len(pairs) <= most:
        return single + pairs
    count = max(1, min(most, len(single) // 2))
    marks = [start + (stop - start) * step // count for step in range(count + 1)]
    return list(zip(marks, marks[1:], strict=False))


def _zoom(question: _Question, chosen: Mapping[str, _Effects]) -> tuple[list[Span], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the spans that were asked about and not cut further, and target -> their weights and changes [S, L].

    All parts at once where the budget allows it. Else runs of parts, then the parts of the runs that weigh most, and so on.
    """
    import numpy as np

    left, whole = question.budget, (0, len(question.joined))
    direct = len(question.joined) + sum(question.joined) <= left
    todo = _cut(whole, question.joined, left if direct else max(4, left // 3))
    spans: list[Span] = []
    kept: dict[str, list[list[np.ndarray]]] = {name: [[], []] for name in chosen}
    force: list[float] = []
    while todo:
        answers = question.ask(todo)
        for name, effects in chosen.items():
            for store, values in zip(kept[name], effects.of(answers[name]), strict=True):
                store.extend(values)
        spans, left = spans + todo, left - len(todo)
        force = np.max([np.abs([row[0] for row in kept[name][0]]) for name in chosen], axis=0).tolist()
        todo = []
        gone: list[int] = []
        wide = [place for place in range(len(spans)) if _can_cut(spans[place], question.joined)]
        for place in sorted(wide, key=lambda place: -force[place]):
            room = left - len(todo)
            if room < 3 or len(todo) >= AT_ONCE:
                break
            inside = _cut(spans[place], question.joined, min(INSIDE, room))
            if len(inside) < 2:
                break
            todo, gone = todo + inside, [*gone, place]
        stay = [place for place in range(len(spans)) if place not in gone]
        spans = [spans[place] for place in stay]
        kept = {name: [[store[place] for place in stay] for store in both] for name, both in kept.items()}
    return spans, {name: (np.stack(both[0]), np.stack(both[1])) for name, both in kept.items() if spans}


def _can_cut(span: Span, joined: Sequence[bool]) -> bool:
    """Tell whether a span is a run that holds smaller parts, and no joined pair, whose parts are asked about beside it."""
    width = span[1] - span[0]
    return width > 2 or (width == 2 and not joined[span[0]])


def _tiled(spans: Sequence[Span], weights: Sequence[float], joined: Sequence[bool]) -> list[int]:
    """Return the places of spans that do not overlap, the weightiest first; a pair gives way to a part that has nearly its weight."""
    force = {span: abs(weight) for span, weight in zip(spans, weights, strict=True)}

    def rank(span: Span) -> float:
        alone = [force.get((place, place + 1), 0.0) for place in range(*span)]
        return 0.0 if len(alone) == 2 and joined[span[0]] and max(alone) >= 0.9 * force[span] else force[span]

    taken, found = set[int](), []
    for place in sorted(range(len(spans)), key=lambda place: (-rank(spans[place]), spans[place])):
        if taken.isdisjoint(range(*spans[place])):
            taken.update(range(*spans[place]))
            found.append(place)
    return found
