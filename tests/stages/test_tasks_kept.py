"""What a network was trained to say is kept with it: stages that go on with it, and smaller networks of a budget, say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bessemer.api import Model, run
from bessemer.core.task_spec import TableSpec
from bessemer.stages._learning import open_split
from bessemer.stages._tasks import TASK, continued, task_of
from tests.conftest import write_csv

TASKS: dict[str, dict[str, Any]] = {
    "number": {"kind": "supervised", "quantiles": [0.1, 0.9], "loss": "huber", "huber_delta": 2.0},
    "stars": {"kind": "supervised", "ordinal": ["stars"], "class_weights": "balanced"}}
TARGETS = {"number": {"y": {"kind": "number"}}, "stars": {"stars": {"kind": "category"}}}


@pytest.fixture(scope="module", params=list(TASKS))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A finished run whose network has quantiles, or steps of a scale."""
    name, folder = request.param, tmp_path_factory.mktemp(f"kept-{request.param}")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=500), rng.normal(size=500)
    y = 2 * a + b + rng.normal(scale=0.1, size=500)
    stars = np.digitize(y, [-2, -0.5, 0.5, 2]) + 1
    write_csv(folder / "rows.csv", [(repr(float(a[row])), repr(float(b[row])), repr(float(y[row])), str(stars[row])) for row in range(500)],
              ("a", "b", "y", "stars"))
    run({"name": "kept", "threads": 1, "output_dir": str(folder / "run"), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(folder / "rows.csv")}], "targets": TARGETS[name],
                    "inputs": {"a": {"kind": "number"}, "b": {"kind": "number"}},
                    "split": {"kind": "random", "validation": 100, "test": 50}},
        "finetune": {"model": {"kind": "members", "members": 4, "hidden_sizes": [32, 32]}, "num_train_epochs": 4, "learning_rate": 5e-3,
                     "task": TASKS[name]}}})
    return name, folder / "run"


def heads_of(folder: Path) -> list[tuple[Any, ...]]:
    return [(head["target"], head["link"], head["width"], head["quantiles"]) for head in json.loads((folder / "heads.json").read_text())]


def test_what_goes_on_with_a_network_says_what_it_said(trained: tuple[str, Path], tmp_path: Path) -> None:
    name, root = trained
    base = {"data": str(root / "prepare")}
    run({"name": "more", "threads": 1, "output_dir": str(tmp_path), "stages": {
        "prune": {**base, "model": str(root / "finetune"), "members": 1},
        "tuned": {"kind": "finetune", **base, "init": "prune", "num_train_epochs": 1, "learning_rate": 1e-3}}})
    wanted = json.loads((root / "finetune" / TASK).read_text())
    assert {key: wanted[key] for key in TASKS[name]} == TASKS[name]
    for stage in ("prune", "tuned"):
        assert heads_of(tmp_path / stage) == heads_of(root / "finetune")
        kept = json.loads((tmp_path / stage / TASK).read_text())
        assert {key: kept[key] for key in TASKS[name]} == TASKS[name]
    assert Model.load(tmp_path / "tuned").predict([{"a": 1.0, "b": 0.0}])


def test_smaller_networks_of_a_budget_say_what_the_trained_one_says(trained: tuple[str, Path], tmp_path: Path) -> None:
    name, root = trained
    stage = {"kind": "compress", "data": str(root / "prepare"), "model": str(root / "finetune"), "rows": 60, "methods": [],
             "budget": {"size_mb": {"number": 0.076, "stars": 0.062}[name], "accuracy_drop": 0.9},
             "search": {"minutes": 5, "trials": 1, "students": ["mlp"], "effort": 1.0, "copies": 1}}
    run({"name": "small", "threads": 1, "output_dir": str(tmp_path), "stages": {"compress": stage}})
    front = json.loads((tmp_path / "compress/front.json").read_text())
    said = [(item["name"], item["status"], item["reason"]) for item in front["candidates"]]
    assert not [item for item in said if item[1] == "failed"] and front["reachable"], said
    chosen = next(item for item in front["candidates"] if item["chosen"])
    assert chosen["settings"]["family"] == "mlp", [(item["name"], item["size_bytes"]) for item in front["candidates"]]
    assert heads_of(tmp_path / "compress") == heads_of(root / "finetune")
    students = [folder for folder in (tmp_path / "trials").glob("of-*/rung-2") if (folder / "manifest.json").is_file()]
    assert {json.loads((folder / TASK).read_text())["distil"] is None for folder in students} == {False}
    assert all(heads_of(folder) == heads_of(root / "finetune") for folder in students)


def test_a_folder_without_the_record_says_it_by_its_heads(trained: tuple[str, Path], tmp_path: Path) -> None:
    name, root = trained
    (tmp_path / "heads.json").write_bytes((root / "finetune/heads.json").read_bytes())
    found = task_of(tmp_path)
    assert found == {"kind": "supervised", "quantiles": TASKS[name].get("quantiles", []), "ordinal": TASKS[name].get("ordinal", [])}
    (tmp_path / "heads.json").write_text("[]")
    assert task_of(tmp_path) is None


@pytest.mark.parametrize(("labels", "told"), [(None, True), (["low", "medium", "high"], False)])
def test_an_order_of_words_that_nobody_gave_is_told(tmp_path: Path, labels: list[str] | None, told: bool) -> None:
    write_csv(tmp_path / "rows.csv", [(str(row % 30), ("low", "medium", "high")[row % 30 // 10]) for row in range(180)], ("size", "level"))
    run({"name": "steps", "threads": 1, "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(tmp_path / "rows.csv")}], "inputs": {"size": {"kind": "number"}},
                    "targets": {"level": {"kind": "category", "labels": labels}},
                    "split": {"kind": "random", "validation": 30, "test": 30}},
        "finetune": {"model": {"kind": "mlp", "hidden_sizes": [8]}, "num_train_epochs": 1, "learning_rate": 1e-2,
                     "task": {"kind": "supervised", "ordinal": ["level"]}}}})
    said = (tmp_path / "run/events.jsonl").read_text(encoding="utf-8")
    assert ("'level' is learnt as steps of a scale in the order high < low < medium" in said) == told


def test_how_a_label_was_learnt_is_left_where_the_rows_do_not_have_it(finished: Path) -> None:
    spec = open_split(finished / "runs/tiny/prepare", "train", 0)
    assert not isinstance(spec, TableSpec)
    assert continued({"kind": "distillation", "temperature": 3.0, "target": "label"}, spec) == {"kind": "classification", "target": "label"}
    assert continued({"kind": "consistency", "weight": 2.0, "label_smoothing": 0.1, "target": None}, spec) == {
        "kind": "classification", "label_smoothing": 0.1}
    plain = {"kind": "classification", "class_weights": "balanced"}
    assert continued(plain, spec) == plain
