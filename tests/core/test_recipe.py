"""Recipes: what is wrong in one is said in one sentence that names the key."""

from pathlib import Path

import pytest

import bessemer
from bessemer.core.errors import UserError
from bessemer.core.recipe import load_recipe, make_recipe

PREPARE = {"sources": [{"kind": "csv", "path": "a.csv"}], "inputs": {"t": {"kind": "text"}}, "targets": {"y": {"kind": "category"}}}


def tree(**stages: object) -> dict[str, object]:
    return {"name": "r", "stages": {"prepare": {**PREPARE}, **stages}}


def test_unknown_key_gives_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        make_recipe(tree(finetune={"model": {"kind": "bert"}, "learing_rate": 1e-4}), "r.yaml")
    assert str(caught.value) == "r.yaml: stages.finetune: unknown key 'learing_rate'; did you mean 'learning_rate'?"


def test_unknown_top_level_key() -> None:
    with pytest.raises(UserError, match="^r.yaml: unknown key 'sed'; did you mean 'seed'\\?"):
        make_recipe({**tree(), "sed": 1}, "r.yaml")


def test_wrong_type_names_key_and_value() -> None:
    with pytest.raises(UserError, match=r"stages.finetune: 'num_train_epochs': input should be a number, not 'many'"):
        make_recipe(tree(finetune={"model": {"kind": "bert"}, "num_train_epochs": "many"}), "r.yaml")


def test_unknown_plugin_gives_the_nearest() -> None:
    with pytest.raises(UserError, match="there is no 'bret' among the models; did you mean 'bert'\\?"):
        make_recipe(tree(finetune={"model": {"kind": "bret"}}), "r.yaml")


def test_unknown_stage_kind() -> None:
    with pytest.raises(UserError, match="stage 'fintune': there is no stage kind 'fintune'; did you mean 'finetune'\\?"):
        make_recipe(tree(fintune={"model": {"kind": "bert"}}), "r.yaml")


def test_circle_is_named() -> None:
    recipe = make_recipe(tree(a={"kind": "finetune", "init": "b"}, b={"kind": "finetune", "init": "a"}), "r.yaml")
    with pytest.raises(UserError, match="in a circle: a -> b -> a; break it"):
        recipe.order()


def test_missing_reference_gives_the_nearest() -> None:
    recipe = make_recipe(tree(finetune={"data": "prepar", "model": {"kind": "bert"}}), "r.yaml")
    with pytest.raises(UserError, match="finetune.data: there is no stage 'prepar' and no folder of that name; did you mean 'prepare'"):
        recipe.order()


def test_order_follows_needs_not_text() -> None:
    recipe = make_recipe({"name": "r", "stages": {"finetune": {"model": {"kind": "bert"}}, "prepare": PREPARE}}, "r.yaml")
    assert recipe.order() == ["prepare", "finetune"]


def test_overrides() -> None:
    made = tree(finetune={"model": {"kind": "bert"}})
    recipe = make_recipe(made, "r", ["finetune.learning_rate=3e-5", "seed=7", "finetune.model.hidden_size=96",
                                     "prepare.sources.0.path=b.csv"])
    stage = recipe.stages["finetune"]
    assert (stage.learning_rate, recipe.seed, stage.model.hidden_size) == (3e-5, 7, 96)
    assert recipe.plain()["stages"]["prepare"]["sources"][0]["path"] == "b.csv"


@pytest.mark.parametrize(("text", "message"), [
    ("nonsense", "'nonsense' is no override; expected key.path=value"),
    ("finetun.learning_rate=1", "there is no key or stage 'finetun'; did you mean 'finetune'"),
    ("prepare.sources.5.path=x", "'5' is no position in the list"),
])
def test_bad_overrides(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe(tree(finetune={"model": {"kind": "bert"}}), "r", [text])


def test_plain_round_trip() -> None:
    recipe = make_recipe(tree(finetune={"model": {"kind": "bert"}}), "r")
    assert make_recipe(recipe.plain(), "again") == recipe


def test_yaml_key_given_twice(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: r\nname: s\nstages: {}\n")
    with pytest.raises(UserError, match="line 2: the key 'name' is given twice"):
        load_recipe(file)


def test_yaml_numbers(tmp_path: Path) -> None:
    from bessemer.core.config import parse_yaml

    assert parse_yaml("[2e-5, 1.0e-4, 1e5, .5, '2e-5']", "x") == [2e-5, 1e-4, 1e5, 0.5, "2e-5"]


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("name: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(file)


@pytest.mark.parametrize("content", [b"\x80abc", b"[1, 2", b"- a\n- b\n", b""])
def test_files_that_are_no_recipe(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(content)
    with pytest.raises(UserError, match="r.yaml"):
        load_recipe(file)


def test_missing_file() -> None:
    with pytest.raises(UserError, match="there is no file 'nowhere.yaml'; expected a recipe"):
        load_recipe("nowhere.yaml")


def test_yaml_keys_are_as_they_are_written() -> None:
    from bessemer.core.config import parse_yaml

    assert parse_yaml("on: [yes]\n1: 2\n1.50: {no: on}\n", "r") == {"on": [True], "1": 2, "1.50": {"no": True}}


@pytest.mark.parametrize(("stage", "message"), [
    ("blend: {models: [a]}", "r.yaml: stages.blend: 'models': expected at least 2 items, not 1"),
    ("prepare: {sources: [], inputs: {text: text}}", "r.yaml: stages.prepare: 'sources': expected at least 1 item, not 0")])
def test_lists_that_are_too_short(tmp_path: Path, stage: str, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(f"name: r\nstages:\n  {stage}\n")
    with pytest.raises(UserError) as error:
        load_recipe(file)
    assert str(error.value).endswith(message)


def stages(**more):
    return {"name": "a", "stages": {"prepare": {"sources": [{"kind": "csv", "path": "x.csv"}], "inputs": {"t": {"kind": "text"}}}, **more}}


@pytest.mark.parametrize(("found", "said"), [
    ({"finetune": {"init": "prepare", "bf16": "maybe"}}, "'stages.finetune.bf16': expected true or false or 'auto', not 'maybe'"),
    ({"finetune": {"init": "prepare", "learning_rate": "x", "momentum": "x"}}, "(and 1 more: stages.finetune.momentum)"),
    ({"finetune": {"init": "prepare", "learning_rate": -1, "momentum": "x"}}, "(and 1 more: stages.finetune.momentum)")])
def test_each_wrong_key_is_named(found, said):
    with pytest.raises(UserError) as error:
        make_recipe(stages(**found), "r.yaml")
    assert said in str(error.value) or said.replace("stages.finetune.", "") in str(error.value)


def test_a_stage_that_another_takes_by_default_is_said_to_be_so():
    said = ("there is no stage 'compress' and no folder of that name, which 'export' takes where the recipe does not say otherwise; add "
            "the stage, or name another with compressed")
    with pytest.raises(UserError, match=said):
        make_recipe(stages(finetune={"model": {"kind": "bert"}}, evaluate={}, export={"scores": "evaluate"}), "r.yaml").order()


def test_nothing_asks_which_keys_a_recipe_names() -> None:
    """A run's own recipe names every default, and must run as the one that it was made from; so what was said is told by its value."""
    root = Path(bessemer.__file__).parent
    asking = {str(file.relative_to(root)) for file in root.rglob("*.py") if "fields_set" in file.read_text(encoding="utf-8")}
    assert asking == {"core/config.py", "core/recipe.py"}  # of keys that nothing reads, less defaults; and how a sentence ends
