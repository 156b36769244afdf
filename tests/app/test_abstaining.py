"""Labels only where they are sure: thresholds of the evaluation, the same in every row of a file."""

from __future__ import annotations

import json

import pyarrow.csv as csv
import pytest

from bessemer.api import Model
from bessemer.app.abstention import thresholds_of
from bessemer.core.answering import Finished
from bessemer.core.errors import UserError
from tests.conftest import write_csv

RUN = "runs/tiny"


def test_labels_below_the_threshold_are_left_out(finished, tmp_path, bessemer):
    scores = json.loads((finished / RUN / "evaluate" / "scores.json").read_text())["forms"]["compress onnx-int8"]
    entry = next(item for item in scores["abstention"]["label"] if item["coverage"] == 0.5)
    rows = [line.split(",")[0] for line in (finished / "rows.csv").read_text().splitlines()[1:60] if line.count(",") == 1]
    write_csv(tmp_path / "new.csv", [(text, "") for text in rows])
    said = bessemer("predict", finished / RUN, "--file", tmp_path / "new.csv", "--output", tmp_path / "sure.csv", "--coverage", "0.5")
    assert said.code == 0, said.err
    found = csv.read_csv(tmp_path / "sure.csv", convert_options=csv.ConvertOptions(strings_can_be_null=True)).to_pydict()
    assert len(found["row"]) == len(rows) and 0 < sum(label is None for label in found["label"]) < len(rows)
    for label, probability in zip(found["label"], found["probability"], strict=True):
        assert (label is None) == (probability < entry["threshold"])
    unsure = sum(label is None for label in found["label"])
    assert f"0 without a prediction (see the column 'problem'), {unsure:,} rows not sure enough for a label (--coverage)" in " ".join(
        said.err.split())


def test_a_coverage_that_was_not_evaluated_is_one_sentence(finished, bessemer):
    said = bessemer("predict", finished / RUN, "lovely", "--coverage", "0.55")
    assert said.code == 2 and "--coverage 0.55: expected one of 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1" in said.err


def test_every_number_is_among_the_results(finished):
    results = json.loads((finished / RUN / "results.json").read_text())["results"]
    sure = [item for item in results if item["metric"] == "accuracy at coverage 0.8"]
    assert {item["form"] for item in sure} >= {"finetune torch-float32", "compress onnx-int8", "baseline tfidf_linear"}
    assert all(item["low"] <= item["value"] <= item["high"] and item["split"] == "test" for item in sure)


def test_thresholds_are_of_the_stage_that_answers(finished):
    """An update's network, or one that nobody scored, is sure of other rows than another with a form of the same name."""
    run = Finished(finished / RUN)
    for stage in ("finetune", "export"):
        model = Model.load(finished / RUN / stage, "torch-float32")
        assert 0 < thresholds_of(run, model, 0.8)["label"] < 1
    model.folder = finished / RUN / "update-001"
    with pytest.raises(UserError, match="has no thresholds for the form 'torch-float32' of update-001: no evaluation of its labels"):
        thresholds_of(run, model, 0.8)
