"""Which stage of a run answers: the recipe decides, never the alphabet."""

import json
from pathlib import Path

import pytest
import yaml

from bessemer.core.answering import choose
from bessemer.core.artifact import Manifest, commit
from bessemer.core.errors import UserError


def _run(root: Path, recipe: dict[str, dict[str, object]], made: dict[str, tuple[str, list[str]]]) -> Path:
    """Write a run: its recipe, and finished stages with a model: name -> kind, the stages that it was made from."""
    root.mkdir()
    (root / "recipe.yaml").write_text(yaml.safe_dump({"name": "run", "stages": recipe}, sort_keys=False))
    for name, (kind, sources) in made.items():
        (root / name).mkdir()
        (root / name / "predictor.json").write_text(json.dumps({"format": 1, "forms": []}))
        commit(root / name, Manifest(kind=kind, key=name, inputs={f"models.{place}": item for place, item in enumerate(sources)}, files={},
                                       volatile=(), published=(), facts={}))
    return root


TRAINED: dict[str, tuple[str, list[str]]] = {"adapted": ("finetune", []), "plain": ("finetune", []), "student": ("finetune", ["plain"])}
STAGES: dict[str, dict[str, object]] = {name: {"kind": "finetune"} for name in ("plain", "student", "adapted")}


@pytest.mark.parametrize(("recipe", "expected"), [
    ({**STAGES, "evaluate": {"models": ["plain", "student"]}}, "plain"),
    ({**STAGES, "scores": {"kind": "evaluate", "models": ["gone", "student", "plain"]}}, "student"),
    (STAGES, "adapted"),
    ({name: STAGES[name] for name in ("adapted", "student", "plain")}, "student"),
    ({name: STAGES[name] for name in ("plain",)}, "plain"),
])
def test_the_recipe_decides_which_model_answers(tmp_path: Path, recipe: dict[str, dict[str, object]], expected: str) -> None:
    assert choose(_run(tmp_path / "run", recipe, TRAINED)).folder.name == expected


