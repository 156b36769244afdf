"""compress with a budget: where nothing meets it, the best of the networks that are small and fast enough is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bessemer.api import run
from bessemer.core.artifact import load_manifest
from bessemer.core.events import Events
from bessemer.search.front import Limits
from bessemer.search.journal import Journal
from bessemer.stages._budget_deliver import candidates
from bessemer.stages._budget_longer import LONGER, recipe_for, worth_training
from bessemer.stages._budget_space import Origin, Training

FORMS: dict[str, tuple[dict[str, Any], float, float]] = {
    "large": ({"family": "slim", "layers": 3}, 0.02, 9.0), "small": ({"family": "slim", "layers": 1}, 0.06, 2.0),
    "cnn": ({"family": "text_cnn"}, 0.08, 1.0), "rounded": ({"family": "slim", "layers": 1, "qat": True}, 0.05, 2.0),
    "words": ({"family": "tfidf_linear"}, 0.03, 0.5), "pair": ({"family": "cascade"}, 0.03, 2.5)}
"""Record -> settings, drop and milliseconds of its one form."""


def hunt(folder: Path, allowed: float, longer: bool = True) -> Any:
    journal = Journal(folder / "journal.jsonl")
    for name, (settings, drop, waited) in FORMS.items():
        form: dict[str, Any] = {
            "how": "float32", "folder": str(folder), "form": "f", "length": None, "latency_ms": waited, "size_bytes": 1000, "methods": [],
            "drop": {"value": drop, "low": drop, "high": drop}}
        journal.add(name, {"label": name, "settings": settings, "status": "finished", "reason": "", "model": str(folder / name / "rung-2"),
                           "forms": [form]})
    return SimpleNamespace(config=SimpleNamespace(search=SimpleNamespace(longer=longer)), journal=journal, rehearsal=False,
                           limits=Limits(allowed, latency_ms=3.0), training=Training("of-a", 0, 1, folder / "taught", passes=0.5),
                           origin=Origin(folder, folder, False, {}))


def test_the_most_faithful_network_that_is_fast_enough_learns_on(tmp_path: Path) -> None:
    """No pair, no linear model, none trained for int8, and none that is too slow; once it was trained on, the next."""
    known = hunt(tmp_path, 0.01)
    item = worth_training(known, candidates(known))
    assert item is not None and item["record"] == "small"
    stage = recipe_for(known, item, 4.0)["stages"][LONGER]
    assert stage["num_train_epochs"] == 4 * 3.0 * 0.5 and stage["init"] == str(tmp_path / "small/rung-2") and "task" not in stage
    known.journal.add("longer-1", {"label": "", "settings": {}, "of": "small", "status": "dropped", "forms": []})
    item = worth_training(known, candidates(known))
    assert item is not None and item["record"] == "cnn"
    known.journal.add("longer-2", {"label": "", "settings": {}, "of": "cnn", "status": "dropped", "forms": []})
    assert worth_training(known, candidates(known)) is None


@pytest.mark.parametrize(("allowed", "longer"), [(0.03, True), (0.01, False)])
def test_none_where_the_budget_is_met_or_it_is_not_wanted(allowed: float, longer: bool, tmp_path: Path) -> None:
    known = hunt(tmp_path, allowed, longer)
    assert worth_training(known, candidates(known)) is None


def test_a_search_that_meets_nothing_trains_on(finished: Path, tmp_path: Path) -> None:
    """The network that was looked at was hardly trained; the one that goes on from it is surer of the validation rows, and a candidate."""
    source = finished / "runs/tiny"
    stage = {"kind": "compress", "data": str(source / "prepare"), "model": str(source / "finetune"), "methods": [], "rows": 40,
             "budget": {"size_mb": 0.06, "accuracy_drop": 0.0},
             "search": {"minutes": 5, "trials": 2, "students": ["slim"], "distil": False, "effort": 0.1, "cascades": False}}
    heard: list[str] = []
    found = run({"name": "squeezed", "threads": 1, "output_dir": str(tmp_path / "run"), "stages": {"compress": stage}},
                events=Events([lambda _kind, data: heard.append(str(data.get("message", "")))]))
    (journal,) = (tmp_path / "run/trials").glob("compress-*.jsonl")
    records = {record["id"]: record for record in map(json.loads, journal.read_text().splitlines())}
    longer = records["longer-1"]
    first = records[longer["of"]]
    manifests = [load_manifest(Path(record["model"])) for record in (first, longer)]
    losses = [min(item["log_loss"] for item in manifest.facts["validations"]) for manifest in manifests if manifest]
    assert losses[1] < losses[0] and longer["settings"] == {**first["settings"], LONGER: 1}
    assert any("of what is small and fast enough it loses least: it learns on" in line for line in heard)
    front = json.loads((found.stages["compress"].folder / "front.json").read_text())
    assert f"{longer['label']}; float32" in {item["name"] for item in front["candidates"]}
