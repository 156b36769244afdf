"""The stage `noise` judges every row by a model that has not seen it, and finds the labels that were turned, in texts and tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role
from bessemer.evaluate.noise import LabelNoise
from bessemer.stages.noise import folds_of, ranks, told
from tests.conftest import Command, sentences, write_csv


def text_recipe(name: str, **noise: Any) -> dict[str, Any]:
    return {"name": name, "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "rows.csv"}], "targets": {"label": {"kind": "category"}},
                    "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                    "split": {"kind": "stratified", "validation": 60, "test": 60}},
        "noise": {"folds": 4, **noise}, "report": {"stages": ["prepare", "noise"]}}}


def test_turned_labels_of_texts_are_found(here: Path) -> None:
    rows = [(f"{text} {place}", label) for place, (text, label) in enumerate(sentences(400))]  # no two are equal
    turned = set(range(0, 400, 20))
    names = sorted({label for _, label in rows})
    other = {names[0]: names[1], names[1]: names[0]}
    write_csv(here / "rows.csv", [(text, other[label] if place in turned else label) for place, (text, label) in enumerate(rows)])
    found = run(text_recipe("texts", model={"kind": "tfidf_linear", "analyzers": ["word"], "c": [10.0]}))
    facts = found.stages["noise"].manifest.facts
    with (found.root / "suspects.csv").open(encoding="utf-8") as file:
        suspects = list(csv.DictReader(file))
    judged = found.stages["prepare"].manifest.facts["rows"]
    assert facts["rows"] == judged["train"] + judged["validation"] and facts["suspects"] == len(suspects)
    wrong = [int(item["row_read"]) - 1 in turned for item in suspects]
    assert sum(wrong) >= 0.9 * len(wrong) and len(wrong) >= 0.4 * len(turned) * facts["rows"] / 400
    assert 0.015 < facts["noise"]["value"] < 0.07 and facts["accuracy"]["value"] > 0.9
    assert all(rows[int(item["row_read"]) - 1][0] == item["text"] and item["likely"] == other[item["label"]] for item in suspects)
    sure = [float(item["probability_of_label"]) - float(item["probability_of_likely"]) for item in suspects]
    assert sure == sorted(sure)
    report = (found.root / "report.html").read_text(encoding="utf-8")
    assert "Labels that look wrong" in report and suspects[0]["text"] in report and "of the labels of &#39;label&#39; look wrong" in report


def test_tables_are_judged_by_trees(here: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    label = np.where(x[:, 0] + x[:, 1] > 0, "yes", "no")
    label[::25] = np.where(label[::25] == "yes", "no", "yes")
    write_csv(here / "rows.csv", [(*row, str(name)) for row, name in zip(x.tolist(), label, strict=True)], ("a", "b", "c", "y"))
    prepare = {"sources": [{"kind": "csv", "path": "rows.csv"}], "inputs": {name: {"kind": "number"} for name in "abc"},
               "targets": {"y": {"kind": "category"}}, "split": {"kind": "random", "validation": 50, "test": 50}}
    facts = run({"name": "table", "threads": 1, "stages": {"prepare": prepare, "noise": {"folds": 3}}}).stages["noise"].manifest.facts
    assert facts["model"] == "lightgbm" and facts["accuracy"]["value"] > 0.8 and facts["rows"] == 350


@pytest.mark.parametrize("turned", [0, 6])
def test_vectors_are_written_and_no_suspects_too(here: Path, turned: int) -> None:
    x = np.random.default_rng(0).normal(size=(240, 2))
    x[:, 0] = np.where(x[:, 0] > 0, 3, -3)
    yes = (x[:, 0] > 0) ^ (np.arange(240) < turned)
    table = pa.table({"x": pa.array(x.tolist(), pa.list_(pa.float32(), 2)), "y": np.where(yes, "yes", "no")})
    pq.write_table(table, "rows.parquet")
    prepare = {"sources": [{"kind": "parquet", "path": "rows.parquet"}], "inputs": {"x": {"kind": "vector"}},
               "targets": {"y": {"kind": "category"}}, "split": {"kind": "random", "validation": 40, "test": 40}}
    found = run({"name": "vectors", "threads": 1, "stages": {"prepare": prepare, "noise": {"folds": 3}}})
    facts = found.stages["noise"].manifest.facts
    with (found.root / "suspects.csv").open(encoding="utf-8") as file:
        suspects = list(csv.DictReader(file))
    assert facts["suspects"] == len(suspects) and (len(suspects) > 0) == (facts["noise"]["value"] > 0) == (turned > 0)
    for item in suspects:
        place = int(item["row_read"]) - 1
        assert place < turned and json.loads(item["x"]) == pytest.approx(table["x"][place].as_py())


def test_one_of_several_targets_of_texts_is_judged(here: Path) -> None:
    rows = [(f"{text} {place}", label, str(place % 3)) for place, (text, label) in enumerate(sentences(160))]
    write_csv(here / "rows.csv", rows, ("text", "label", "other"))
    recipe = text_recipe("several", target="label", model={"kind": "tfidf_linear", "analyzers": ["word"], "c": [4.0]})
    recipe["stages"]["prepare"] |= {"targets": {"other": {"kind": "category"}, "label": {"kind": "category"}},
                                    "split": {"kind": "random", "validation": 30, "test": 30}}
    facts = run(recipe).stages["noise"].manifest.facts
    assert facts["target"] == "label" and facts["accuracy"]["value"] > 0.8 and facts["ceiling"] == 1 - facts["noise"]["value"]


def test_a_judge_that_confuses_classes_tells_no_ceiling() -> None:
    column = Column(name="mood", role=Role.TARGET, modality={"kind": "category"}, labels=("low", "mid", "high"))
    joint = np.array([[0.3, 0.02, 0.01], [0.2, 0.2, 0.0], [0.0, 0.07, 0.2]])
    found = LabelNoise(0.3, 0.25, 0.35, joint, np.zeros(1, np.int64), np.zeros(1, np.int64))
    said = told(column, found, 0.79, None)
    assert "a judge that itself agrees with 0.790" in said and "takes 'mid' for 'low'" in said and "cannot be told" in said
    assert "0.700" not in said and "agree with some 0.700 of the labels" in told(column, found, 0.65, 0.7)


def test_folds_are_dealt_out_by_label() -> None:
    code = np.array([0] * 10 + [1] * 7 + [2] * 2 + [-1] * 3)
    fold = folds_of(code, 3, 0)
    assert sorted(np.bincount(fold[:10]).tolist()) == [3, 3, 4] and sorted(np.bincount(fold[10:17]).tolist()) == [2, 2, 3]
    assert fold[17:].tolist() == [-1, -1, -2, -2, -2]
    assert (folds_of(np.array([0, 0, -1, -1, 1, 1, 1]), 3, 0)[:4] == [-1, -1, -2, -2]).all()  # rows without a label are of no label
    assert sorted(ranks(code, 1)[:10].tolist()) == list(range(10)) and (folds_of(code, 3, 0) == fold).all()


def test_mistakes_are_sentences(here: Path) -> None:
    write_csv(here / "rows.csv", sentences(80))
    recipe = text_recipe("texts", model={"kind": "text_cnn"})
    recipe["stages"]["prepare"]["split"] = {"kind": "stratified", "validation": 20, "test": 20}
    with pytest.raises(UserError, match="the model 'text_cnn' is a network, which is not fitted here"):
        run(recipe)
    recipe["stages"]["noise"] = {"target": "labels"}
    with pytest.raises(UserError, match="target: 'labels' is no target with one label a row; there are label"):
        run(recipe)


def test_it_is_rehearsed(here: Path, bessemer: Command) -> None:
    write_csv(here / "rows.csv", sentences(200))
    (here / "texts.yaml").write_text(json.dumps(text_recipe("texts")), encoding="utf-8")
    said = bessemer("plan", "texts.yaml")
    assert said.code == 0, said.out + said.err
