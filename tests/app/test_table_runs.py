"""A table from `bessemer init` to predictions: kinds of columns, targets and files, and rows that cannot be predicted."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bessemer.api import Model
from bessemer.core.errors import UserError
from tests.conftest import Command, left_over, write_csv

NAMES = ("面积", "rooms", "city", "built", "garden", "notes", "score", "price", "class", "tags")
INPUTS = ("面积", "rooms", "city", "built", "garden", "notes", "score")
FACTOR = {"Oslo": 3, "Rome": 2, "北京": 4, "Lima": 1}


def houses(count: int, seed: int = 0) -> list[tuple[Any, ...]]:
    """Return rows of NAMES: numbers, categories, dates, booleans, words, missing values; three targets that the inputs decide."""
    generator, found = random.Random(seed), []
    for index in range(count):
        area, rooms, city = generator.gauss(100, 30), generator.randint(1, 6), generator.choice(list(FACTOR))
        built, garden = date(1990, 1, 1) + timedelta(days=generator.randrange(12_000)), generator.random() < 0.4
        notes = " ".join(generator.choice(["sunny", "quiet", "noisy", "new", "old", "central", "far"]) for _ in range(3))
        price = 10 * area * FACTOR[city] + 300 * rooms + 500 * garden + generator.gauss(0, 50)
        level = "high" if price > 4000 else "mid" if price > 2500 else "low"
        tags = "|".join(tag for tag, on in (("big", area > 100), ("green", garden), ("cheap", price < 2500)) if on)
        found.append((f"{area:.3f}" if index % 9 else "", rooms, city, built.isoformat(), "yes" if garden else "no", notes,
                      round(generator.random() * 5, 1) if index % 13 else "NA", f"{price:.2f}", level, tags))
    return found


def made_small(file: Path) -> dict[str, Any]:
    """Change a written recipe so that it needs little time; everything about the data stays as written. Return it as written."""
    text = file.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    tree["threads"] = 1
    tree["stages"]["finetune"].update(model={"kind": "members", "members": 2, "hidden_sizes": [16], "number_embedding_size": 4},
                                      num_train_epochs=20, per_device_train_batch_size=32, learning_rate=1e-2)
    tree["stages"]["lightgbm"]["model"].update(num_boost_round=30, early_stopping_rounds=10)
    tree["stages"]["evaluate"]["resamples"] = 100
    file.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return dict(yaml.safe_load(text)["stages"])


def started(bessemer: Command, here: Path, columns: tuple[str, ...], *arguments: str, count: int = 240) -> dict[str, Any]:
    """Write data.csv with some columns, run init, make the recipe small, and return its stages as written."""
    places = [NAMES.index(name) for name in columns]
    write_csv(here / "data.csv", [tuple(row[place] for place in places) for row in houses(count)], columns)
    said = bessemer("init", "data.csv", *arguments)
    assert said.code == 0, said.err
    return made_small(here / "data.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that predicts a price, in a folder with its data; to be read only."""
    import contextlib

    from bessemer.api import run
    from bessemer.app.starter import write_recipe

    folder = tmp_path_factory.mktemp("houses")
    with contextlib.chdir(folder):
        write_csv(folder / "data.csv", [row[:8] for row in houses(240)], NAMES[:8])
        write_recipe(Path("data.csv"), ["price"])
        made_small(folder / "data.yaml")
        run("data.yaml")
    return folder / "runs/data"


def test_init_writes_every_kind_of_column(bessemer: Command, here: Path) -> None:
    stages = started(bessemer, here, NAMES[:8], "--target", "price")
    kinds = {name: config["kind"] for name, config in stages["prepare"]["inputs"].items()}
    assert kinds == {"面积": "number", "rooms": "number", "city": "category", "built": "date", "garden": "boolean", "notes": "words",
                     "score": "number"}
    assert stages["prepare"]["targets"] == {"price": {"kind": "number"}} and stages["prepare"]["split"]["kind"] == "random"
    assert stages["evaluate"]["models"] == ["finetune", "lightgbm", "linear", "blend", "compress"]


