"""bessemer compress: a finished run gets a budget, its choice is shown, and what follows is brought up to date."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bessemer.app.compressing import with_budget
from bessemer.app.rehearse import rehearse
from bessemer.core.events import Events
from bessemer.core.recipe import load_recipe
from tests.conftest import Command, write_tiny


@pytest.mark.slow
def test_a_finished_run_is_compressed_to_a_budget(copied: Path, bessemer: Command) -> None:
    limits = ("--size-mb", "0.05", "--latency-ms", "1000", "--accuracy-drop", "0.5")
    said = bessemer("compress", "runs/tiny", *limits, "--minutes", "0.01", "--trials", "1")
    assert said.code == 0, said.err
    root = Path("runs/tiny")
    front = json.loads((root / "front.json").read_text())
    assert front == json.loads((root / "compress/front.json").read_text())
    assert " ".join(front["sentence"].split()) in " ".join(said.out.split()) and "next: bessemer serve runs/tiny" in said.out
    recipe = load_recipe(root / "recipe.yaml")
    budget = recipe.stages["compress"].budget
    assert (budget.size_mb, budget.latency_ms, budget.accuracy_drop) == (0.05, 1000, 0.5)
    assert "started" not in said.err and "✓ finetune: up to date" in said.err
    page = (root / "report.html").read_text()
    assert "Compressed to a budget" in page and "within the budget" in page
    predictor = json.loads((root / "export/predictor.json").read_text())
    chosen = next(item for item in front["candidates"] if item["chosen"])
    assert predictor["forms"][0]["name"] == chosen["form"]
    assert (root / "export/checks.json").read_bytes() == (root / "compress/checks.json").read_bytes()
    asked = bessemer("predict", "runs/tiny", "The room number 7 was lovely today.")
    assert asked.code == 0 and chosen["form"] in asked.out


@pytest.mark.slow
def test_plan_of_a_search_tries_a_candidate_and_forecasts_its_minutes(here: Path) -> None:
    search = {"minutes": 7, "students": ["ngrams"], "distil": False}
    compress = {"budget": {"size_mb": 1}, "search": search, "methods": ["dynamic_int8"], "min_agreement": 0.95, "max_accuracy_drop": 0.01}
    heard: list[str] = []
    events = Events([lambda kind, data: heard.append(data["stage"]) if kind == "stage_start" else None])
    found = rehearse(load_recipe(write_tiny(here, compress=compress, baseline=None, evaluate=None, export=None, report=None)), events)
    assert found.problems == []
    assert {"rung-1", "rung-2"} <= set(heard)
    seconds = next(stage.seconds for stage in found.stages if stage.stage == "compress")
    assert 420 <= seconds < 480
    assert not (here / "runs").exists()


def test_a_budget_without_a_limit_is_a_sentence_and_changes_nothing(copied: Path, bessemer: Command) -> None:
    before = Path("runs/tiny/recipe.yaml").read_text()
    for options in (("--accuracy-drop", "0.01"), ()):
        assert bessemer("compress", "runs/tiny", *options).error == (
            "a budget says what the model may cost: give --size-mb, --latency-ms or --memory-mb, one or more")
    for option, value, needed in (("--size-mb", "-1", "a number above 0"), ("--latency-ms", "nan", "a number above 0"),
                                  ("--minutes", "0", "a number above 0"), ("--trials", "0", "a whole number from 1 to 10,000"),
                                  ("--accuracy-drop", "2", "a number from 0 to 1, such as 0.005")):
        assert bessemer("compress", "runs/tiny", option, value).error == f"{option} needs {needed}; it is {value}"
    assert Path("runs/tiny/recipe.yaml").read_text() == before
    assert "holds no trained network to compress" in bessemer("compress", str(_empty()), "--size-mb", "1").error


def _empty() -> Path:
    root = Path("empty")
    root.mkdir()
    stage = "{sources: [{kind: csv, path: rows.csv}], inputs: {text: {kind: text}}}"
    (root / "recipe.yaml").write_text(f"name: empty\nstages:\n  prepare: {stage}\n")
    return root


def test_another_quality_alone_goes_with_the_cost_that_was_asked_for(copied: Path) -> None:
    root = Path("runs/tiny")
    first, name, _ = with_budget(root, {"size_mb": 2.0, "latency_ms": None, "accuracy_drop": 0.02}, {})
    (root / "recipe.yaml").write_text(yaml.safe_dump(first.plain(), sort_keys=False))
    for asked, size_mb, latency_ms, drop in (({"accuracy_drop": 0.001}, 2.0, None, 0.001), ({"latency_ms": 5.0}, None, 5.0, 0.01),
                                             ({}, 2.0, None, 0.02)):
        budget = with_budget(root, asked, {})[0].stages[name].budget
        assert (budget.size_mb, budget.latency_ms, budget.accuracy_drop) == (size_mb, latency_ms, drop)
