"""The Python interface, and the folders that a run leaves: every form answers alike, other tools open them, reports repeat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import bessemer
from bessemer.core.errors import UserError
from tests.conftest import Command, sentences, write_csv

ROOT = Path(__file__).parents[1]
TEXTS = ["The room number 7 was lovely today.", "The staff number 12 was rude today.", "第3次，饭菜很好。", "第5次，航班糟糕。"]


def forms(run: Path) -> dict[str, bessemer.Model]:
    """Open every form of the exported folder."""
    names = [form["name"] for form in json.loads((run / "export/predictor.json").read_text())["forms"]]
    return {name: bessemer.Model.load(run / "export", name) for name in names}


def test_load_answers_like_the_command(bessemer_run: Path) -> None:
    model = bessemer.Model.load(bessemer_run)
    assert (model.folder.name, model.form, model.labels) == ("export", "onnx-int8", ("bad", "good"))
    assert model.predict(TEXTS) == ["good", "bad", "good", "bad"]
    found = model.predict_proba(TEXTS)
    assert found.dtype == np.float32 and found.shape == (4, 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert model.predict_proba({"text": TEXTS}).tobytes() == found.tobytes()


@pytest.fixture
def bessemer_run(finished: Path) -> Path:
    return finished / "runs/tiny"


def test_forms_agree(bessemer_run: Path) -> None:
    texts = [text for text, _ in sentences(60, seed=9)]
    opened = forms(bessemer_run)
    assert list(opened) == ["onnx-int8", "onnx-float32", "torch-float32"]
    answers = {name: model.predict_proba(texts) for name, model in opened.items()}
    np.testing.assert_allclose(answers["onnx-float32"], answers["torch-float32"], atol=1e-5, rtol=0)
    assert (answers["onnx-int8"].argmax(1) == answers["torch-float32"].argmax(1)).mean() > 0.9
    stage = bessemer.Model.load(bessemer_run / "finetune")
    assert stage.predict_proba(texts).tobytes() == answers["torch-float32"].tobytes()


def test_evaluate_is_equal_from_file_table_and_mapping(bessemer_run: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    rows = sentences(80, seed=4)
    write_csv(tmp_path / "new.csv", list(rows))
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    model = bessemer.Model.load(bessemer_run, "onnx-float32")
    found = model.evaluate(tmp_path / "new.csv")
    assert found == model.evaluate(pa.table(columns)) == model.evaluate(columns)
    truth = np.array([model.labels.index(label) for label in columns["label"]])
    assert found["metrics"]["accuracy"]["value"] == pytest.approx((model.predict_proba(columns["text"]).argmax(1) == truth).mean())
    assert found["metrics"]["accuracy"]["value"] > 0.9 and found["rows"] == 80
    torch_form = bessemer.Model.load(bessemer_run / "finetune").evaluate(columns)
    assert torch_form["metrics"]["accuracy"] == found["metrics"]["accuracy"]


def test_mistakes_are_user_errors(bessemer_run: Path) -> None:
    model = bessemer.Model.load(bessemer_run)
    with pytest.raises(UserError, match="expected a list of texts, not one text"):
        model.predict("text")
    with pytest.raises(UserError, match="no column 'text'"):
        model.predict({"words": ["a"]})
    with pytest.raises(UserError, match="no column 'label'"):
        model.evaluate({"text": ["a"]})
    with pytest.raises(UserError, match="expected rows .*, not None"):
        model.predict(None)
    with pytest.raises(UserError, match="^'label' is no number, and only numbers have quantiles; use predict_proba$"):
        model.predict_quantiles(["a"])
    assert model.predict([]) == [] and model.problems([]).to_pylist() == []
    found = model.evaluate([{"text": "The room.", "label": "good"}, {"text": "", "label": "bad"}, {"text": "The room.", "label": "odd"}])
    assert found["rows"] == 1 and found["left_out"]["reasons"] == {"empty text": 1, "label: a label that the model does not know": 1}
    with pytest.raises(UserError, match="there is no folder"):
        bessemer.Model.load("nowhere")


def test_predicts_without_torch_and_transformers(bessemer_run: Path) -> None:
    expected = {name: forms(bessemer_run)[name].predict_proba(TEXTS) for name in ("onnx-int8", "onnx-float32")}
    code = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "onnx", "sklearn"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
import bessemer
texts = json.loads(sys.argv[2])
print(json.dumps({name: bessemer.Model.load(sys.argv[1], name).predict_proba(texts).tolist() for name in ("onnx-int8", "onnx-float32")}))
"""
    done = subprocess.run([sys.executable, "-c", code, str(bessemer_run / "export"), json.dumps(TEXTS)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, answer in expected.items():
        assert np.array(found[name], np.float32).tobytes() == answer.tobytes()


@pytest.mark.parametrize("stage", ["finetune", "export"])
def test_opens_with_transformers(bessemer_run: Path, stage: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    texts = [*TEXTS, "  The   room\twas lovely ", "word " * 80]
    tokenizer = AutoTokenizer.from_pretrained(bessemer_run / stage)
    model = AutoModelForSequenceClassification.from_pretrained(bessemer_run / stage).eval()
    with torch.inference_mode():
        found = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits.softmax(-1).numpy()
    expected = bessemer.Model.load(bessemer_run / stage, "torch-float32")
    np.testing.assert_allclose(found, expected.predict_proba(texts), atol=1e-5, rtol=0)
    assert tuple(model.config.id2label.values()) == expected.labels


def test_report_repeats(copied: Path) -> None:
    import shutil

    pages = []
    for _ in range(2):
        shutil.rmtree(copied / "runs/tiny/report")
        shutil.rmtree(copied / "runs/tiny/.kept", ignore_errors=True)
        result = bessemer.run("tiny.yaml")
        assert [name for name, stage in result.stages.items() if not stage.cached] == ["report"]
        pages.append((copied / "runs/tiny/report/report.html").read_bytes())
        assert pages[-1] == (copied / "runs/tiny/report.html").read_bytes()
    assert pages[0] == pages[1]


def test_model_card(bessemer_run: Path) -> None:
    head, _, body = (bessemer_run / "export/README.md").read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    front = yaml.safe_load(head)
    metrics = front["model-index"][0]["results"][0]["metrics"]
    results = json.loads((bessemer_run / "results.json").read_text())["results"]
    accuracy = {item["form"]: item["value"] for item in results if item["metric"] == "accuracy" and item["split"] == "test"}
    assert next(item["value"] for item in metrics if item["type"] == "accuracy") in accuracy.values()
    assert body.lstrip().startswith("#")


def test_results(bessemer_run: Path) -> None:
    entries = json.loads((bessemer_run / "results.json").read_text())["results"]
    for entry in entries:
        assert {"metric", "split", "form", "value", "rows", "seed"} <= entry.keys()
        assert entry["split"] == "test" and entry["seed"] == 0 and (
                entry["rows"] == 40 or entry["metric"].startswith(("latency", "accuracy at coverage")))
        assert entry["value"] is None or np.isfinite(entry["value"])
    assert {entry["form"].split()[-1] for entry in entries} == {"torch-float32", "tfidf_linear", "onnx-int8", "onnx-float32"}
    assert {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "ece"} <= {entry["metric"] for entry in entries}


def test_looks_at_the_test_rows_are_counted(copied: Path) -> None:
    def looks() -> int:
        return int(json.loads((copied / "runs/tiny/evaluate/scores.json").read_text())["test_looks"])

    assert looks() == 1
    bessemer.run("tiny.yaml", until="evaluate")
    assert looks() == 1
    bessemer.run("tiny.yaml", "evaluate.resamples=110", until="evaluate")
    assert looks() == 2
    bessemer.run("tiny.yaml", until="evaluate")
    bessemer.run("tiny.yaml", "evaluate.split=validation", until="evaluate")
    assert looks() == 0 and len(next(iter(json.loads((copied / "runs/tiny/test_looks.json").read_text()).values()))) == 2


def test_a_changed_learning_rate_reruns_finetune_and_after(copied: Path) -> None:
    result = bessemer.run("tiny.yaml", "finetune.learning_rate=4.0e-3", until="finetune")
    assert {name: stage.cached for name, stage in result.stages.items()} == {"prepare": True, "pretrain": True, "finetune": False}
    again = bessemer.run("tiny.yaml", until="finetune")
    assert again.stages["finetune"].cached  # the earlier one was kept


def test_predictions_of_a_file(bessemer_run: Path, bessemer: Command, here: Path) -> None:
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet

    rows = [*sentences(20, seed=2), ("", "good")]
    write_csv(here / "new.csv", list(rows))
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        said = bessemer("predict", bessemer_run, "--file", "new.csv", "--output", name)
        assert said.code == 0 and "21 rows of new.csv, 1 without a prediction" in " ".join(said.err.split()), said.err
    table = csv.read_csv(here / "out.csv")
    assert table["row"].to_pylist() == list(range(1, 22)) and table["problem"].to_pylist()[-1] in ("empty text", "missing")
    assert parquet.read_table(here / "out.parquet")["label"].to_pylist()[:20] == table["label"].to_pylist()[:20]
    lines = [json.loads(line) for line in (here / "out.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == parquet.read_table(here / "out.parquet")["label"].to_pylist()
    assert bessemer("predict", bessemer_run, TEXTS[0]).out.count("good") == 1
    assert sorted(path.name for path in here.iterdir()) == ["new.csv", "out.csv", "out.jsonl", "out.parquet"]