def test_init_run_predict_evaluate(trained: Path, bessemer: Command, here: Path) -> None:
    scores = json.loads((trained / "evaluate/scores.json").read_text(encoding="utf-8"))
    assert {name.split()[0] for name in scores["forms"]} == {"finetune", "lightgbm", "linear", "blend", "compress"}
    found = {name: form["metrics"]["r2"]["value"] for name, form in scores["forms"].items()}
    assert min(found[name] for name in ("finetune torch-float32", "linear linear", "compress onnx-float32")) > 0.5, found
    rows = houses(30, seed=5)
    write_csv(here / "new.csv", [row[:8] for row in rows], NAMES[:8])
    said = bessemer("predict", trained, "--file", "new.csv", "--output", "out.csv")
    assert said.code == 0 and "30 rows of new.csv, 0 without a prediction" in said.err and "onnx-float32" in said.err
    import pyarrow.csv as csv

    table = csv.read_csv(here / "out.csv")
    assert table.column_names == ["row", "prediction", "spread", "problem"] and table["row"].to_pylist() == list(range(1, 31))
    said = bessemer("evaluate", trained, "--data", "new.csv")
    assert said.code == 0 and "rmse" in said.out and "price" in said.out
    found = Model.load(trained).evaluate(here / "new.csv")
    truth, guess = np.array([float(row[7]) for row in rows]), np.array(table["prediction"].to_pylist())
    assert found["metrics"]["rmse"]["value"] == pytest.approx(np.sqrt(np.mean((truth - guess) ** 2)))
    assert left_over(here) == []