def test_the_choice_among_several_is_said(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", {**STAGES, "evaluate": {"models": ["plain"]}}, TRAINED)
    assert choose(root).said() == [
        f"plain of {root} answers (the first of its kind that the recipe's evaluate stage lists); it also holds adapted, student: to ask "
        f"another, name its folder, such as {root / 'adapted'}"]
    assert choose(root / "adapted").said() == []


def test_a_stage_that_the_recipe_no_longer_names_is_ignored(tmp_path: Path) -> None:
    made = {"plain": ("finetune", list[str]()), "export": ("export", ["a-plain-that-is-gone"])}
    root = _run(tmp_path / "run", {"plain": {"kind": "finetune"}}, made)
    found = choose(root)
    assert found.folder == root / "plain"
    assert found.said() == [f"{root} holds export of an earlier recipe, which recipe.yaml no longer names: ignored, and may be deleted"]


def test_an_exported_form_answers_before_what_it_was_made_from(tmp_path: Path) -> None:
    made = {"plain": ("finetune", list[str]()), "compress": ("compress", ["plain"]), "export": ("export", ["compress"])}
    recipe: dict[str, dict[str, object]] = {"plain": {"kind": "finetune"}, "compress": {}, "evaluate": {"models": ["plain"]}, "export": {}}
    assert choose(_run(tmp_path / "run", recipe, made)).folder.name == "export"


def test_an_export_for_another_runtime_answers_where_the_recipe_has_no_other(tmp_path: Path) -> None:
    made = {"plain": ("finetune", list[str]()), "compress": ("compress", ["plain"]), "export": ("export", ["compress"]),
            "export-torch": ("export", ["compress"])}
    recipe: dict[str, dict[str, object]] = {"plain": {"kind": "finetune"}, "compress": {}, "export": {},
                                            "export-torch": {"kind": "export", "to": "torch"}}
    found = choose(_run(tmp_path / "both", recipe, made))
    assert (found.folder.name, found.why) == ("export", "of several exports that to onnx, which holds what was compressed")
    del made["export"]
    assert choose(_run(tmp_path / "unfinished", recipe, made)).folder.name == "compress"
    del recipe["export"]
    assert choose(_run(tmp_path / "one", recipe, made)).folder.name == "export-torch"


def test_a_folder_without_a_model_says_what_it_is(tmp_path: Path) -> None:
    root = _run(tmp_path / "run", STAGES, {"prepare": ("prepare", [])})
    (root / "prepare" / "predictor.json").unlink()
    with pytest.raises(UserError, match="is a finished prepare stage, which holds no model; give the run's folder, .*run, or a stage"):
        choose(root / "prepare")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no finished model yet, and no recipe.yaml of a run; give a run's folder, such as runs/NAME"):
        choose(tmp_path / "empty")


def test_what_was_made_from_a_promoted_update_answers_in_its_place(tmp_path: Path) -> None:
    made = {"plain": ("finetune", list[str]()), "compress": ("compress", ["plain"]), "export": ("export", ["compress"]),
            "update-001": ("update", ["plain"])}
    recipe: dict[str, dict[str, object]] = {"plain": {"kind": "finetune"}, "compress": {}, "export": {}, "update-001": {"kind": "update"}}
    root = _run(tmp_path / "old", recipe, made)
    (root / "promoted.json").write_text(json.dumps({"stage": "update-001", "key": "update-001"}))
    assert choose(root).folder.name == "update-001"
    root = _run(tmp_path / "new", recipe, {**made, "compress": ("compress", ["update-001"])})
    (root / "promoted.json").write_text(json.dumps({"stage": "update-001", "key": "update-001"}))
    assert (choose(root).folder.name, choose(root).why) == ("export", "made from update-001, a promoted update")


def test_what_was_made_from_an_update_that_is_not_promoted_answers_only_where_nothing_else_does(tmp_path: Path) -> None:
    made = {"plain": ("finetune", list[str]()), "update-001": ("update", ["plain"]), "update-002": ("update", ["update-001"]),
            "compress": ("compress", ["update-002"])}
    recipe: dict[str, dict[str, object]] = {"plain": {"kind": "finetune"}, "update-001": {"kind": "update"},
                                            "update-002": {"kind": "update"}, "compress": {}}
    root = _run(tmp_path / "run", recipe, made)
    assert (choose(root).folder.name, choose(root).unasked) == ("plain", {"compress": "update-002"})
    assert choose(root).said()[1] == (f"compress of {root} was made from update-002, which is not promoted, so it does not answer; to make "
                                      f"it from plain again: bessemer run {root}/recipe.yaml compress.model=plain")
    for update, answers in (("update-001", "update-001"), ("update-002", "compress")):
        (root / "promoted.json").write_text(json.dumps({"stage": update, "key": update}))
        assert choose(root).folder.name == answers and len(choose(root).said()) == 1
    root = _run(tmp_path / "alone", {name: recipe[name] for name in ("update-002", "compress")},
                {"update-002": ("update", []), "compress": ("compress", ["update-002"])})
    assert choose(root).folder.name == "compress"
    assert choose(root).why == "made from update-002, which is not promoted; no other model is there"


def test_the_models_that_an_evaluation_scored_made_nothing_of_what_shows_its_numbers(tmp_path: Path) -> None:
    """An export of the network from before an update shows scores of both: the update answers where it is promoted, else the export."""
    made = {"plain": ("finetune", list[str]()), "compress": ("compress", ["plain"]), "update-001": ("update", ["plain"]),
            "evaluate": ("evaluate", ["update-001", "plain"]), "export": ("export", ["compress", "plain", "evaluate"])}
    recipe: dict[str, dict[str, object]] = {"plain": {}, "compress": {}, "evaluate": {"models": ["update-001", "plain"]}, "export": {},
                                            "update-001": {"kind": "update"}}
    root = _run(tmp_path / "run", recipe, made)
    assert (choose(root).folder.name, choose(root).unasked) == ("export", {})
    (root / "promoted.json").write_text(json.dumps({"stage": "update-001", "key": "update-001"}))
    assert choose(root).folder.name == "update-001"
