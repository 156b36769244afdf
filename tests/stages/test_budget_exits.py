"""compress with a budget: a network with early exits is a candidate, measured and delivered like the others; low-rank cuts of a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bessemer.api import Model, run
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.core.types import Answer
from bessemer.search.front import Limits
from bessemer.search.journal import Journal
from bessemer.stages._budget_exits import leaves_early, promising, try_exits
from bessemer.stages._budget_space import RANK, Origin, Training, first_of, recipe_of, space_of
from bessemer.stages.compress import validation_rows
from tests.conftest import sentences, write_csv

DEEP = {"kind": "bert", "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 32}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a network of three layers."""
    folder = tmp_path_factory.mktemp("deep")
    write_csv(folder / "rows.csv", sentences(300))
    run({"name": "deep", "threads": 1, "output_dir": str(folder / "run"), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(folder / "rows.csv")}],
                    "inputs": {"text": {"kind": "text", "max_length": 24, "tokenizer": {"kind": "wordpiece", "vocab_size": 300}}},
                    "targets": {"label": {"kind": "category"}}, "split": {"kind": "stratified", "validation": 60, "test": 40}},
        "finetune": {"model": DEEP, "num_train_epochs": 6, "learning_rate": 3e-3}}})
    return folder / "run"


def squeeze(deep: Path, root: Path) -> tuple[dict[str, Any], list[str]]:
    stage = {"kind": "compress", "data": str(deep / "prepare"), "model": str(deep / "finetune"), "methods": ["dynamic_int8"], "rows": 60,
             "budget": {"latency_ms": 1000, "accuracy_drop": 0.4}, "search": {"minutes": 5, "trials": 1, "students": ["slim"],
                                                                              "distil": False, "qat": False, "cascades": False}}
    heard: list[str] = []
    listener = Events([lambda kind, data: heard.append(f"{kind} {data.get('stage')}")])
    run({"name": "squeezed", "threads": 1, "output_dir": str(root), "stages": {"compress": stage}}, events=listener)
    return json.loads((root / "compress/front.json").read_text()), heard


