"""Which network compress and update take: that of the stage that answers, or the one named; and what cannot be taken is a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.app.compressing import with_budget
from bessemer.app.networks import take
from bessemer.app.updates import with_update
from bessemer.core.answering import PROMOTED
from bessemer.core.artifact import Manifest, commit
from bessemer.core.errors import UserError
from bessemer.core.recipe import load_recipe
from bessemer.core.registry import plugin_of

PREPARE: dict[str, Any] = {"sources": [{"kind": "csv", "path": "rows.csv"}], "inputs": {"a": {"kind": "number"}},
                           "targets": {"y": {"kind": "number"}}}
NET: dict[str, Any] = {"kind": "finetune", "model": {"kind": "mlp"}, "learning_rate": 0.01}
LINEAR: dict[str, Any] = {"kind": "finetune", "model": {"kind": "linear"}}
TWO: dict[str, dict[str, Any]] = {"prepare": PREPARE, "first": NET, "second": {**NET, "learning_rate": 0.02}, "linear": LINEAR}
UPDATE: dict[str, Any] = {"kind": "update", "model": "second", "sources": [{"kind": "csv", "path": "rows.csv"}]}


def _run(root: Path, stages: dict[str, dict[str, Any]], without: tuple[str, ...] = ()) -> Path:
    """Write a run as it is when its stages are finished, all but those named."""
    root.mkdir()
    (root / "rows.csv").write_text("a,y\n1,2\n")
    (root / "recipe.yaml").write_text(yaml.safe_dump({"name": "run", "stages": stages}, sort_keys=False))
    recipe = load_recipe(root / "recipe.yaml")
    for name in stages:
        kind = plugin_of("stages", recipe.stages[name]).name
        if name in without or kind in ("prepare", "evaluate"):
            continue
        (root / name).mkdir()
        (root / name / "predictor.json").write_text(json.dumps({"format": 1, "forms": []}))
        if kind in ("finetune", "update") and stages[name] is not LINEAR:
            (root / name / "model.safetensors").touch()
        commit(root / name, Manifest(kind=kind, key=name, inputs=recipe.references(name), files={}, volatile=(), published=(), facts={}))
    return root


def _taken(root: Path, command: str, stage: str | None = None) -> tuple[str, str]:
    recipe = load_recipe(root / "recipe.yaml")
    found = take(root, recipe, {name: plugin_of("stages", item).name for name, item in recipe.stages.items()}, stage, command)
    return found.name, found.said


def test_the_network_that_answers_is_taken_and_said(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "evaluate": {"models": ["second", "first", "linear"]}})
    assert _taken(root, "compress") == ("second", (
        f"second of {root} is compressed (the first of its kind that the recipe's evaluate stage lists); it also holds first: to take "
        "another, give --stage first"))
    assert _taken(root, "update", "first") == ("first", f"first of {root} is updated (--stage)")
    recipe, name, notes = with_budget(root, {"size_mb": 1.0}, {})
    assert recipe.stages[name].model == "second" and notes == [_taken(root, "compress")[1]]
    recipe, name, said = with_update(root, [root / "rows.csv"], [])
    assert (recipe.stages[name].model, recipe.stages[name].learning_rate) == ("second", pytest.approx(0.006))
    assert said.startswith(f"second of {root} is updated (the first of its kind")


def test_behind_a_form_stands_the_network_that_it_was_made_from(tmp_path: Path) -> None:
    stages = {**TWO, "compress": {"model": "first"}, "other": {"kind": "compress", "model": "second"},
              "export": {"model": "first", "compressed": "compress"}, "evaluate": {"models": ["second", "first", "compress"]}}
    root = _run(tmp_path / "run", stages)
    assert _taken(root, "compress") == ("first", f"first of {root} is compressed (export answers and was made from it); it also holds "
                                        "second: to take another, give --stage second")
    recipe, name, _ = with_budget(root, {"size_mb": 1.0}, {})
    assert name == "compress" and recipe.stages["compress"].budget.size_mb == 1.0 and recipe.stages["other"].budget is None
    recipe, name, _ = with_budget(root, {"size_mb": 1.0}, {}, "second")
    assert name == "other" and recipe.stages["compress"].model == "first"
    recipe, _, _ = with_update(root, [root / "rows.csv"], [])
    assert recipe.stages["update-001"].model == "first"


def test_the_compress_stage_of_another_network_takes_the_one_named_and_its_export_too(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "compress": {"model": "first"}, "export": {"model": "first", "compressed": "compress"}})
    recipe, name, notes = with_budget(root, {"size_mb": 1.0}, {}, "second")
    assert name == "compress" and [recipe.stages[item].model for item in ("compress", "export")] == ["second", "second"]
    assert notes[1] == "the stage compress takes it in place of first, and what follows is made anew from it"


def test_a_promoted_update_is_compressed_and_updated_again_by_the_settings_of_its_first_training(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "compress": {"model": "second"}, "update-001": UPDATE})
    (root / PROMOTED).write_text(json.dumps({"stage": "update-001", "key": "update-001"}))
    assert _taken(root, "compress") == ("update-001", f"update-001 of {root} is compressed (a promoted update); it also holds first, "
                                        "second: to take another, give --stage first")
    recipe, name, _ = with_budget(root, {"size_mb": 1.0}, {})
    assert name == "compress" and recipe.stages["compress"].model == "update-001"
    recipe, name, _ = with_update(root, [root / "rows.csv"], [])
    assert name == "update-002" and recipe.stages[name].model == "update-001"
    assert recipe.stages[name].learning_rate == pytest.approx(0.006)


def test_a_network_that_is_not_what_answers_is_held_against_it(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "compress": {"model": "second"}})
    recipe, name, said = with_update(root, [root / "rows.csv"], [], "first")
    assert recipe.stages[name].against == "second" and said == f"first of {root} is updated (--stage)"
    assert with_update(root, [root / "rows.csv"], [])[0].stages[name].against is None  # what answers was made from it
    recipe, name, said = with_update(root, [root / "rows.csv"], [], "compress")
    assert recipe.stages[name].against is None
    assert said == f"second of {root} is updated (compress is a stage of kind compress, made from it)"
    assert with_update(root, [root / "rows.csv"], ["against=null"], "first")[0].stages[name].against is None


def test_a_stage_whose_folder_was_deleted_is_said_to_be_missing(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", TWO, without=("second",))
    budgeted, updated = lambda: with_budget(root, {"size_mb": 1.0}, {}, "second"), lambda: with_update(root, [], [], "second")
    for command in (budgeted, updated):
        with pytest.raises(UserError) as caught:
            command()
        assert str(caught.value) == (f"the folder of second in {root} is missing or unfinished; run the recipe: bessemer run "
                                     f"{root / 'recipe.yaml'}")


@pytest.mark.parametrize(("stages", "stage", "sentence"), [
    ({**TWO, "blend": {"models": ["linear", "second"]}}, None, "blend of {root} answers, but is a blend of models, and only the network of "
     "a stage of kind finetune or update can be updated; name one with --stage second"),
    ({**TWO, "evaluate": {"models": ["linear"]}}, None, "linear of {root} answers, but holds no network, and only the network of a stage "
     "of kind finetune or update can be updated; name one with --stage first"),
    (TWO, "prepare", "prepare of {root} is a stage of kind prepare, and only the network of a stage of kind finetune or update can be "
     "updated; name one with --stage first"),
    (TWO, "frst", "--stage: the recipe of '{root}' has no stage 'frst'; did you mean 'first'?"),
    ({"prepare": PREPARE, "linear": LINEAR}, None, "'{root}' holds no network, which alone can be updated: the model of linear is "
     "none; add a finetune stage of a network to {root}/recipe.yaml, or run the recipe anew with the new rows as a further source: that "
     "trains the model on all of them"),
    ({"prepare": PREPARE}, None, "'{root}' holds no trained network to update; run its recipe first: bessemer run {root}/recipe.yaml"),
])
def test_what_cannot_be_taken_is_a_sentence(tmp_path: Path, stages: dict[str, dict[str, Any]], stage: str | None, sentence: str) -> None:
    root = _run(tmp_path / "run", stages)
    with pytest.raises(UserError) as caught:
        with_update(root, [root / "rows.csv"], [], stage)
    assert str(caught.value) == sentence.format(root=root)


def test_the_folder_of_a_stage_is_named_by_the_option(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", TWO)
    with pytest.raises(UserError) as caught:
        with_budget(root / "second", {"size_mb": 1.0}, {})
    assert str(caught.value) == f"'{root / 'second'}' is a stage's folder; give the run's, and the stage beside it: {root} --stage second"


def test_a_promoted_update_that_the_recipe_no_longer_names_is_held_against_and_not_replaced(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "update-001": UPDATE})
    (root / "recipe.yaml").write_text(yaml.safe_dump({"name": "run", "stages": TWO}, sort_keys=False))
    (root / PROMOTED).write_text(json.dumps({"stage": "update-001", "key": "update-001"}))
    recipe, name, _ = with_update(root, [root / "rows.csv"], [], "first")
    assert name == "update-002" and recipe.stages[name].against == str(root / "update-001")
    with pytest.raises(UserError) as caught:
        with_update(root, [root / "rows.csv"], [])
    assert str(caught.value) == (f"update-001 of {root} answers, and recipe.yaml no longer names it; name another network with --stage "
                                 f"first, or delete {root / PROMOTED}")