def columns_of(rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Return the input columns of rows as a program holds them: numbers as numbers, None where they are missing."""
    found: dict[str, list[Any]] = {name: list(values) for name, values in zip(NAMES, zip(*rows, strict=True), strict=True)}
    found["面积"] = [float(value) if value else None for value in found["面积"]]
    found["score"] = [None if value == "NA" else value for value in found["score"]]
    return {name: found[name] for name in INPUTS}


def test_rows_in_every_shape_are_answered_alike(trained: Path) -> None:
    import pyarrow as pa

    model = Model.load(trained)
    assert (model.targets, model.labels, model.inputs) == (("price",), (), INPUTS)
    columns = columns_of(houses(20, seed=6))
    expected = model.predict(columns)
    assert len(expected) == 20 and all(isinstance(value, float) for value in expected)
    table = pa.table(columns)
    shapes: dict[str, Any] = {
        "table": table, "batch": table.to_batches()[0], "rows": table.to_pylist(),
        "numpy": {**columns, "rooms": np.array(columns["rooms"])}, "words": {**columns, "rooms": [str(v) for v in columns["rooms"]]},
        "dates": table.set_column(3, "built", pa.array([date.fromisoformat(value) for value in columns["built"]])),
        "true": {**columns, "garden": [value == "yes" for value in columns["garden"]]},
        "dictionary": table.set_column(2, "city", table["city"].dictionary_encode()), "extra": {**columns, "more": [{}] * 20},
        "other order": table.select(list(reversed(INPUTS)))}
    for name, rows in shapes.items():
        assert model.predict(rows) == expected, name

    class Frame:
        def to_dict(self, orient: str) -> dict[str, list[Any]]:
            assert orient == "list"
            return columns

    assert model.predict(Frame()) == expected
    assert model.predict(columns_of(houses(1, seed=6))) == pytest.approx(expected[:1], rel=1e-5)


def test_what_cannot_be_predicted_is_said(trained: Path) -> None:
    import pyarrow as pa

    model, columns = Model.load(trained), columns_of(houses(4, seed=7))
    table = pa.table(columns)
    assert model.problems(table).null_count == 4
    new = {**columns, "city": ["Paris", None, "", "Oslo"]}
    assert model.problems(new).null_count == 4 and len(model.predict(new)) == 4
    odd = {**columns, "面积": [1.0, float("inf"), float("nan"), None], "rooms": ["3", "4", "many", "5"]}
    assert model.problems(odd).to_pylist() == [None, "面积: infinite", "rooms: no number", None]
    nested = table.set_column(0, "面积", pa.array([[1.0], [2.0], None, [3.0]]))
    assert model.problems(nested).to_pylist() == [
        why and "面积: of type list<item: double>, which cannot be read as number" for why in (1, 1, None, 1)]
    for rows, message in (
            (table.drop_columns("rooms"), "no column 'rooms', which the model reads"),
            (table.rename_columns([name.replace("rooms", "roms") for name in INPUTS]), "no column 'rooms', .*; did you mean 'roms'"),
            (table.append_column("rooms", table["rooms"]), "2 columns named 'rooms'")):
        with pytest.raises(UserError, match=message):
            model.problems(rows)
        with pytest.raises(UserError, match="rooms"):
            model.predict(rows)
    for wrong, message in (
            ("text", "expected rows, not one text"), (["text"], "the model has 7 input columns"),
            ([{"rooms": 1}, 2], "row 2 is no mapping"), ({"rooms": 3}, "'rooms' is one value"),
            ({"rooms": [1], "city": ["a", "b"]}, "different lengths"),
            ({**columns, "rooms": [1, "a", 2, 3]}, "row 2: the column 'rooms' holds a value that the model cannot read: no number"),
            ({**columns, "rooms": [1, [2], 2, 3]}, "row 2: the column 'rooms' holds no text but a list"),
            (None, "expected rows .*, not None"), (3, "expected rows .*, not 3")):
        with pytest.raises(UserError, match=message):
            model.predict(wrong)
    with pytest.raises(UserError, match="'price' is a number, which has no probabilities"):
        model.predict_proba(columns)
    with pytest.raises(UserError, match="no quantiles of 'price'"):
        model.predict_quantiles(columns)
    mixed = [{**row, "rooms": value} for row, value in zip(table.to_pylist(), ("3", float("inf"), None, [1, 2]), strict=True)]
    assert model.problems(mixed).to_pylist() == [None, "rooms: infinite", None, "rooms: no text but a list"]
    assert len(model.predict([mixed[0], mixed[2]])) == 2
    huge = [{**mixed[0], "rooms": 10**30}, {**mixed[0], "rooms": 1e30}]
    assert model.predict(huge)[0] == model.predict(huge)[1] and model.problems(huge).null_count == 2
    assert model.predict([]) == [] and model.problems([]).to_pylist() == []


def test_rows_that_cannot_be_scored_are_left_out_and_counted(trained: Path) -> None:
    model = Model.load(trained)
    columns = columns_of(houses(4, seed=9))
    scored = model.evaluate({**columns, "rooms": ["1", "2", "many", "3"], "price": ["1", "dear", "2", "3"]})
    assert scored["rows"] == 2 and scored["left_out"] == {
        "rows": 2, "reasons": {"price: no number": 1, "rooms: no number": 1},
        "first": "row 2: the column 'price', which is to be predicted, holds 'dear' (no number)", "targets": []}
    rest = {name: [values[0], values[3]] for name, values in columns.items()}
    alone = model.evaluate({**rest, "rooms": ["1", "3"], "price": ["1", "3"]})
    assert alone["metrics"] == scored["metrics"] and not alone["left_out"]["rows"]
    with pytest.raises(UserError, match=r"none of the 4 rows can be scored; row 1: the column 'price', .* holds 'dear' \(no number\)"):
        model.evaluate({**columns, "price": ["dear"] * 4})


def test_a_file_of_odd_rows_keeps_every_row(trained: Path, bessemer: Command, here: Path) -> None:
    import pyarrow.parquet as parquet

    rows = [row[:7] for row in houses(5, seed=8)]
    rows[1] = ("inf", *rows[1][1:])
    rows[2] = (*rows[2][:1], "many", *rows[2][2:])
    rows[3] = (*rows[3][:2], "Atlantis", *rows[3][3:])
    write_csv(here / "odd.csv", [(*row, "more") for row in rows], (*INPUTS, "extra"))
    with (here / "odd.csv").open("a", encoding="utf-8") as stream:
        stream.write("1,2\n")
    assert bessemer("predict", trained, "--file", "odd.csv", "--output", "out.parquet").code == 0
    found = parquet.read_table(here / "out.parquet")
    assert found["row"].to_pylist()[:5] == [1, 2, 3, 4, 5] and len(found) == 6
    assert [value is None for value in found["prediction"].to_pylist()] == [False, True, True, False, False, True]
    assert found["problem"].to_pylist()[:5] == [None, "面积: infinite", "rooms: no number", None, None] and found["problem"][5].as_py()
    write_csv(here / "less.csv", [row[1:] for row in rows], INPUTS[1:])
    assert "no column '面积', which the model reads" in bessemer("predict", trained, "--file", "less.csv").error
    write_csv(here / "bad.csv", [rows[1]], INPUTS)
    assert bessemer("predict", trained, "--file", "bad.csv", "--output", "bad.jsonl").code == 0
    assert json.loads((here / "bad.jsonl").read_text(encoding="utf-8"))["prediction"] is None


def test_a_row_as_a_json_object(trained: Path, bessemer: Command) -> None:
    row = {name: values[0] for name, values in columns_of(houses(3, seed=9)).items()}
    said = bessemer("predict", trained, json.dumps(row, ensure_ascii=False))
    assert said.code == 0 and f"{Model.load(trained).predict([row])[0]:.6g}" in said.out, said.err
    assert "no column '面积', which the model reads" in bessemer("predict", trained, '{"rooms": 3}').error
    assert "is no JSON object; the model reads the columns of a table" in bessemer("predict", trained, "hello").error
    assert "row 1 cannot be predicted: rooms: no number" in bessemer("predict", trained, json.dumps({**row, "rooms": "x"})).error


@pytest.mark.slow
def test_several_targets(bessemer: Command, here: Path) -> None:
    stages = started(bessemer, here, NAMES[:9], "--target", "price", "--target", "class")
    assert stages["prepare"]["targets"] == {"price": {"kind": "number"}, "class": {"kind": "category"}}
    said = bessemer("run", "data.yaml")
    assert said.code == 0, said.err
    model = Model.load("runs/data")
    columns = columns_of(houses(12, seed=3))
    found = model.predict(columns)
    assert list(found) == ["price", "class"] == list(model.targets) and isinstance(found["price"][0], float)
    assert model.labels == {"price": (), "class": ("high", "low", "mid")} and set(found["class"]) <= set(model.labels["class"])
    assert list(model.predict_proba(columns)) == ["class"] and model.predict_proba(columns)["class"].shape == (12, 3)
    sheets = model.evaluate("data.csv")
    assert (sheets["price"]["kind"], sheets["class"]["kind"]) == ("number", "label") and sheets["class"]["rows"] == 240
    assert bessemer("predict", "runs/data", "--file", "data.csv", "--output", "out.jsonl").code == 0
    line = json.loads((here / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(line) == ["row", "price", "price_spread", "class", "class_probability", "class_spread", "problem"]
    said = bessemer("evaluate", "runs/data", "--data", "data.csv")
    assert "rmse" in said.out and "accuracy" in said.out


@pytest.mark.slow
def test_several_labels_in_one_column(bessemer: Command, here: Path) -> None:
    stages = started(bessemer, here, (*INPUTS, "tags"), "--target", "tags")
    assert stages["prepare"]["targets"] == {"tags": {"kind": "multilabel", "separator": "|", "empty": "none"}}
    said = bessemer("run", "data.yaml")
    assert said.code == 0, said.err
    model, columns = Model.load("runs/data"), columns_of(houses(12, seed=3))
    found, chances = model.predict(columns), model.predict_proba(columns)
    assert model.labels == ("big", "cheap", "green") and chances.shape == (12, 3)
    assert found == [tuple(label for label, chance in zip(model.labels, row, strict=True) if chance >= 0.5) for row in chances]
    assert bessemer("predict", "runs/data", "--file", "data.csv", "--output", "out.jsonl").code == 0
    assert bessemer("predict", "runs/data", "--file", "data.csv", "--output", "out.csv").code == 0
    line = json.loads((here / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert list(line["probabilities"]) == list(model.labels)
    assert line["labels"] == "|".join(label for label, chance in line["probabilities"].items() if chance >= 0.5)
    assert (here / "out.csv").read_text(encoding="utf-8").startswith('"row","labels",')
    assert bessemer("evaluate", "runs/data", "--data", "data.csv").code == 0
    left_out = model.evaluate({**columns, "tags": ["big|huge", *["big"] * 11]})["left_out"]
    assert left_out["rows"] == 1 and left_out["first"] == ("row 1: the column 'tags', which is to be predicted, holds 'big|huge' (a label "
                                                           "that the model does not know); it knows: big, cheap, green")


def test_a_task_can_be_asked_for(bessemer: Command, here: Path) -> None:
    stages = started(bessemer, here, NAMES[:3], "--target", "rooms")
    assert stages["prepare"]["targets"]["rooms"]["kind"] == "category" and stages["prepare"]["split"]["kind"] == "stratified"
    assert bessemer("init", "data.csv", "--target", "rooms", "--task", "regression", "--force").code == 0
    assert yaml.safe_load(Path("data.yaml").read_text(encoding="utf-8"))["stages"]["prepare"]["targets"] == {"rooms": {"kind": "number"}}
    assert "there is no task 'regresion'" in bessemer("init", "data.csv", "--target", "rooms", "--task", "regresion", "--force").error


def test_what_is_left_out_is_a_comment(bessemer: Command, here: Path) -> None:
    rows = [(index, row[0], row[7], "same", "", f"{float(row[7]) * 2:.2f}", row[2]) for index, row in enumerate(houses(120))]
    write_csv(here / "data.csv", rows, ("number", "面积", "price", "one", "none", "double: price", "city"))
    said = bessemer("init", "data.csv", "--target", "price")
    text = Path("data.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)["stages"]["prepare"]["inputs"]) == ["面积", "city"]
    for name, why in (("number", "it counts the rows"), ("one", "every row holds 'same'"), ("none", "it has no value"),
                      ("double: price", "leak: a straight line of the target 'price'")):
        assert f"      # {name}: left out, {why}" in text and f"left out: {why}" in said.out


def test_many_columns_become_patterns(bessemer: Command, here: Path) -> None:
    generator = random.Random(0)
    names = [f"x_{index}" for index in range(80)] + ["kind", "y"]
    rows = [(*(f"{generator.gauss(0, 1):.4f}" for _ in range(80)), "ab"[index % 2], f"{generator.gauss(0, 1):.4f}") for index in range(40)]
    write_csv(here / "data.csv", rows, tuple(names))
    assert bessemer("init", "data.csv", "--target", "y").code == 0
    inputs = yaml.safe_load(Path("data.yaml").read_text(encoding="utf-8"))["stages"]["prepare"]["inputs"]
    assert inputs == {"kind": {"kind": "category"}, "x_*": {"kind": "number"}}
    assert bessemer("run", "data.yaml", "--until", "prepare").code == 0
    columns = json.loads(Path("runs/data/prepare/schema.json").read_text(encoding="utf-8"))["columns"]
    assert sum(column["role"] == "input" for column in columns) == 81


def test_names_that_bessemer_uses_and_signs_of_patterns(bessemer: Command, here: Path) -> None:
    rows = [(row[1], row[2], row[6], row[7]) for row in houses(120)]
    write_csv(here / "data.csv", rows, ("row", "a*", "weight: #1", "split"))
    assert bessemer("init", "data.csv", "--target", "split").code == 0
    said = bessemer("run", "data.yaml", "--until", "prepare")
    assert said.code == 0, said.err
    columns = json.loads(Path("runs/data/prepare/schema.json").read_text(encoding="utf-8"))["columns"]
    assert [alias for column in columns for alias in column["aliases"]] == ["row", "a*", "split"]


@pytest.mark.slow
def test_a_large_file_is_streamed(bessemer: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bessemer.app import starter_tables

    monkeypatch.setattr(starter_tables, "STREAM_ROWS", 1000)
    stages = started(bessemer, here, NAMES[:8], "--target", "price", count=1500)
    assert stages["prepare"]["kind"] == "stream" and stages["prepare"]["source"] == {"kind": "files", "path": "data.csv"}
    said = bessemer("run", "data.yaml", "prepare.validation=200", "prepare.test=200")
    assert said.code == 0, said.err
    assert len(Model.load("runs/data").predict(columns_of(houses(3)))) == 3
