"""The stage `update` on texts: lists of labels and of tags, rows that cannot be learnt, targets that the new rows lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bessemer.api import Model, run
from bessemer.app.answers import show_evaluation
from bessemer.app.updates import update
from bessemer.core.errors import UserError
from bessemer.core.events import Events

STAR = {"awful": "1", "fair": "2", "good": "3"}
TEXT = {"kind": "text", "max_length": 16, "tokenizer": {"kind": "wordpiece", "vocab_size": 200}}
FAST = ["methods=[both]", "num_train_epochs=2", "resamples=100"]


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return texts of which each word has a tag, two things are spoken of and one is how good they were."""
    rng = np.random.default_rng(seed)
    found = []
    for number in rng.permutation(50 * count)[:count]:
        (first, second), how = rng.choice(["room", "meal", "staff"], 2, replace=False), str(rng.choice(list(STAR)))
        found.append({"text": f"the {first} the {second} were {how} {number}", "about": [str(first), str(second)], "stars": STAR[how],
                      "flag": bool(how == "good"), "tags": ["O", "B", "O", "B", "O", "O", "O"]})
    return found


def written(file: Path, found: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return file


def trained(folder: Path, targets: dict[str, Any], model: dict[str, Any]) -> None:
    run({"name": "lists", "output_dir": str(folder / "run"), "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": str(written(folder / "rows.jsonl", rows(240, 0)))}], "inputs": {"text": TEXT},
                    "targets": targets, "split": {"kind": "random", "validation": 0.3, "test": 0.1}},
        "finetune": {"model": model, "num_train_epochs": 3, "learning_rate": 2e-2, "per_device_train_batch_size": 32}}})


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    trained(folder, {"about": {"kind": "multilabel"}, "stars": {"kind": "category"}, "flag": {"kind": "boolean"}}, {"kind": "ngrams"})
    return folder


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    trained(folder, {"tags": {"kind": "tags"}}, {"kind": "text_rnn", "embedding_size": 12, "hidden_size": 12})
    return folder


@pytest.fixture()
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a trained run, of the fixture that the test names."""
    shutil.copytree(request.getfixturevalue(request.param) / "run", tmp_path / "run")
    return tmp_path


def taught(folder: Path, found: list[dict[str, Any]]) -> tuple[dict[str, Any], Path, list[str]]:
    """Update with rows; return the record, the folder and the notes."""
    notes: list[str] = []
    events = Events([lambda kind, data: notes.append(data["message"]) if kind == "note" else None])
    result, name = update(folder / "run", [written(folder / "new.jsonl", found)], FAST, events)
    made = result.stages[name].folder
    return json.loads((made / "update.json").read_text(encoding="utf-8")), made, notes


def reasons(made: Path) -> list[tuple[str, str]]:
    return [(row["reason"], row["content"]) for row in pq.read_table(made / "quarantine.parquet").to_pylist()]


@pytest.mark.parametrize("place", ["labelled"], indirect=True)
def test_lists_of_labels_are_learnt_and_unknown_ones_set_aside(place: Path) -> None:
    new = rows(120, 1)
    new[3]["about"], new[7]["about"] = ["room", "pool"], {"room": 1}
    record, made, notes = taught(place, new)
    assert {row["target"] for row in record["table"] if row["data"] == "new"} == {"about", "stars", "flag"}
    assert any("118 of 120 can be learnt" in note for note in notes)
    assert sorted(reasons(made)) == [("label is not known to the model", "pool, room"), ("no single value but a mapping", '{"room":1}')]


@pytest.mark.parametrize("place", ["labelled"], indirect=True)
def test_targets_that_the_new_rows_lack_are_told_and_not_scored(place: Path) -> None:
    record, _, notes = taught(place, [{**row, "flag": None, "about": None} for row in rows(120, 2)])
    assert {(row["data"], row["target"]) for row in record["table"]} == {
        ("old", "about"), ("old", "stars"), ("old", "flag"), ("new", "stars")}
    for name in ("flag", "about"):
        assert f"new rows: none has a value of '{name}', so it is neither learnt from them nor scored on them" in notes


@pytest.mark.parametrize("place", ["labelled"], indirect=True)
def test_new_rows_without_any_target_are_refused_before_training(place: Path) -> None:
    with pytest.raises(UserError, match="^0 new rows are too few .*missing label .120 rows, in column 'about, stars, flag'"):
        taught(place, [{**row, "flag": None, "about": None, "stars": None} for row in rows(120, 3)])
    with pytest.raises(UserError, match="no column 'flag'.*; where no row has 'flag', give it as an empty column"):
        taught(place, [{"text": row["text"], "about": row["about"], "stars": row["stars"]} for row in rows(60, 3)])


@pytest.mark.parametrize("place", ["tagged"], indirect=True)
def test_tags_that_do_not_fit_are_set_aside_and_unknown_ones_count_as_wrong(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = rows(120, 4)
    for row in new[10:]:
        row["tags"] = [*row["tags"][:-1], "B-NEW"]
    new[2]["tags"] = new[2]["tags"][:-1]
    record, made, notes = taught(place, new)
    assert reasons(made) == [("not one tag for each word of the text", "['O', 'B', 'O', 'B', 'O', 'O']")]
    assert "new rows: 110 tags of 'tags' are none that the model knows: they are not learnt and count as wrong" in notes
    score = next(row for row in record["table"] if row["data"] == "new")
    model = Model.load(place / "run" / "finetune")
    sheet = model.evaluate(place / "new.jsonl")
    assert sheet["rows"] == 119 and sheet["unknown_tags"] == 110 and sheet["left_out"]["rows"] == 1
    assert max(score["after"], sheet["metrics"]["accuracy"]["value"]) <= 1 - 0.9 / 7
    show_evaluation(place / "run" / "finetune", place / "new.jsonl", None)
    assert "110 of 833 tags of 'tags' are none that the model knows, so they count as wrong" in " ".join(capsys.readouterr().err.split())
