"""compress with a budget: networks with low-rank layers, and networks that are trained for int8, as ways of the search."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from bessemer.api import run
from bessemer.core.artifact import commit, load_manifest
from bessemer.core.events import Events
from bessemer.core.forms import open_form
from bessemer.search.front import Limits
from bessemer.search.journal import Journal
from bessemer.search.study import Proposer
from bessemer.stages._budget_int8 import recipe_for, rounding_of, train_for_int8, worth_training
from bessemer.stages._budget_space import RANK, Origin, Training, factorised, first_of, label, ladder, recipe_of, short, space_of
from bessemer.stages._budget_try import no_faster
from bessemer.stages.compress import validation_rows

OUTLIER = 12.0
INT8 = [{"kind": "dynamic_int8"}]


@pytest.fixture(scope="module")
def origin(finished: Path) -> Origin:
    source = finished / "runs/tiny"
    return Origin.of(source / "finetune", source / "prepare")


def test_low_rank_is_a_setting_of_networks_cut_out_of_the_trained_one(origin: Origin) -> None:
    space = space_of(origin, None)
    assert space["slim"][RANK] == [None, 0.5] and all(RANK not in space[name] for name in space if name != "slim")
    without = space_of(origin, None, low_rank=False)
    assert without == {name: {key: values for key, values in item.items() if key != RANK} for name, item in space.items()}
    # what is tried first, and the second of a pair, are those of a search without it; then one that shows whether it pays
    for listed in (first_of, ladder):
        assert [{key: value for key, value in item.items() if key != RANK} for item in listed(space)] == listed(without)
        assert not [item for item in listed(space) if item.get(RANK) is not None]
    (own,) = factorised(space)
    assert own == {**first_of(space)[0], RANK: 0.5} and factorised(without) == []
    assert label(own).endswith("low rank 0.5")
    # a network that has low-rank layers already has none to factorise
    thin = replace(origin, config={**origin.config, "ranks": {"bert.encoder.layer.0.output.dense": 8}})
    assert RANK not in space_of(thin, ["slim"])["slim"]


def test_a_search_with_low_rank_finds_the_trainings_of_one_without_it(origin: Origin) -> None:
    training = Training("of-a", 0, 1, origin.data)
    plain = first_of(space_of(origin, ["slim"], low_rank=False))[0]
    asked = {**plain, RANK: None}
    assert short(asked) == short(plain) and recipe_of(asked, 2, origin, training) == recipe_of(plain, 2, origin, training)
    thin = recipe_of({**plain, RANK: 0.5}, 2, origin, training)
    assert thin["name"] != recipe_of(plain, 2, origin, training)["name"] and thin["stages"]["cut"]["rank"] == 0.5
    proposed, _ = Proposer(space_of(origin, ["slim"]), 0, [{**plain, RANK: 0.5}]).ask()
    assert proposed == {**plain, RANK: 0.5}


@pytest.mark.parametrize(("latency", "size", "limit", "dropped"), [
    (4.0, 0.9, 6.0, True), (6.0, 0.9, 6.0, False), (4.0, 1.1, 6.0, False), (4.0, 0.9, None, False)])
def test_low_rank_that_is_no_faster_than_a_small_enough_network_is_not_trained(
        latency: float, size: float, limit: float | None, dropped: bool) -> None:
    costs, whole = {"size_bytes": 600_000, "latency_ms": 5.0}, {"size_bytes": int(size * 1e6), "latency_ms": latency}
    assert no_faster(Limits(0.01, size_mb=1.0, latency_ms=limit), whole, costs) == dropped
    assert not no_faster(Limits(0.01, latency_ms=limit), {"status": "failed", "reason": "memory"}, costs)


@pytest.fixture(scope="module")
def coarse(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network whose int8 form loses much: one channel of what projections read is always 0, and their weights of
    that channel are so large that the integers of the others are few."""
    folder = tmp_path_factory.mktemp("coarse")
    shutil.copytree(finished / "runs/tiny/prepare", folder / "prepare")
    shutil.copytree(finished / "runs/tiny/finetune", folder / "finetune")
    file = folder / "finetune/model.safetensors"
    tensors = {name: np.array(value) for name, value in safetensors.numpy.load_file(file).items()}
    for name, tensor in tensors.items():
        if "LayerNorm" in name:
            tensor[0] = 0.0
        elif name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight", "pooler.dense.weight")):
            tensor[:, 0] = OUTLIER
    safetensors.numpy.save_file(tensors, file, metadata={"format": "pt"})
    manifest = load_manifest(folder / "finetune")
    assert manifest is not None
    commit(folder / "finetune", manifest.model_copy(update={"key": manifest.key[::-1]}))
    return folder


