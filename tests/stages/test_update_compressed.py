"""What is made of an update is judged by its new rows too, and learns from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import r2_score

from bessemer.api import run
from bessemer.app.exporting import outdated, with_export
from bessemer.app.updates import update
from bessemer.core.answering import choose
from bessemer.core.events import Events
from bessemer.core.forms import open_form
from bessemer.core.recipe import load_recipe
from bessemer.core.run import Options, execute
from bessemer.data.shards import ShardReader
from bessemer.stages._update_kept import HELD_OUT, NEW_ROWS, _joined, keep_new, with_held_out
from bessemer.stages.compress import validation_rows
from tests.stages.test_update import RECIPE, rows

LEARNING = ["learning_rate=0.01", "num_train_epochs=60", "margin=0.05", "methods=[replay]"]


@pytest.fixture(scope="module")
def updated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose table's law was extended by an update that was promoted."""
    place = tmp_path_factory.mktemp("updated")
    rows(place / "old.csv", 0, -3.0, 1200)
    rows(place / "new.csv", 1, 0.0, 600)
    stages = RECIPE["stages"]
    source = {"sources": [{"kind": "csv", "path": str(place / "old.csv")}]}
    run({**RECIPE, "output_dir": str(place / "run"), "stages": {**stages, "prepare": {**stages["prepare"], **source}}})
    update(place / "run", [place / "new.csv"], LEARNING, Events())
    return place


def test_an_update_keeps_rows_to_judge_by_and_rows_to_learn_from(updated: Path, tmp_path: Path) -> None:
    folder = updated / "run" / "update-001"
    counts = json.loads((folder / "funnel.json").read_text(encoding="utf-8"))["rows"]
    assert len(ShardReader(folder / HELD_OUT)) == counts["choose"] + counts["gate"]
    learnt = pq.read_table(folder / NEW_ROWS)
    assert learnt.column_names == ["a", "b", "c"] and len(learnt) == counts["train"]
    fresh = tmp_path / "fresh"  # another update goes on from both
    for name in ("train", "choose", "gate"):
        shutil.copytree(folder / HELD_OUT, fresh / name)
    shutil.copyfile(folder / "schema.json", fresh / "schema.json")
    keep_new(fresh, folder, tmp_path, 1000)
    assert len(ShardReader(tmp_path / HELD_OUT)) == 3 * (counts["choose"] + counts["gate"])
    assert len(pq.read_table(tmp_path / NEW_ROWS)) == counts["choose"] + counts["gate"] + counts["train"]


def test_a_search_over_an_update_counts_its_new_rows(updated: Path) -> None:
    root, heard = updated / "run", []
    stage: dict[str, Any] = {"kind": "compress", "data": str(root / "prepare"), "model": str(root / "update-001"), "methods": [],
                             "budget": {"size_mb": 1, "accuracy_drop": 0.1},
                             "search": {"minutes": 2, "trials": 1, "students": ["mlp"], "copies": 0}}
    made = run({"name": "small", "threads": 1, "output_dir": str(updated / "small"), "stages": {"compress": stage}},
               events=Events([lambda kind, data: heard.append(data.get("message", "")) if kind == "note" else None]))
    held = len(ShardReader(root / "update-001" / HELD_OUT))
    old = len(ShardReader(root / "prepare" / "validation"))
    assert f"the network is an update: {held} of its new rows that it did not learn from count with the {old} validation rows" in heard
    front = json.loads((made.stages["compress"].folder / "front.json").read_text(encoding="utf-8"))
    assert front["rows"] == held + old
    asked = ShardReader(next((updated / "small" / "trials").glob("*teach*/teach")) / "train").stored(".made")
    assert (asked == 2).sum() == len(pq.read_table(root / "update-001" / NEW_ROWS))
    table, truths = with_held_out(root / "update-001", *validation_rows(root / "prepare", 10_000))
    score = {name: r2_score(truths["y"], open_form(root / name).predict(table)["y"].values[:, 0]) for name in ("finetune", "update-001")}
    assert front["reference"]["quality"]["value"] == pytest.approx(score["update-001"], abs=1e-6)
    assert score["update-001"] > 0.9 > 0.7 > score["finetune"], "the network before the update may not pass for the update made small"


def test_tags_of_fewer_units_are_filled_up() -> None:
    assert _joined(np.array([[1, 0, -1]]), np.array([[2]])).tolist() == [[1, 0, -1], [2, -1, -1]]
    assert _joined(np.array([1.0]), np.array([2.0])).tolist() == [1.0, 2.0]


def test_what_was_exported_from_an_update_answers_as_long_as_that_is_promoted(updated: Path, tmp_path: Path) -> None:
    root = shutil.copytree(updated / "run", tmp_path / "run")

    def exported(stage: str) -> str | None:
        recipe, name, _ = with_export(root, None, stage)
        return outdated(execute(recipe, Events(), Options(until=name, root=root, tentative=True)), name)

    assert exported("finetune") == (f"export holds finetune as it was before update-001, which was promoted and answers for {root}; to "
                                    f"export update-001: bessemer export {root} --stage update-001")
    assert choose(root).folder.name == "update-001"
    before = (root / "export" / "manifest.json").read_bytes()
    assert exported("update-001") is None
    assert (choose(root).folder.name, choose(root).why) == ("export", "made from update-001, a promoted update")
    (root / "promoted.json").unlink()
    found = choose(root)
    again = ("export.model=finetune", "compress.model=finetune")
    assert found.folder.name == "finetune" and found.said()[1:] == [
        f"export, compress of {root} were made from update-001, which is not promoted, so they do not answer; to make them from finetune "
        f"again: bessemer run {root}/recipe.yaml {' '.join(again)}"]
    execute(load_recipe(root / "recipe.yaml", again), Events(), Options(root=root))
    assert choose(root).folder.name == "export" and len(choose(root).said()) == 1
    assert (root / "export" / "manifest.json").read_bytes() == before
