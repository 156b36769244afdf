"""Texts of several targets, some of them missing: equal texts stay in one split, and each target is scored on the rows that have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.data.shards import ShardReader

BOTH = {"y": {"kind": "category"}, "s": {"kind": "category"}}


def recipe(root: Path, rows: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    file = root / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare = {"sources": [{"kind": "jsonl", "path": str(file)}], "targets": BOTH, **settings,
               "inputs": {"text": {"kind": "text", "max_length": 16, "tokenizer": {"kind": "wordpiece", "vocab_size": 200}}}}
    return {"name": "x", "output_dir": str(root / "run"), "threads": 1, "stages": {
        "prepare": prepare, "finetune": {"model": {"kind": "ngrams", "buckets": 100}, "max_steps": 1}, "evaluate": {"resamples": 100}}}


def said(number: int) -> dict[str, Any]:
    return {"text": f"văn bản số {number}", "y": "ab"[number % 2], "s": "12"[number // 2 % 2]}


@pytest.mark.parametrize("split", [{"kind": "stratified"}, {"kind": "random"}, {"kind": "folds", "folds": 4}])
def test_rows_that_lack_different_targets_stay_in_one_split(tmp_path: Path, split: dict[str, Any]) -> None:
    """Each text comes twice, with a label of one target each: no duplicates, and nothing to test on that was learnt."""
    rows = [{**said(number), missing: None} for number in range(120) for missing in ("y", "s")]
    made = run(recipe(tmp_path, rows, split=split), until="prepare").stages["prepare"].folder
    texts = {name: pa.concat_tables(ShardReader(made / name).tables())["text"].to_pylist() for name in ("train", "validation", "test")}
    assert sum(map(len, texts.values())) == 240
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert texts[one] and not set(texts[one]) & set(texts[other])
    assert all(values.count(values[0]) == 2 for values in texts.values())


def test_rows_apart_from_training_are_counted_for_each_target(tmp_path: Path) -> None:
    """Of 24 test rows 20 stand in training; `s` is known of 8 of these and of the 4 others, `y` of rows in training alone."""
    train = [{**said(number), "part": "train" if number < 100 else "validation"} for number in range(120)]
    test = [{**said(number), "part": "test", **({} if number < 8 else {"s": None})} for number in range(20)]
    test += [{**said(number), "part": "test", "y": None} for number in range(200, 204)]
    made = run(recipe(tmp_path, train + test, split={"kind": "given", "column": "part"}))
    sheet = json.loads((made.stages["evaluate"].folder / "scores.json").read_text())["forms"]["finetune torch-float32"]
    assert sheet["rows"] == 20 and "without_overlap" not in sheet
    other = sheet["others"]["s"]
    assert (other["rows"], other["without_overlap"]["rows"]) == (12, 4)


def test_a_split_that_was_left_out_is_told_where_it_is_read(tmp_path: Path) -> None:
    made = recipe(tmp_path, [said(number) for number in range(60)], split={"kind": "random", "test": 0})
    run(made, until="finetune")
    with pytest.raises(UserError, match=r"the test split of '.*prepare' has no rows, and this reads some; give prepare's split a 'test'"):
        run(made)
    notes = [json.loads(line).get("message", "") for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    assert not any(note.startswith("test: ") for note in notes)


@pytest.mark.parametrize("kind", ["classification", "shifted"])
def test_a_task_of_one_label_refuses_several_targets(tmp_path: Path, kind: str) -> None:
    """It learnt codes of one target with the head of another, or a network that no evaluation could score."""
    made = recipe(tmp_path, [said(number) for number in range(60)])
    made["stages"]["finetune"]["task"] = {"kind": kind, "target": "s"}
    with pytest.raises(UserError, match=rf"^the task '{kind}' learns one target, and the data have 2 \(y, s\): take supervised, which"):
        run(made)