def squeeze(folder: Path, root: Path, heard: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    stage = {"kind": "compress", "data": str(folder / "prepare"), "model": str(folder / "finetune"), "methods": ["dynamic_int8"],
             "rows": 40, **settings}
    listeners = [] if heard is None else [lambda kind, data: heard.append(f"{kind} {data.get('stage')} {data.get('message', '')}")]
    run({"name": "squeezed", "threads": 1, "output_dir": str(root), "stages": {"compress": stage}}, events=Events(listeners))
    found: dict[str, Any] = json.loads((root / "compress/front.json").read_text())
    return found


def test_a_network_whose_int8_form_loses_is_trained_for_int8(coarse: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    found = squeeze(coarse, tmp_path / "run", heard, budget={"size_mb": 0.05, "accuracy_drop": 0.3}, search={
        "minutes": 5, "trials": 1, "students": ["ngrams"], "distil": False, "effort": 60, "early_exits": False})
    listed = {item["name"]: item for item in found["candidates"]}
    lossy, plain, tuned = (listed[name] for name in ("trained network; dynamic_int8", "trained network; float32",
                                                     "trained network: trained for int8; dynamic_int8"))
    told = tuned["brought"]
    assert told == {"before": lossy["drop"]["value"], "after": tuned["drop"]["value"], "float": plain["drop"]["value"]}
    assert told["before"] - told["float"] > 0.1 and told["after"] < told["before"] and "brought" not in lossy
    assert tuned["size_bytes"] == lossy["size_bytes"]
    assert found["reachable"] and tuned["chosen"] and found["sentence"].startswith(tuned["name"])
    notes = [line for line in heard if "trained for int8: its form dynamic_int8 loses" in line]
    assert len(notes) == 1 and f"before that {told['before']:.4f}" in notes[0]
    journal = next((tmp_path / "run/trials").glob("*.jsonl")).read_text().splitlines()
    record = next(item for item in map(json.loads, journal) if item["id"] == "int8-trained")
    assert record["of"] == "trained" and record["recipe"]["stages"]["tuned"]["adaptation"]["kind"] == "qat"
    assert open_form(tmp_path / "run/compress").predict(validation_rows(coarse / "prepare", 8)[0])["label"].values.shape == (8, 2)


def form(methods: list[dict[str, Any]], drop: float, size: int, latency: float) -> dict[str, Any]:
    return {"methods": methods, "how": "", "drop": {"value": drop, "low": drop, "high": drop}, "size_bytes": size, "latency_ms": latency}


def hunt(tmp_path: Path, *others: dict[str, Any], **changes: Any) -> Any:
    """Return a search with one finished candidate, `slim-1`, that meets a budget of 1 MB, 5 ms and 0.03 but for what is given."""
    given = {"float": 0.0, "int8": 0.02, "size": 400_000, "qat": True, **changes}
    journal = Journal(tmp_path / "journal.jsonl")
    forms = [form(INT8, given["int8"], given["size"], 2.0), form([], given["float"], 1_600_000, 3.0)]
    journal.add("slim-1", {"label": "slim: 3 layers", "settings": {"family": "slim", "layers": 3}, "status": "finished",
                           "model": "/m/a/rung-2", "forms": forms})
    journal.add("other", {"label": "other", "settings": {"family": "ngrams"}, "forms": list(others)})
    search = SimpleNamespace(qat=given["qat"])
    return SimpleNamespace(config=SimpleNamespace(search=search), rehearsal=False, origin=SimpleNamespace(table=False, config={}),
                           journal=journal, limits=Limits(0.03, size_mb=1.0, latency_ms=5.0),
                           training=Training("of-a", 0, 1, Path("/data")))


@pytest.mark.parametrize(("changes", "others", "worth"), [
    ({}, [], True),
    ({"int8": 0.01}, [], False),  # a third of what is allowed, no more
    ({"int8": 0.05}, [], True),
    ({"float": 0.031, "int8": 0.2}, [], False),  # the network itself loses too much
    ({"size": 1_100_000}, [], False),  # it would not fit anyway
    ({"qat": False}, [], False),
    ({}, [form(INT8, 0.0, 300_000, 1.0)], False),  # another is as good as it may become at best, and smaller
    ({}, [form(INT8, 0.0, 400_000, 2.05)], False),  # or it is as fast but for what a clock errs by
    ({}, [form(INT8, 0.0, 400_000, 2.2)], True),
    ({}, [form(INT8, 0.001, 300_000, 1.0)], True)])
def test_only_what_rounding_costs_noticeably_is_trained_for_it(tmp_path: Path, changes: dict[str, Any], others: list[dict[str, Any]],
                                                               worth: bool) -> None:
    search = hunt(tmp_path, *others, **changes)
    found = worth_training(search, search.journal["slim-1"])
    assert found == (search.journal["slim-1"]["forms"][0] if worth else None)


def test_what_was_trained_for_int8_before_a_kill_is_read_again(tmp_path: Path) -> None:
    search = hunt(tmp_path)
    made = [form(INT8, 0.001, 400_000, 2.0)]
    search.journal.add("int8-slim-1", {"label": "", "settings": {}, "status": "finished", "forms": made})
    assert train_for_int8(search, search.journal["slim-1"]) == made


def test_training_for_int8_rounds_as_the_method_that_follows(tmp_path: Path) -> None:
    assert rounding_of({"kind": "static_int8", "reduce_range": False}) == {"kind": "qat", "activations": "batch", "reduce_range": False}
    search = hunt(tmp_path)
    first, second = (recipe_for(search, Path("/m/a/rung-2"), [{"kind": kind}]) for kind in ("dynamic_int8", "static_int8"))
    assert first["name"] == second["name"]  # the same rounding: trained once
    assert first["name"] != recipe_for(search, Path("/m/b/rung-2"), INT8)["name"]
    assert first["stages"]["tuned"]["init"] == "/m/a/rung-2"
