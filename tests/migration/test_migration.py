"""Runs and models made by every earlier minor version open and answer as they did."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import bessemer
from bessemer.app.doctor import examine
from bessemer.core.recipe import load_recipe

VERSIONS = sorted(path.parent for path in Path(__file__).parent.glob("*/answers.json"))


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    shutil.copytree(request.param, tmp_path / "made")
    return tmp_path / "made"


def test_there_is_a_run_of_this_minor_version() -> None:
    assert ".".join(bessemer.__version__.split(".")[:2]) in [path.name for path in VERSIONS]


@pytest.mark.parametrize("stage", ["finetune", "baseline", "export"])
def test_models_answer_as_they_did(made: Path, stage: str) -> None:
    kept = json.loads((made / "answers.json").read_text())
    found = bessemer.Model.load(made / "run" / stage).predict_proba(kept["texts"])
    assert np.allclose(found, kept["answers"][stage], atol=1e-4)


@pytest.mark.parametrize("stage", ["finetune", "linear", "export"])
def test_models_of_tables_answer_as_they_did(made: Path, stage: str) -> None:
    kept = json.loads((made / "answers.json").read_text())
    if "tables" not in kept:
        pytest.skip("0.1 had no tables")
    found = bessemer.Model.load(made / "table" / stage).answers(kept["rows"])
    for target, values in kept["tables"][stage].items():
        assert np.allclose(found[target].values, values, rtol=1e-4, atol=1e-4)


def test_checksums_hold_and_the_recipe_is_read(made: Path) -> None:
    findings = [item for item in examine(made / "run") if item.what.startswith(str(made))]
    assert len(findings) == 7 and all(item.good for item in findings)
    assert load_recipe(made / "run" / "recipe.yaml").order()[0] == "prepare"


def test_a_later_training_starts_from_the_old_one(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    result = bessemer.run({"name": "again", "threads": 1, "stages": {"more": {
        "kind": "finetune", "data": "run/prepare", "init": "run/finetune", "num_train_epochs": 1, "learning_rate": 1e-3}}})
    assert result.stages["more"].manifest.facts["best_value"] >= 0.9
