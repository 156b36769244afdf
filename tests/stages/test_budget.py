"""compress with a budget: the front, the choice, what is delivered; a bad candidate is a record; a search goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bessemer.api import Model, run
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.core.run import RunResult
from bessemer.search.front import Limits, Point, pareto
from bessemer.stages._budget_deliver import late
from bessemer.stages._budget_space import Origin, first_of, no_smaller, recipe_of, space_of
from bessemer.stages.compress import validation_rows

Heard = list[tuple[str, dict[str, Any]]]
SMALL = {"methods": ["dynamic_int8"], "rows": 40}


def squeeze(finished: Path, root: Path, heard: Heard | None = None, **settings: Any) -> RunResult:
    """Run one compress stage over the finished run's network."""
    source = finished / "runs/tiny"
    stage = {"kind": "compress", "data": str(source / "prepare"), "model": str(source / "finetune"), **SMALL, **settings}
    listeners = [] if heard is None else [lambda kind, data: heard.append((kind, data))]
    return run({"name": "squeezed", "threads": 1, "output_dir": str(root), "stages": {"compress": stage}}, events=Events(listeners))


def front_of(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "compress/front.json").read_text())
    return found


@pytest.fixture(scope="module")
def searched(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search for a smaller network of the same family, whose budget the trained network does not meet."""
    root = tmp_path_factory.mktemp("searched") / "run"
    squeeze(finished, root, budget={"size_mb": 0.0441, "latency_ms": 1000, "accuracy_drop": 0.5},
            search={"minutes": 5, "trials": 1, "students": ["slim"], "distil": False})
    return root


def test_front_is_pareto_and_the_chosen_meets_the_budget(searched: Path) -> None:
    found = front_of(searched)
    measured = [item for item in found["candidates"] if item["status"] == "finished"]
    costs = [(item["drop"]["value"], item["size_bytes"], item["latency_ms"]) for item in measured]
    assert [item["front"] for item in measured] == pareto(costs)
    limits = Limits(**{"accuracy_drop": 0.5, **found["limits"]})
    for item, (drop, size, waited) in zip(measured, costs, strict=True):
        assert item["fits"] == (not limits.over(Point("", drop, size, waited)))
    chosen = [item for item in measured if item["chosen"]]
    assert found["reachable"] and len(chosen) == 1 and chosen[0]["fits"] and chosen[0]["settings"]["family"] == "slim"
    assert chosen[0]["name"] in found["sentence"] and "times as fast as the trained network" in found["sentence"]


def test_size_is_that_of_the_delivered_files(searched: Path) -> None:
    folder = searched / "compress"
    chosen = next(item for item in front_of(searched)["candidates"] if item["chosen"])
    form = read_forms(folder)[0]
    assert form.name == chosen["form"]
    names = ("schema.json", *form.files, "columns/text/tokenizer.json")
    assert chosen["size_bytes"] == sum((folder / name).stat().st_size for name in names)


def test_delivered_folder_answers_as_the_candidate_did_and_holds_its_own_network(searched: Path, finished: Path) -> None:
    folder = searched / "compress"
    rows, _ = validation_rows(finished / "runs/tiny/prepare", 40)
    assert [form.name for form in read_forms(folder)] == ["onnx-int8", "onnx-float32"]
    places = (folder, *(searched / "trials").glob("of-*-slim-*/forms-*"))
    delivered, *made = (open_form(place, "onnx-int8").predict(rows)["label"].values.tobytes() for place in places)
    assert delivered in made
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "slim_bert"
    assert Model.load(folder).predict(["The room number 7 was lovely today."]) in (["good"], ["bad"])
    checks = json.loads((folder / "checks.json").read_text())
    assert len(checks["rows"]) == 8 and list(checks["rows"][0]) == ["text"]
    for name, kept in checks["forms"].items():
        again = open_form(folder, name).predict(rows.take(np.unique(np.linspace(0, 39, 8).astype(np.int64))))["label"].values
        assert again.tolist() == kept["label"]


def test_a_search_that_was_killed_trains_nothing_again(searched: Path, finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(searched, root)
    before = front_of(root)
    journal = next((root / "trials").glob("*.jsonl"))
    moved = journal.read_text().replace(str(searched), str(root)).splitlines(keepends=True)
    cut = max(index for index, line in enumerate(moved) if '"family": "slim"' in line)
    journal.write_text("".join(moved[:cut]) + moved[cut][:40])  # killed while the last candidate's record was written
    shutil.rmtree(root / "compress")
    (root / "front.json").unlink()
    heard: Heard = []
    squeeze(finished, root, heard, budget={"size_mb": 0.0441, "latency_ms": 1000, "accuracy_drop": 0.5},
            search={"minutes": 5, "trials": 1, "students": ["slim"], "distil": False})
    started = [data["stage"] for kind, data in heard if kind == "stage_start"]
    cached = [data["stage"] for kind, data in heard if kind == "stage_cached"]
    assert started == ["compress"] and {"cut", "rung-1", "rung-2"} <= set(cached)
    after = front_of(root)
    assert [item["name"] for item in after["candidates"]] == [item["name"] for item in before["candidates"]]
    for old, new in zip(before["candidates"], after["candidates"], strict=True):
        assert old["size_bytes"] == new["size_bytes"] and old["drop"] == new["drop"]


def test_not_reachable_delivers_the_nearest_and_says_so(finished: Path, tmp_path: Path) -> None:
    result = squeeze(finished, tmp_path / "run", budget={"size_mb": 0.001, "accuracy_drop": 0.0},
                     search={"minutes": 5, "trials": 1, "students": ["text_cnn"], "distil": False})
    found, facts = front_of(tmp_path / "run"), result.stages["compress"].manifest.facts
    assert facts["reachable"] is False and found["reachable"] is False
    assert found["sentence"].startswith("not reachable; the nearest is trained network; dynamic_int8: ")
    assert "MB of 0.001" in found["sentence"]
    dropped = [item for item in found["candidates"] if item["status"] == "dropped"]
    assert [item["reason"] for item in dropped] == [f"untrained, it is over the budget already: {dropped[0]['size_bytes'] / 1e6:.3g} MB of "
                                                    "0.001"]
    assert not list((tmp_path / "run/trials").glob("of-*-text_cnn-*/rung-*"))  # nothing was trained for it


def test_a_bad_candidate_is_a_record(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whether a finished form is quicker than this one untrained, and it is dropped before it fails, is for the clock to say.
    monkeypatch.setattr("bessemer.stages._budget_try.dominates", lambda first, second: False)
    result = squeeze(finished, tmp_path / "run", budget={"size_mb": 10, "accuracy_drop": 0.5},
                     search={"minutes": 5, "trials": 1, "students": ["ngrams"], "distil": False, "effort": 1e-6})
    failed = [item for item in front_of(tmp_path / "run")["candidates"] if item["status"] == "failed"]
    assert len(failed) == 1 and "num_train_epochs" in failed[0]["reason"]
    assert result.stages["compress"].manifest.facts["reachable"] is True


def test_what_is_in_nothing_smaller_than_one_over_the_budget_is_passed_over(finished: Path, tmp_path: Path) -> None:
    squeeze(finished, tmp_path / "run", budget={"latency_ms": 1e-6, "accuracy_drop": 0.5},
            search={"minutes": 5, "trials": 6, "students": ["slim"], "distil": False})
    dropped = [item for item in front_of(tmp_path / "run")["candidates"] if item["settings"] and item["settings"]["family"] == "slim"]
    over = [item for item in dropped if "over the budget already" in item["reason"]]
    passed = [item for item in dropped if "it is in nothing smaller than one that is over the budget untrained" in item["reason"]]
    assert over and passed
    assert all(any(no_smaller(item["settings"], least["settings"]) for least in over) for item in passed)


@pytest.mark.parametrize(("settings", "message"), [
    ({"budget": {"accuracy_drop": 0.1}}, "a budget limits size_mb, latency_ms or memory_mb"),
    ({"budget": {"latency_ms": float("inf")}}, "budget.latency_ms.*finite number"),
    ({"budget": {"size_mb": 1}, "min_agreement": 0.5}, "min_agreement has no effect with a budget"),
    ({"search": {"minutes": 1}}, "search has no effect without a budget"),
    ({"budget": {"size_mb": 1}, "search": {"students": ["text_cn"]}}, "cannot become 'text_cn'; did you mean 'text_cnn'")])
def test_what_is_asked_for_wrongly_is_a_sentence(finished: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        squeeze(finished, tmp_path / "run", **settings)


def test_a_pair_answers_by_the_second_where_the_first_is_unsure(finished: Path, tmp_path: Path) -> None:
    from bessemer.measure.size import size
    from bessemer.stages._budget_measure import Place
    from bessemer.stages._budget_pairs import write_pair

    folder, names = finished / "runs/tiny/compress", ("onnx-int8", "onnx-float32")
    rows, _ = validation_rows(finished / "runs/tiny/prepare", 40)
    first, second = (open_form(folder, name).predict(rows)["label"].values for name in names)
    sure = float(np.median(first.max(axis=1)))
    form = write_pair(tmp_path / "pair", [Place(folder, name) for name in names], sure)
    found = open_form(tmp_path / "pair", form.name).predict(rows)["label"].values
    stops = first.max(axis=1) >= sure
    assert 0 < stops.sum() < len(stops)
    assert found[stops].tolist() == first[stops].tolist()
    assert np.abs(found[~stops] - second[~stops]).max() < 1e-6
    assert size(tmp_path / "pair", form.name)["weights"] == sum(size(folder, name)["weights"] for name in names)


def test_recipes_of_a_candidate_go_on_from_rung_to_rung(finished: Path) -> None:
    from bessemer.core.recipe import make_recipe
    from bessemer.stages._budget_space import Training

    source = finished / "runs/tiny"
    origin = Origin.of(source / "finetune", source / "prepare")
    training = Training("of-a", 0, 1, origin.data)
    for settings in first_of(space_of(origin, None)):
        short, whole = (recipe_of(settings, rung, origin, training) for rung in (1, 2))
        assert make_recipe(whole, "test").order() == list(whole["stages"])
        assert short["name"] == whole["name"] and whole["stages"]["rung-1"] == short["stages"]["rung-1"]
        assert whole["stages"]["rung-2"]["init"] == "rung-1"


@pytest.mark.parametrize(("limit", "milliseconds", "over", "far_over"), [
    (5.0, 0.94, False, False), (5.0, 5.2, True, False), (5.0, 5.3, True, True), (None, 99.0, False, False)])
def test_a_chosen_form_is_late_beyond_the_budgets_latency(limit: float | None, milliseconds: float, over: bool, far_over: bool) -> None:
    limits, again = Limits(0.01, latency_ms=limit), {"1": {"median_ms": milliseconds}}
    assert (late(limits, again), late(limits, again, 1.05)) == (over, far_over)
