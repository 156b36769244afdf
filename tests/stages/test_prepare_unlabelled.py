"""Rows without a label: set aside, or kept in training alone, with every row accounted for."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.stages.prepare import Prepare, prepare
from tests.stages.test_prepare import GOOD, Run, csv, go, rows_of

BARE = [f"nobody has marked number {i}," for i in range(50)]
TWINS = [f"sample number {i} is here," for i in range(7)]


def test_rows_without_a_label_are_kept_in_training_and_the_others_divided_as_without_them(tmp_path):
    split = {"kind": "stratified", "validation": 0.1, "test": 0.1}
    plain, before = go(tmp_path / "a", {"sources": [csv(tmp_path / "a.csv", GOOD)], "split": split})
    facts, out = go(tmp_path / "b", {"sources": [csv(tmp_path / "b.csv", [*GOOD, *BARE, BARE[3], *TWINS])], "split": split,
                                     "unlabelled": "keep"})
    for part in ("validation", "test"):
        assert rows_of(out, part)["text"].equals(rows_of(before, part)["text"])
    train = rows_of(out, "train")
    bare = train["label"].to_numpy() < 0
    assert sorted(train["text"].filter(bare).to_pylist()) == sorted(row[:-1] for row in BARE)
    assert facts["rows"] == {**plain["rows"], "train": plain["rows"]["train"] + 50}
    assert facts["sources"][0]["rejected"] == {"duplicate": 8}
    assert facts["columns"]["label"]["counts"] == plain["columns"]["label"]["counts"]
    assert "50 rows without a label are in training, for what learns from such rows" in facts["notes"]
    why = {row["row"]: row["detail"] for row in pq.read_table(out / "quarantine.parquet").to_pylist()}
    assert why[351].startswith("duplicate of b.csv row 304") and why[352] == "the same input occurs with a label"


def test_unless_asked_they_are_set_aside(tmp_path):
    facts, out = go(tmp_path, {"sources": [csv(tmp_path / "f.csv", [*GOOD, *BARE])]})
    assert facts["sources"][0]["rejected"] == {"missing label": 50} and (rows_of(out, "train")["label"].to_numpy() >= 0).all()


def test_given_splits_hold_them_in_training_alone(tmp_path):
    def source(name, rows, split):
        return {**csv(tmp_path / name, rows), "split": split}

    right = [source("a.csv", [*GOOD[:200], *BARE], "train"), source("b.csv", GOOD[200:], "test")]
    settings = {"split": {"kind": "given", "validation": 20}, "unlabelled": "keep"}
    facts, out = go(tmp_path / "right", {"sources": right, **settings})
    assert facts["rows"] == {"train": 230, "validation": 20, "test": 100}
    assert np.sum(rows_of(out, "train")["label"].to_numpy() < 0) == 50
    wrong = [source("a.csv", GOOD[:200], "train"), source("b.csv", [*GOOD[200:], *BARE], "test")]
    with pytest.raises(UserError, match="unlabelled: keep, but 50 rows of the given validation and test splits have no label"):
        go(tmp_path / "wrong", {"sources": wrong, **settings})


@pytest.mark.parametrize(("settings", "message"), [
    ({"targets": {"label": "number"}}, "unlabelled: keep is for texts whose targets are labels"),
    ({"inputs": {"text": {"kind": "category"}}}, "unlabelled: keep is for texts whose targets are labels"),
    ({"targets": {}}, "unlabelled: keep has no effect without targets"),
    ({"split": {"kind": "group", "column": "who"}}, "unlabelled: keep puts rows into training whatever their group or time")])
def test_where_it_cannot_hold_it_is_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        go(tmp_path, {"sources": [csv(tmp_path / "f.csv", GOOD)], "unlabelled": "keep", **settings})


def test_a_source_without_the_targets_column_is_of_such_rows(tmp_path):
    words = [row[:-1] for row in BARE]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in words[:20]), encoding="utf-8")
    (tmp_path / "late.jsonl").write_text(json.dumps({"text": "no label as yet"}) + "\n" + json.dumps({"text": "one at last", "label": 1})
                                         + "\n", encoding="utf-8")
    pq.write_table(pa.table({"text": words[40:]}), tmp_path / "a.parquet")
    numbers = [row.replace(",pos", ",1").replace(",neg", ",0") for row in GOOD]
    sources = [csv(tmp_path / "good.csv", numbers), csv(tmp_path / "a.csv", words[20:40], "text"),
               {"kind": "jsonl", "path": str(tmp_path / "a.jsonl")}, {"kind": "jsonl", "path": str(tmp_path / "late.jsonl")},
               {"kind": "parquet", "path": str(tmp_path / "a.parquet")}]
    facts, out = go(tmp_path / "run", {"sources": sources, "unlabelled": "keep"})
    train = rows_of(out, "train")
    assert set(train["text"].filter(train["label"].to_numpy() < 0).to_pylist()) == {*words, "no label as yet"}
    assert sum(facts["rows"].values()) == 300 + 50 + 2
    told = Run(tmp_path / "told")
    (tmp_path / "told/out").mkdir()
    base = {"inputs": {"text": {"kind": "text", "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}}, "targets": {"label": "category"}}
    prepare(Prepare.model_validate({**base, "sources": sources, "unlabelled": "keep"}), {}, tmp_path / "told/out", told)
    assert [note for note in told.notes if "has no column" in note] == [
        f"{name} has no column 'label': all of its rows are without one" for name in ("a.csv", "a.jsonl", "a.parquet")]
    with pytest.raises(UserError, match="a.csv' has no column 'label'; its columns are: text"):
        go(tmp_path / "reject", {"sources": sources})
    with pytest.raises(UserError, match="a.csv' has no column 'test'; did you mean 'text'"):
        go(tmp_path / "input", {"sources": sources[1:2], "inputs": {"test": "text"}, "unlabelled": "keep"})


def test_columns_that_leave_out_what_the_recipe_names_are_refused(tmp_path):
    source = {**csv(tmp_path / "f.csv", GOOD), "columns": ["text"]}
    with pytest.raises(UserError, match="'f.csv' is read without the column 'label', which the recipe names; add it to the source's "):
        go(tmp_path / "run", {"sources": [source]})
