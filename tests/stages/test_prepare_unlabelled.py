"""Rows without a label: set aside, or kept in training alone, with every row accounted for."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from tests.stages.test_prepare import GOOD, csv, go, rows_of

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
