"""Why: the words and columns that are named change the answer most, in bounded calls, the same each time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.forms import open_form
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.modalities import modality_of
from bessemer.serve.why import INSIDE, MOST_SPANS, TYPICAL, Reason, typical, why
from bessemer.serve.words import parts
from tests.conftest import WORDS, sentences
from tests.contract.test_contract_predictors import fit_table
from tests.serve.small import text_linear, text_network

DECIDING = {word for pair in WORDS.values() for words in pair for word in words}


@dataclass(eq=False)
class Counted:
    """A predictor that counts what it is asked."""

    inner: Predictor
    calls: list[int] = field(default_factory=list)

    @property
    def schema(self) -> Schema:
        return self.inner.schema

    @property
    def form(self) -> str:
        return self.inner.form

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        self.calls.append(len(rows))
        return self.inner.predict(rows)


@pytest.fixture(scope="module", params=[text_network, text_linear])
def text_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("text")
    request.param(folder)
    return open_form(folder)


@pytest.fixture(scope="module", params=["lightgbm", "linear"])
def table_model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("table")
    fit_table(folder, request.param)
    return open_form(folder)


def probability(model: Predictor, text: str, label: str) -> float:
    (answer,) = model.predict(pa.table({"text": [text]})).values()
    return float(answer.values[0, answer.labels.index(label)])


def test_the_word_that_decides_is_named_first(text_model: Predictor) -> None:
    # Where one word turns the answer; the linear model takes a run of Chinese for one word, and any of its signs turns it.
    texts = [text for text, _ in sentences(80, seed=7) if text_model.form != "linear" or text.isascii()]
    first = {text: why(text_model, {"text": text})[0] for text in texts}
    turned = {text: reason for text, reason in first.items() if reason.change > 0.5}
    assert len(turned) >= 15
    assert np.mean([any(reason.text in word for word in DECIDING) for reason in turned.values()]) >= 0.9
    assert all(text[reason.start:reason.stop] == reason.text for text, reason in first.items())


def test_a_change_is_the_answer_less_the_answer_without_the_words(text_model: Predictor) -> None:
    text = "The film number 12 was superb today."
    found = why(text_model, {"text": text})
    whole = text_model.predict(pa.table({"text": [text]}))["label"]
    label = whole.labels[int(whole.values[0].argmax())]
    assert {reason.text for reason in found} == {"The", "film", "number", "12", "was", "superb", "today", "."}
    for reason in found:
        alone = probability(text_model, text[:reason.start] + text[reason.stop:], label)
        assert reason.label == label and reason.kind == "words" and reason.column == "text"
        assert reason.change == pytest.approx(float(whole.values[0].max()) - alone, abs=1e-5)
        odds = np.log(whole.values[0].max() / (1 - whole.values[0].max())) - np.log(alone / (1 - alone))
        assert reason.weight == pytest.approx(odds, abs=1e-2)
        assert reason.changes["good"] == pytest.approx(-reason.changes["bad"], abs=1e-5)
    assert [abs(reason.weight) for reason in found] == sorted((abs(reason.weight) for reason in found), reverse=True)
    assert found == why(text_model, {"text": text})


def test_taking_named_words_away_moves_the_answer_more_than_random_ones(text_model: Predictor) -> None:
    generator = random.Random(3)
    named, drawn = [], []
    for text, _ in sentences(80, seed=11):
        reasons = why(text_model, {"text": text})
        whole = probability(text_model, text, reasons[0].label)
        pick = parts(text)[generator.randrange(len(parts(text)))]
        for store, (start, stop) in ((named, (reasons[0].start, reasons[0].stop)), (drawn, (pick.start, pick.stop))):
            store.append(abs(whole - probability(text_model, text[:start] + text[stop:], reasons[0].label)))
    assert np.mean(named) > 2 * np.mean(drawn)


def test_chinese_words_are_found_without_spaces(text_model: Predictor) -> None:
    if text_model.form == "linear":
        pytest.skip("its words are runs of signs")
    found = why(text_model, {"text": "第12次，房间很好。"})
    assert found[0].text in ("很好", "很", "好")
    spans = sorted((reason.start, reason.stop) for reason in found)
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))


def test_long_texts_cost_bounded_calls_and_the_word_is_found(tmp_path: Path) -> None:
    text_linear(tmp_path)
    model = Counted(open_form(tmp_path))
    text = " ".join(f"room{number}" for number in range(700)) + " superb " + " ".join(f"meal{number}" for number in range(300))
    found = why(model, {"text": text})
    assert found[0].text == "superb"
    assert sum(model.calls) <= 1 + MOST_SPANS and len(model.calls) <= 6
    spans = sorted((reason.start, reason.stop) for reason in found)
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))
    model.calls.clear()
    why(model, {"text": "word " * 100_000})
    assert sum(model.calls) <= 9


@pytest.mark.parametrize("text", ["superb", "!", "好", "\u200dx", "12"])
def test_one_word_alone_is_explained(text_model: Predictor, text: str) -> None:
    (found,) = why(text_model, {"text": text})
    assert np.isfinite([found.change, found.weight]).all()


def test_columns_that_decide_are_named(table_model: Predictor) -> None:
    row = {"size": 0.1, "speed": 12.0, "shape": "a", "other": "is not read"}
    found = why(table_model, row)
    assert {reason.target for reason in found} == {"label", "amount", "flags"}
    amount = [reason for reason in found if reason.target == "amount"]
    assert [reason.column for reason in amount][0] == "speed" and len(amount) == 3  # 10 * 0.5 * (12 - 5) is the largest part
    assert (amount[0].text, amount[0].start, amount[0].label) == ("12.0", -1, "")
    assert amount[0].change == amount[0].changes[""] and amount[0].change > 10
    assert why(table_model, row, "amount") == amount == why(table_model, dict(reversed(row.items())), "amount")


def test_a_column_is_held_against_typical_values(table_model: Predictor) -> None:
    row: Mapping[str, Any] = {"size": 1.0, "speed": 3.0, "shape": "b"}
    column = next(item for item in table_model.schema.by_role(Role.INPUT) if item.name == "shape")
    values = typical(column, pa.string())
    assert len(values) == TYPICAL and set(values.to_pylist()) <= {"a", "b", "c", None}
    without = table_model.predict(pa.table({"size": [1.0] * TYPICAL, "speed": [3.0] * TYPICAL, "shape": values}))["amount"]
    whole = table_model.predict(pa.table({name: [value] for name, value in row.items()}))["amount"]
    reason = next(item for item in why(table_model, row, "amount") if item.column == "shape")
    assert reason.change == pytest.approx(float(whole.values[0, 0] - without.values[:, 0].mean()))


def test_typical_values_of_each_kind_are_read_by_its_modality(tmp_path: Path) -> None:
    from bessemer.core.schema import Column

    raw = {"number": pa.array([1.0, 2.0, 4.0, None] * 10), "category": pa.array(["x"] * 30 + ["y"] * 9 + [None]),
           "boolean": pa.array([True, False] * 20), "date": pa.array(["2024-01-05", "2024-03-31"] * 20),
           "words": pa.array(["some text", "another"] * 20), "vector": pa.array([[1.0, 2.0], [3.0, 4.0]] * 20)}
    for kind, values in raw.items():
        column = Column(name="c", role=Role.INPUT, modality={"kind": kind})
        modality = modality_of(column)
        clean = modality.clean(values)[0]
        labels, facts = modality.fit(iter([clean]), 0, tmp_path)
        found = typical(column.model_copy(update={"labels": labels, "facts": facts}), clean.type)
        again, problems = modality.clean(found)
        assert len(found) == TYPICAL and problems.null_count == TYPICAL
        assert again.equals(found.cast(again.type)), kind
    assert typical(Column(name="c", role=Role.INPUT, modality={"kind": "category"}, facts={"counts": {"x": 6, "y": 4}}),
                   pa.string()).to_pylist() == ["x", "x", "x", "y", "y"]


def test_wide_tables_cost_bounded_rows() -> None:
    from bessemer.core.schema import Column

    weight = np.zeros(700)
    weight[[17, 600]] = 5.0, -2.0
    facts = {"quantiles": {f"p{mark}": 0.0 for mark in (10, 25, 50, 75, 90)}, "count": 10, "missing": 0}
    columns = [Column(name=f"c{place}", role=Role.INPUT, modality={"kind": "number"}, facts=facts) for place in range(len(weight))]

    class Sum:
        schema = Schema(columns=(*columns, Column(name="y", role=Role.TARGET, modality={"kind": "number"})))
        form = "sum"

        def predict(self, rows: pa.Table) -> dict[str, Answer]:
            x = np.stack([rows[column.name].to_numpy() for column in columns], axis=1).astype(float)
            return {"y": Answer("number", (x @ weight)[:, None])}

    model = Counted(Sum())
    found = why(model, {column.name: 1.0 for column in columns})
    assert [(reason.column, reason.change) for reason in found[:2]] == [("c17", 5.0), ("c600", -2.0)]
    assert sum(model.calls) <= 1 + MOST_SPANS * TYPICAL and INSIDE < MOST_SPANS


def test_a_text_with_a_number_and_flags() -> None:
    from bessemer.core.schema import Column

    class Letters:
        schema = Schema(columns=(Column(name="text", role=Role.INPUT, modality={"kind": "text"}),
                                 Column(name="size", role=Role.TARGET, modality={"kind": "number"}, facts={"std": 2.0}),
                                 Column(name="has", role=Role.TARGET, modality={"kind": "multilabel"}, labels=("a", "b"))))
        form = "letters"

        def predict(self, rows: pa.Table) -> dict[str, Answer]:
            texts = rows["text"].to_pylist()
            has = np.array([[0.9 if sign in text else 0.1 for sign in "ab"] for text in texts], np.float32)
            return {"size": Answer("number", np.array([[float(sum(map(str.isalpha, text)))] for text in texts])),
                    "has": Answer("flags", has, ("a", "b"))}

    found = why(Letters(), {"text": "cccc ac b"})
    size = {reason.text: (reason.change, reason.weight) for reason in found if reason.target == "size"}
    assert size == {"cccc": (4.0, 2.0), "ac": (2.0, 1.0), "b": (1.0, 0.5)}
    flags = {reason.text: reason.changes for reason in found if reason.target == "has"}
    assert {text: {label: round(change, 3) for label, change in changes.items()} for text, changes in flags.items()} == {
        "ac": {"a": 0.8, "b": 0.0}, "b": {"a": 0.0, "b": 0.8}, "cccc": {"a": 0.0, "b": 0.0}}


@pytest.mark.parametrize(("row", "target", "message"), [
    ({"text": "x"}, "lable", "the model has no target 'lable'; did you mean 'label'?"),
    ({"txt": "x"}, None, "the rows have no column 'text', which the model reads; did you mean 'txt'?"),
    ({"text": " "}, None, "row 1: the value of the column 'text' is empty; every row to predict needs a text: leave this row out"),
    ({"text": ["x"]}, None, "the column 'text' has type list<item: string>; expected text or numbers"),
])
def test_bad_rows_are_named(text_model: Predictor, row: dict[str, Any], target: str | None, message: str) -> None:
    with pytest.raises(UserError) as found:
        why(text_model, row, target)
    assert str(found.value) == message


def test_a_reason_is_plain_json(text_model: Predictor) -> None:
    import json

    found = why(text_model, {"text": 12})[0]
    assert isinstance(found, Reason) and Reason(**json.loads(json.dumps(found.plain()))) == found


@pytest.mark.parametrize(("text", "words"), [
    ("It isn't 3.5!! 1,000 'quoted' don’t.", ["It", "isn't", "3.5", "!!", "1,000", "'", "quoted", "'", "don’t", "."]),
    ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
    ("👍🏽👨‍👩‍👧 🇩🇪🇫🇷", ["👍🏽", "👨‍👩‍👧", "🇩🇪", "🇫🇷"]),
    ("abc很好abc", ["abc", "很", "好", "abc"]),
    ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
    ("e\u0301te\u0301", ["e\u0301te\u0301"]),
    (" \t\n\x00", []), ("", []),
])
def test_words_of_every_script(text: str, words: list[str]) -> None:
    assert [text[part.start:part.stop] for part in parts(text)] == words