def test_a_network_with_exits_is_measured_and_delivered(deep: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    found, _ = squeeze(deep, root)
    with_exits = [item for item in found["candidates"] if "early exits" in item["name"]]
    # of so small a network either the float graph or the int8 one is the fastest form
    assert [item["form"] for item in with_exits] in (["early-exit-dynamic_int8", "early-exit"], ["early-exit"])
    assert all(item["status"] == "finished" and sum(item["exits"]) == pytest.approx(1) for item in with_exits)
    # As if all others had lost too much: the search goes on from its journal, trains nothing, and delivers the network with exits.
    journal = next((root / "trials").glob("*.jsonl"))
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    for item in (form for record in records for form in record.get("forms", ()) if "exits" not in form):
        item["drop"]["value"] = 0.9
    journal.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    shutil.rmtree(root / "compress")
    found, heard = squeeze(deep, root)
    assert [line for line in heard if line.startswith("stage_start")] == ["stage_start compress"]
    (chosen,) = (item for item in found["candidates"] if item["chosen"])
    assert "early exits" in found["sentence"] and found["sentence"].startswith(chosen["name"])
    forms = read_forms(root / "compress")
    assert forms[0].name == chosen["form"] and {form.name for form in forms} >= {"early-exit"}
    rows, _ = validation_rows(deep / "prepare", 60)
    made = next((root / "trials").glob("of-*-exits-*/exits"))
    delivered, there = (open_form(folder, chosen["form"]).predict(rows)["label"].values for folder in (root / "compress", made))
    assert delivered.tobytes() == there.tobytes()
    assert Model.load(root / "compress").predict(["The room number 7 was lovely today."]) in (["good"], ["bad"])


TRUTH = np.arange(20) % 2


def hunt(tmp_path: Path, **changes: Any) -> Any:
    """Return a search of one label that knows a trained network (8 ms) and a network of 4 ms in `tmp_path`/m."""
    (tmp_path / "m").mkdir(exist_ok=True)
    (tmp_path / "m/config.json").write_text(json.dumps({"model_type": "bert", "num_attention_heads": 2, "num_hidden_layers":
                                                        changes.get("layers", 3)}))
    journal = Journal(tmp_path / "journal.jsonl")
    kind = changes.get("kind", "label")
    return SimpleNamespace(config=SimpleNamespace(search=SimpleNamespace(early_exits=changes.get("early_exits", True))), rehearsal=False,
                           origin=SimpleNamespace(table=False), journal=journal,
                           limits=Limits(0.01, size_mb=1.0, latency_ms=changes.get("latency_ms", 3.0)),
                           yard=SimpleNamespace(reference={"label": Answer(kind, np.eye(2)[TRUTH], ("0", "1"))}))


def form(tmp_path: Path, record: str, latency: float, drop: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"record": record, "model": str(tmp_path / "m"), "latency_ms": latency, "size_bytes": 500_000,
            "drop": {"value": drop, "low": drop, "high": drop}, **more}


def test_exits_are_for_the_fastest_network_that_they_may_bring_within_the_budget(tmp_path: Path) -> None:
    large, small, lossy = form(tmp_path, "a", 6.0), form(tmp_path, "b", 4.0), form(tmp_path, "c", 3.5, 0.02)
    assert promising(hunt(tmp_path), [large, small, lossy]) == small
    assert promising(hunt(tmp_path), [{**small, "size_bytes": 1_200_000}, large]) == large
    assert promising(hunt(tmp_path, latency_ms=1.0), [large, small, lossy]) is None  # no exit makes them as fast
    assert promising(hunt(tmp_path), [small, form(tmp_path, "d", 1.0)]) == form(tmp_path, "d", 1.0)
    assert promising(hunt(tmp_path), [small, {**form(tmp_path, "d", 1.0), "model": str(tmp_path)}]) is None  # another is faster already
    for changes in ({"latency_ms": None}, {"kind": "number"}, {"early_exits": False}, {"layers": 1}):
        assert promising(hunt(tmp_path, **changes), [large, small]) is None
    known = hunt(tmp_path)
    known.journal.add("exits-1", {"of": "b", "label": "", "forms": [], "status": "failed", "reason": ""})
    assert promising(known, [large, small]) == large
    try_exits(known, 1)  # what was tried before a kill is not tried again
    assert list(known.journal.records) == ["exits-1"]


def test_what_answers_several_targets_or_is_no_bert_has_no_exits(tmp_path: Path) -> None:
    hunt(tmp_path)
    assert leaves_early(tmp_path / "m") and not leaves_early(tmp_path)
    (tmp_path / "m/heads.json").write_text("[]")
    assert not leaves_early(tmp_path / "m")
    (tmp_path / "m/heads.json").unlink()
    (tmp_path / "m/config.json").write_text(json.dumps({"model_type": "text_cnn"}))
    assert not leaves_early(tmp_path / "m")


def test_a_low_rank_candidate_is_cut_with_thin_layers(deep: Path, tmp_path: Path) -> None:
    origin = Origin.of(deep / "finetune", deep / "prepare")
    middle = first_of(space_of(origin, ["slim"]))[0]
    shapes = {}
    for part in (None, 0.5):
        recipe = recipe_of({**middle, RANK: part}, 0, origin, Training("of-a", 0, 1, origin.data))
        made = run({**recipe, "output_dir": str(tmp_path / str(part))}).stages["cut"]
        shapes[part] = (json.loads((made.folder / "config.json").read_text())["ranks"], made.manifest.facts["parameters"])
    assert shapes[None][0] == {} and all(rank < 32 for rank in shapes[0.5][0].values()) and len(shapes[0.5][0]) >= 6
    assert shapes[0.5][1] < shapes[None][1]
