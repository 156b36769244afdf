"""The report of finished artifacts: of a table with three targets, of an update, and of a run of the first version."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import bessemer
from bessemer.app import console
from bessemer.report.card import model_card
from bessemer.report.html import render
from bessemer.stages._gather import gather
from bessemer.stages._gather_columns import profiled, updated
from tests.conftest import write_csv

OLD = Path(__file__).parents[1] / "migration" / "0.1" / "run"
STAGES = ("prepare", "finetune", "baseline", "evaluate")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with a number, a category and flags as targets."""
    folder = tmp_path_factory.mktemp("homes")
    generator, rows = random.Random(0), []
    for _ in range(180):
        area, street = generator.uniform(20, 200), generator.choice(["Hill", "Dale"])
        price = 1000 * area + 30_000 * (street == "Hill") + generator.gauss(0, 4000)
        extras = [name for name, on in (("garden", area > 90), ("view", street == "Hill"), ("cellar", area < 120)) if on]
        rows.append((f"{area:.2f}", street, f"{price:.2f}", "yes" if price > 120_000 else "no", ";".join(extras)))
    write_csv(folder / "rows.csv", rows, ("area", "street", "price", "sold", "extras"))
    linear = {"kind": "finetune", "model": {"kind": "linear", "alpha": [1.0], "c": [1.0]}}
    bessemer.run({"name": "homes", "threads": 1, "output_dir": str(folder / "run"), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(folder / "rows.csv")}],
                    "inputs": {"area": {"kind": "number"}, "street": {"kind": "category"}},
                    "targets": {"price": {"kind": "number"}, "sold": {"kind": "category"},
                                "extras": {"kind": "multilabel", "separator": ";"}},
                    "split": {"kind": "random", "validation": 40, "test": 60}},
        "finetune": linear, "baseline": {**linear, "model": {"kind": "linear", "alpha": [1000.0], "c": [0.001]}},
        "evaluate": {"models": ["finetune", "baseline"], "resamples": 100}}})
    return folder / "run"


def test_a_table_with_three_targets(homes: Path) -> None:
    stages = {name: homes / name for name in STAGES}
    data = gather(homes, stages, timings=True)
    page = render(data)
    assert page == render(gather(homes, stages, timings=True))
    assert (data.reads, data.task, data.reference) == ("table", "tabular-regression", "finetune linear")
    assert (data.evaluation.kind, data.evaluation.target) == ("number", "price")
    assert [(target.name, target.evaluation.kind) for target in data.others] == [("sold", "label"), ("extras", "flags")]
    assert [list(form.metrics) for form in data.forms] == [["r2", "rmse", "mae"]] * 2
    assert [(row.target, row.metric) for row in data.comparisons] == [
        ("price", "rmse"), ("price", "r2"), ("price", "mae"), ("sold", "accuracy"), ("sold", "f1"), ("extras", "f1_micro")]
    assert [row.p is None for row in data.comparisons] == [True, True, True, False, True, True]
    assert [row.name for row in data.columns] == ["area", "street"] and len(data.columns[0].train) == 20
    assert all(list(row.row) == ["area", "street"] and row.right is None for row in (*data.examples, *data.errors))
    for words in ("Largest errors", "Target sold", "Target extras", "<bdi>garden</bdi>", "Columns", "predict", "--file FILE"):
        assert words in page
    card = model_card(gather(homes, stages, timings=False))
    assert "pipeline_tag: tabular-regression" in card and "Stage finetune: model linear, 80 rows" in card and "| garden |" in card


def test_the_console_shows_each_target_in_its_own_metrics(homes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = json.loads((homes / "evaluate" / "scores.json").read_text(encoding="utf-8"))
    console.results(scores, {})
    found = capsys.readouterr().out
    for words in ("test of price: 60 rows", "R²", "RMSE", "MAE", "test of sold: 60 rows", "accuracy", "test of extras: 60 rows",
                  "F1 micro", "finetune linear against baseline linear: RMSE of price −", "F1 micro of extras +"):
        assert words in found, words
    assert console.score({"value": 0.9045, "low": 0.891, "high": 0.917}) == "0.9045 [0.8910, 0.9170]"
    assert console.score({"value": 0.9999958, "low": 0.9999956, "high": 0.9999960}, "r2") == "0.99999580 [0.99999560, 0.99999600]"
    assert console.score({"value": None}) == "undefined"


def test_a_run_of_the_first_version_is_reported() -> None:
    stages = {name: OLD / name for name in ("prepare", "finetune", "baseline", "compress", "evaluate", "export")}
    data = gather(OLD, stages, timings=True)
    page = render(data)
    assert page == render(gather(OLD, stages, timings=True)) and data.evaluation.kind == "label" and not data.columns
    assert data.reads == "text" and data.forms[0].metrics["accuracy"].value == 1.0 and "Confusion matrix" in page
    assert "text-classification" in model_card(gather(OLD, stages, timings=False))


def test_an_update_is_read_and_absent_files_are_no_fault(tmp_path: Path) -> None:
    assert profiled(tmp_path / "profile.json") == () and updated("update", tmp_path / "update.json") is None
    (tmp_path / "update.json").write_text(json.dumps({
        "decision": "promoted", "reason": "It is better on new rows.", "drift": [{"column": "a", "psi": 0.1}, {
            "column": "b", "psi": 0.4, "ks": 0.25, "new_values": 2}],
        "table": [{"data": "new", "metric": "rmse", "before": 2.0, "after": 1.5, "difference": -0.5, "low": -0.7, "high": -0.3}]}))
    found = updated("later", tmp_path / "update.json")
    assert (found.stage, found.decision, [row.column for row in found.drift]) == ("later", "promoted", ["b", "a"])
    assert found.drift[0].note == "ks 0.2500, new values 2" and found.table[0].difference.high == -0.3
