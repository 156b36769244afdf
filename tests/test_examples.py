"""The examples run, twice: the second time nothing is computed, and the test rows were looked at once."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

import bessemer

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_python_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = load("python_api")
    example.main(tmp_path)
    first = capsys.readouterr().out
    assert [line.split(" (")[0] for line in first.splitlines()[3:5]] == ["good", "bad"]
    accuracy = float(first.splitlines()[5].split(": ")[1].split()[0])
    assert accuracy > 0.9
    again = bessemer.run(example.recipe(tmp_path))
    assert [stage.cached for stage in again.stages.values()] == [True, True, True]
    looks = json.loads((tmp_path / "run" / "test_looks.json").read_text(encoding="utf-8"))
    assert [len(evaluations) for evaluations in looks.values()] == [1]


def test_another_evaluation_is_another_look(tmp_path: Path) -> None:
    example = load("python_api")
    example.write_rows(tmp_path / "train.csv", 200, seed=1)
    recipe = example.recipe(tmp_path)
    recipe["stages"]["finetune"] = {"model": {"kind": "tfidf_linear"}}
    for seeds in (100, 100, 200):
        recipe["stages"]["evaluate"] = {"models": ["finetune"], "resamples": seeds}
        facts = bessemer.run(recipe).stages["evaluate"].manifest.facts
    assert facts["test_looks"] == 2


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"python_api"}
