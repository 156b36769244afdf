"""bessemer export and report: which stages they run or add, whatever the stages of a run are named, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.app.exporting import with_export, with_report
from bessemer.core.errors import UserError
from bessemer.core.recipe import Recipe, load_recipe
from bessemer.stages.export import Export
from tests.app.test_networks import LINEAR, NET, PREPARE, TWO, _run
from tests.conftest import Command

OWN: dict[str, dict[str, Any]] = {"data": {"kind": "prepare", **PREPARE}, "net": {**NET, "data": "data"},
                                  "scores": {"kind": "evaluate", "data": "data", "models": ["net"]},
                                  "page": {"kind": "report", "stages": ["data", "net", "scores"]}}


def test_stages_with_names_of_ones_own_are_exported(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", OWN)
    recipe, name, notes = with_export(root, None)
    assert name == "export" and notes == [f"net of {root} is exported (the first of its kind that the recipe's evaluate stage lists)"]
    made = recipe.stages["export"]
    assert (made.data, made.model, made.compressed, made.scores) == ("data", "net", "compress", "scores")
    assert (recipe.stages["compress"].data, recipe.stages["compress"].model) == ("data", "net")
    assert recipe.stages["scores"].models == ("net", "compress") and recipe.stages["page"].stages[-2:] == ("compress", "export")
    assert recipe.order()[-3:] == ["scores", "export", "page"]
    recipe, name, _ = with_export(root, "openvino")
    assert (name, recipe.stages[name].to, recipe.stages[name].compressed) == ("export-openvino", "openvino", "compress")
    assert with_report(root)[1] == "page"


def test_an_export_that_is_there_gets_no_other_stage(tmp_path: Path) -> None:
    stages = {"prepare": PREPARE, "net": NET, "exits": {"kind": "early_exit", "model": "net"},
              "ship": {"kind": "export", "model": "net", "compressed": "exits"}}
    root = _run(tmp_path / "run", stages)
    before = load_recipe(root / "recipe.yaml")
    assert with_export(root, None) == (before, "ship", [])
    recipe, name, _ = with_export(root, "torch", "net")
    assert list(recipe.stages) == [*stages, name] and (recipe.stages[name].compressed, recipe.stages[name].to) == ("exits", "torch")


def test_another_network_is_exported_in_place_of_the_one_before(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "compress": {"model": "first"}, "export": {"model": "first", "compressed": "compress"}})
    assert with_export(root, None)[0] == load_recipe(root / "recipe.yaml")
    recipe, name, notes = with_export(root, None, "second")
    assert name == "export" and [recipe.stages[item].model for item in ("compress", "export")] == ["second", "second"]
    assert notes == [f"second of {root} is exported (--stage)",
                     "the stage compress takes it in place of first, and what follows is made anew from it"]


def _exports(recipe: Recipe) -> dict[str, tuple[str, str, str]]:
    return {name: (item.model, item.compressed, item.to) for name, item in recipe.stages.items() if isinstance(item, Export)}


def test_each_runtime_has_one_export_stage_whatever_is_exported_in_which_order(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**TWO, "small": {"kind": "compress", "model": "first"}, "tiny": {"kind": "compress", "model": "second"},
                                   "export": {"model": "first", "compressed": "small"}})
    for to, stage in (("openvino", "second"), ("torch", "first"), ("torch", "second"), ("openvino", "first"), ("torch", None)):
        recipe, _, _ = with_export(root, to, stage)
        (root / "recipe.yaml").write_text(yaml.safe_dump(recipe.plain(), sort_keys=False))
    assert _exports(recipe) == {"export": ("first", "small", "onnx"), "export-openvino": ("first", "small", "openvino"),
                                "export-torch": ("first", "small", "torch")}
    assert with_export(root, None)[1:] == ("export", []) and with_export(root, "onnx")[1:] == ("export", [])
    assert _exports(with_export(root, "onnx", "second")[0])["export"] == ("second", "tiny", "onnx")


def test_a_compress_stage_of_its_own_is_added_where_the_other_networks_have_theirs(tmp_path: Path) -> None:
    stages = {**TWO, "third": {**NET, "learning_rate": 0.03}, "small": {"kind": "compress", "model": "first"},
              "compress": {"kind": "compress", "model": "second"}, "export": {"model": "first", "compressed": "small"}}
    recipe, name, _ = with_export(_run(tmp_path / "run", stages), "torch", "third")
    assert _exports(recipe) == {"export": ("first", "small", "onnx"), name: ("third", "compress-third", "torch")}
    assert [recipe.stages[item].model for item in ("small", "compress", "compress-third")] == ["first", "second", "third"]


@pytest.mark.parametrize(("stages", "sentence"), [
    ({"prepare": PREPARE, "linear": LINEAR}, "'{root}' holds no network, which alone can be exported: the model of linear is none; add a "
     "finetune stage of a network to {root}/recipe.yaml, or copy {root}/linear, which answers as it is"),
    ({**TWO, "blend": {"models": ["linear", "second"]}}, "blend of {root} answers, but is a blend of models, and only the network of a "
     "stage of kind finetune, update or prune can be exported; name one with --stage second"),
    ({"prepare": PREPARE}, "'{root}' holds no trained network to export; run its recipe first: bessemer run {root}/recipe.yaml")])
def test_what_cannot_be_exported_is_a_sentence(tmp_path: Path, stages: dict[str, dict[str, Any]], sentence: str) -> None:
    root = _run(tmp_path / "run", stages)
    with pytest.raises(UserError) as caught:
        with_export(root, None)
    assert str(caught.value) == sentence.format(root=root)


def test_an_export_that_fails_leaves_the_recipe_as_it_was(copied: Path, bessemer: Command) -> None:
    root = Path("runs/tiny")
    before = (root / "recipe.yaml").read_bytes()
    (root / "finetune/model.safetensors").write_bytes(b"")
    assert bessemer("export", "runs/tiny", "--to", "torch").code == 2
    assert (root / "recipe.yaml").read_bytes() == before
