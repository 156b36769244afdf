"""The stage `update` of networks that learnt from more than labels: teachers' answers, texts without a label, another domain."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bessemer.api import run
from bessemer.app.updates import by_labels, update
from bessemer.core.events import Events
from bessemer.stages._tasks import TASK
from tests.conftest import sentences, write_csv

torch.set_num_threads(1)
NGRAMS = {"kind": "ngrams", "embedding_size": 8, "buckets": 64, "hidden_size": 0, "sizes": [1], "dropout": 0.0}
TRAINING: dict[str, Any] = {"kind": "finetune", "model": NGRAMS, "num_train_epochs": 2, "learning_rate": 2e-2}
TASKS = {"consistent": {"kind": "consistency", "label_smoothing": 0.1}, "weighted": {"kind": "shifted"},
         "student": {"kind": "distillation", "temperature": 1.0, "label_weight": 0.5}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as stream:
        further = [(text.replace("number", "nr"), "") for text, _ in sentences(60, seed=5)]
        csv.writer(stream).writerows([("text", "label"), *sentences(200), *further])
    write_csv(folder / "new.csv", sentences(160, seed=9))
    stages = {"prepare": {"sources": [{"kind": "csv", "path": str(folder / "rows.csv")}], "unlabelled": "keep",
                          "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                          "targets": {"label": {"kind": "category"}}, "split": {"kind": "stratified", "validation": 60, "test": 20}},
              "teach": {"models": ["consistent"], "copies": 0},
              **{name: {**TRAINING, "task": task, **({"data": "teach"} if name == "student" else {})} for name, task in TASKS.items()}}
    run({"name": "tasks", "threads": 1, "output_dir": str(folder / "run"), "stages": stages})
    return folder


@pytest.mark.parametrize("stage", list(TASKS))
def test_new_rows_are_learnt_by_their_labels(trained: Path, tmp_path: Path, stage: str) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    said: list[str] = []
    events = Events([lambda _, data: said.append(str(data.get("message", "")))])
    few = ["methods=[replay]", "num_train_epochs=1", "resamples=100"]
    result, name = update(tmp_path / "run", [trained / "new.csv"], few, events, stage)
    task = json.loads((result.stages[name].folder / TASK).read_text(encoding="utf-8"))
    assert (task["kind"], task["label_smoothing"]) == ("classification", 0.1 if stage == "consistent" else 0.0)
    assert any(f"the network learnt by {TASKS[stage]['kind']}; new rows are learnt by their labels" in line for line in said)


def test_what_a_task_needs_beside_labels_is_left_out() -> None:
    plain = {"learning_rate": 0.1, "task": {"kind": "supervised", "class_weights": "balanced", "ordinal": ["stars"], "distil": None}}
    assert by_labels(plain, None) == (plain, [])
    taught = {"task": {**plain["task"], "distil": {"temperature": 2.0}}}  # type: ignore[dict-item]
    settings, said = by_labels(taught, None)
    assert settings == {"task": {"kind": "supervised", "class_weights": "balanced", "ordinal": ["stars"]}}
    assert "teachers' answers" in said[0]
    settings, said = by_labels({}, {"kind": "distillation"})  # the stage itself goes on with what its network learnt
    assert settings == {} and len(said) == 1
