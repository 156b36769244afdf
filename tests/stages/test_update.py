"""The stage `update` on a table whose law changes: what is promoted, what is kept aside, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from bessemer.api import Model, run
from bessemer.app.updates import another, costs, update, with_update
from bessemer.core.artifact import load_manifest
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.forms import read_forms
from bessemer.core.recipe import load_recipe, make_recipe
from bessemer.data.shards import ShardReader
from bessemer.measure.size import size
from bessemer.stages.update import decide, decide_both

RECIPE: dict[str, Any] = {
    "name": "old", "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": "old.csv"}], "inputs": {
            "a": {"kind": "number", "scale": "standard"}, "b": {"kind": "number"}, "c": {"kind": "category"}},
                    "targets": {"y": {"kind": "number"}}, "split": {"kind": "random", "validation": 0.25, "test": 0.1}},
        "finetune": {"model": {"kind": "mlp", "hidden_sizes": [48], "dropout": 0.0}, "num_train_epochs": 25, "learning_rate": 0.01,
                     "per_device_train_batch_size": 64, "replay_rows": 300}}}


def rows(file: Path, seed: int, low: float, count: int, law: Callable[[np.ndarray], np.ndarray] = np.sin) -> None:
    """Write rows with `a` in [low, low + 3]: y is one law of `a` on all of them, so that both parts can be learnt together."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(low, low + 3, count), rng.normal(size=count), rng.integers(0, 3, count)
    y = 3 * law(a) + 0.5 * b + c + rng.normal(scale=0.05, size=count)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["a", "b", "c", "y"])
        writer.writerows([*map(repr, map(float, (x, z))), f"kind {k}", repr(float(t))] for x, z, k, t in zip(a, b, c, y, strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("update")
    rows(folder / "old.csv", 0, -3.0, 1200)
    stages = RECIPE["stages"]
    source = {"sources": [{"kind": "csv", "path": str(folder / "old.csv")}]}
    run({**RECIPE, "output_dir": str(folder / "run"), "stages": {**stages, "prepare": {**stages["prepare"], **source}}})
    return folder


@pytest.fixture()
def place(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path


def test_new_rows_are_learnt_and_old_ones_kept(place: Path) -> None:
    rows(place / "new.csv", 1, 0.0, 600)
    before = Model.load(place / "run").evaluate(place / "new.csv")["metrics"]["r2"]["value"]
    settings = ["learning_rate=0.01", "num_train_epochs=60", "margin=0.05", "methods=[replay, new_only]"]
    result, name = update(place / "run", [place / "new.csv"], settings, Events())
    facts = result.stages[name].manifest.facts
    assert facts["decision"] == "promoted" and facts["method"] == "replay"
    record = json.loads((place / "run" / name / "update.json").read_text(encoding="utf-8"))
    old, new = ({row["data"]: row for row in record["table"]}[data] for data in ("old", "new"))
    assert before < 0.5 < 0.9 < new["after"] and new["low"] > 0 and old["difference"] > -0.05
    assert record["drift"][0]["column"] == "a" and record["drift"][0]["psi"] > 1
    model = Model.load(place / "run")
    assert model.folder.name == name and model.evaluate(place / "new.csv")["metrics"]["r2"]["value"] > 0.9
    kept = ShardReader(place / "run" / name / "replay")
    assert (kept.stored("row_id") >= 1 << 40).any() and (kept.stored("row_id") < 1 << 40).any()


def test_what_forgets_is_kept_aside(place: Path) -> None:
    """New rows alone, of a law against the old one: the old rows lose, so the model in force stays."""
    rows(place / "new.csv", 2, -3.0, 600, lambda a: -np.sin(a))
    result, name = update(place / "run", [place / "new.csv"], ["learning_rate=0.02", "methods=[new_only]"], Events())
    facts = result.stages[name].manifest.facts
    assert facts["decision"] == "kept aside" and "old rows lose" in facts["reason"]
    assert Model.load(place / "run").folder.name == "finetune"


def test_every_new_row_is_accounted_for(place: Path) -> None:
    rows(place / "new.csv", 3, 0.0, 300)
    lines = (place / "new.csv").read_text(encoding="utf-8").splitlines()
    lines[5], lines[9], lines[11] = "1,2,kind 0,", "inf,2,kind 0,3", "1,2,a new kind,3"
    (place / "new.csv").write_text("\n".join([*lines, "1,2"]) + "\n", encoding="utf-8")
    result, name = update(place / "run", [place / "new.csv"], ["methods=[anchor]", "num_train_epochs=1"], Events())
    funnel = json.loads((place / "run" / name / "funnel.json").read_text(encoding="utf-8"))
    rejected = funnel["sources"][0]["rejected"]
    assert funnel["sources"][0]["rows_in"] == 301 == sum(funnel["rows"].values()) + sum(rejected.values())
    table = pq.read_table(place / "run" / name / "quarantine.parquet")
    assert sorted(table["row"].to_pylist()) == [5, 9, 301]  # a new category is no fault: the model has a code for what it does not know
    assert load_manifest(place / "run" / name) is not None


@pytest.mark.parametrize(("text", "message"), [
    ("a,b,y\n1,2,3\n", "'new.csv' has no column 'c', which the model was trained on"),
    ("a,b,c,y\n" + "1,2,kind 0,3\n" * 9, "9 new rows are too few to learn from and to judge by"),
])
def test_bad_files_are_one_sentence(place: Path, text: str, message: str) -> None:
    (place / "new.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        update(place / "run", [place / "new.csv"], [], Events())
    assert Model.load(place / "run").folder.name == "finetune" and not (place / "run" / "promoted.json").exists()
    assert list(load_recipe(place / "run" / "recipe.yaml").stages) == ["prepare", "finetune"]


def test_a_run_that_is_not_up_to_date_is_not_trained_again_in_passing(place: Path) -> None:
    rows(place / "new.csv", 2, 0.0, 300)
    file = place / "run" / "recipe.yaml"
    text = file.read_text(encoding="utf-8").replace("learning_rate: 0.01", "learning_rate: 0.02")
    file.write_text(text, encoding="utf-8")
    before = (place / "run" / "finetune" / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="the run is not up to date: .* stage 'finetune' have changed .* bessemer run .*recipe.yaml first"):
        update(place / "run", [place / "new.csv"], [], Events())
    assert (place / "run" / "finetune" / "manifest.json").read_bytes() == before and file.read_text(encoding="utf-8") == text
    assert Model.load(place / "run").folder.name == "finetune"


def test_new_rows_that_are_old_ones_are_counted_and_no_validation_row_is_learnt(place: Path) -> None:
    data = ShardReader(place / "run" / "prepare" / "validation").take(np.arange(50), ["a", "b", "c", "y"]).to_pydict()
    kept = ShardReader(place / "run" / "finetune" / "replay").take(np.arange(20), ["a", "b", "c", "y"]).to_pydict()
    rows(place / "new.csv", 4, 0.0, 150)
    with (place / "new.csv").open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(row for part in (data, kept) for row in zip(*part.values(), strict=True))
    result, name = update(place / "run", [place / "new.csv"], ["methods=[anchor]", "num_train_epochs=1"], Events())
    folder = place / "run" / name
    counts = json.loads((folder / "funnel.json").read_text(encoding="utf-8"))["equal_to_old"]
    assert counts == json.loads((folder / "update.json").read_text(encoding="utf-8"))["equal_to_old"]
    assert (counts["training"], counts["validation"]) == (20, 50) and 20 < counts["left_out"] < 50
    new = [row for row in ShardReader(folder / "replay").take(np.arange(50), ["a", "row_id"]).to_pylist() if row["row_id"] >= 1 << 40]
    assert not {row["a"] for row in new} & set(data["a"])
    assert sum(result.stages[name].manifest.facts["new_rows"].values()) > 0


def test_an_unfinished_update_is_begun_again_under_its_name(place: Path) -> None:
    rows(place / "new.csv", 2, 0.0, 300)
    recipe, name, _ = with_update(place / "run", [place / "new.csv"], [])
    (place / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe.plain()), encoding="utf-8")  # what a kill leaves
    again, same, _ = with_update(place / "run", [place / "new.csv"], [])
    assert name == same == "update-001" and again == recipe


@pytest.mark.parametrize(("old", "new", "decision"), [
    ((-0.001, -0.01, 0.01), (0.05, 0.01, 0.09), "promoted"),
    ((-0.01, -0.02, 0.0), (0.05, 0.01, 0.09), "kept aside"),
    ((0.0, -0.01, 0.01), (0.02, -0.01, 0.05), "kept aside"),
    ((0.0, -0.01, 0.01), (-0.05, -0.09, -0.01), "kept aside"),
])
def test_the_gate(old: tuple[float, ...], new: tuple[float, ...], decision: str) -> None:
    table = [{"data": data, "target": "y", "metric": "r2", "difference": d, "low": low, "high": high}
             for data, (d, low, high) in (("old", old), ("new", new))]
    assert decide(table, margin=0.002, gain=0.0)[0] == decision


def test_a_poor_network_that_learnt_is_not_promoted_over_a_better_one_that_answers(trained: Path, tmp_path: Path) -> None:
    """The gate holds the update of a stage against what answers, and not against that stage's own past alone."""
    root = tmp_path / "run"
    shutil.copytree(trained / "run", root)
    plain = yaml.safe_load((root / "recipe.yaml").read_text(encoding="utf-8"))
    plain["stages"]["poor"] = {**plain["stages"]["finetune"], "num_train_epochs": 1, "learning_rate": 1e-5}
    plain["output_dir"] = str(root)
    plain["stages"]["evaluate"] = {"kind": "evaluate", "models": ["finetune", "poor"]}
    (root / "recipe.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    run(str(root / "recipe.yaml"))
    rows(tmp_path / "new.csv", 6, -3.0, 300)
    settings = ["learning_rate=0.001", "num_train_epochs=2", "methods=[replay]"]
    heard: list[str] = []
    events = Events([lambda kind, data: heard.append(data["message"]) if kind == "note" else None])
    result, name = update(root, [tmp_path / "new.csv"], settings, events, "poor")
    facts = result.stages[name].manifest.facts
    record = json.loads((root / name / "update.json").read_text(encoding="utf-8"))
    of = {(row["against"], row["data"]): row for row in record["table"]}
    assert set(of) == {(stage, data) for stage in ("finetune", "poor") for data in ("old", "new")}
    assert decide([row for row in record["table"] if row["against"] == "poor"], 0.01, 0.0)[0] == "promoted"  # its own past alone
    assert of["finetune", "old"]["before"] > 0.8 > of["finetune", "old"]["after"] > of["poor", "old"]["before"]
    assert facts["decision"] == "kept aside" and facts["reason"].startswith("against finetune: old rows lose")
    assert Model.load(root).folder.name == "finetune" and load_recipe(root / "recipe.yaml").stages[name].against == "finetune"
    assert another(result, name) == (f"bessemer update {root} {tmp_path / 'new.csv'} --stage poor --set learning_rate=0.00033 --set "
                                     "\"methods=[both]\" --set margin=0.02")
    heard.clear()
    recipe = (root / "recipe.yaml").read_bytes()
    assert update(root, [tmp_path / "new.csv"], settings, events, "poor")[1] == name
    assert (root / "recipe.yaml").read_bytes() == recipe and f"{name} of {root} learnt these rows from this network with these " \
        "settings: it is not learnt again" in heard


def test_both_gates_must_be_passed() -> None:
    def table(old: float, new: float) -> list[dict[str, Any]]:
        return [{"data": data, "target": "y", "metric": "r2", "difference": d, "low": d - 0.001, "high": d + 0.001}
                for data, d in (("old", old), ("new", new))]

    good, bad = table(0.0, 0.1), table(-0.1, 0.1)
    assert decide_both({"answers": good, "own": good}, (0.01, 0.0)) == ("promoted", f"against answers: {decide(good, 0.01, 0.0)[1]}")
    assert decide_both({"answers": bad, "own": good}, (0.01, 0.0))[1].startswith("against answers: old rows lose")
    assert decide_both({"answers": good, "own": bad}, (0.01, 0.0))[1].startswith("against own: old rows lose")


@pytest.mark.parametrize(("budget", "how"), [
    ({"size_mb": 0.5}, "MB, which a budget chose; to compress it: bessemer compress {root} --stage update-001 --size-mb 0.5 "
     "--accuracy-drop 0.01"),
    (None, "MB; to compress it: bessemer run {root}/recipe.yaml compress.model=update-001")])
def test_a_promoted_network_that_takes_the_place_of_a_smaller_form_says_what_it_costs(
        place: Path, budget: dict[str, float] | None, how: str) -> None:
    root = place / "run"
    for name in ("compress", "update-001"):
        shutil.copytree(root / "finetune", root / name)
    (root / "promoted.json").write_text(json.dumps({"stage": "update-001", "key": "k", "before": "compress"}), encoding="utf-8")
    stages = {**RECIPE["stages"], "compress": {"kind": "compress", **({"budget": budget} if budget else {})},
              "update-001": {"kind": "update", "sources": [{"kind": "csv", "path": "new.csv"}]}}
    result: Any = SimpleNamespace(root=root, recipe=make_recipe({**RECIPE, "stages": stages}, "test"))
    (said,) = costs(result, "update-001")
    held = size(root / "finetune", read_forms(root / "finetune")[0].name)["form"]
    start = f"update-001 is not compressed: {held / 1e6:.2f} MB, where compress answered with "
    assert said.startswith(start) and said.endswith(how.format(root=root))
    (root / "promoted.json").write_text(json.dumps({"stage": "update-001", "key": "k", "before": "finetune"}), encoding="utf-8")
    assert costs(result, "update-001") == []
