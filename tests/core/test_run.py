"""Runs: only what changed is computed, what is finished is whole, and a fault says what to do."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bessemer.core import artifact
from bessemer.core.errors import GuardError, Interrupted, UserError
from bessemer.core.events import Events
from bessemer.core.recipe import Recipe, StageConfig, make_recipe
from bessemer.core.registry import plugins, register
from bessemer.core.run import Options, RunContext, execute, stage_key
from bessemer.core.store import Store

CALLS: list[str] = []
plugins("stages")


class Count(StageConfig):
    needs: ClassVar[tuple[str, ...]] = ("before",)

    before: str | None = None
    number: int = 1
    ignored: int = 0
    file: str | None = None

    def outside(self) -> tuple[Path, ...]:
        return (Path(self.file),) if self.file else ()


@register("stages", "test-count")
def count(config: Count, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    CALLS.append(run.name)
    before = int((inputs["before"] / "total.txt").read_text()) if "before" in inputs else 0
    (out / "total.txt").write_text(str(before + config.number))
    run.timing("noise", time.time())
    return {"total": before + config.number, "file": config.file}


class Nest(StageConfig):
    trials: int = 2


@register("stages", "test-nest")
def nest(config: Nest, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    totals = []
    for index in range(config.trials):
        recipe = make_recipe({"name": f"trial-{index}", "stages": {"a": {"kind": "test-count", "number": index}}}, "trial")
        totals.append(run.run(recipe)["a"]["total"])
    (out / "best.txt").write_text(str(max(totals)))
    return {"totals": totals}


def chain(**changes: Any) -> Recipe:
    first, second = {"kind": "test-count"}, {"kind": "test-count", "before": "a", "number": 10}
    return make_recipe({"name": "r", "stages": {"a": {**first, **changes.get("a", {})}, "b": {**second, **changes.get("b", {})}}}, "r")


def go(recipe: Recipe, root: Path, **options: Any) -> list[str]:
    CALLS.clear()
    execute(recipe, Events(), Options(root=root, **options))
    return list(CALLS)


def test_only_what_changed_runs(tmp_path: Path) -> None:
    assert go(chain(), tmp_path) == ["a", "b"]
    assert go(chain(), tmp_path) == []
    assert go(chain(b={"number": 20}), tmp_path) == ["b"]
    assert (tmp_path / "b" / "total.txt").read_text() == "21"
    assert go(chain(a={"number": 2}, b={"number": 20}), tmp_path) == ["a", "b"]
    assert go(chain(), tmp_path) == []  # turned back: both are kept
    assert (tmp_path / "b" / "total.txt").read_text() == "11"


def test_until_runs_what_it_needs(tmp_path: Path) -> None:
    assert go(chain(), tmp_path, until="a") == ["a"]
    with pytest.raises(UserError, match="--until c: the recipe has no such stage; it has a, b"):
        go(chain(), tmp_path, until="c")


def test_seed_and_outside_bytes_are_part_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "data.txt"
    file.write_text("one")
    recipe = chain(a={"file": str(file)})
    assert go(recipe, tmp_path / "r") == ["a", "b"]
    os.utime(file, ns=(1, 1))
    assert go(recipe, tmp_path / "r") == []  # touched, not changed
    file.write_text("two")
    assert go(recipe, tmp_path / "r") == ["a", "b"]
    assert go(recipe.model_copy(update={"seed": 1}), tmp_path / "r") == ["a", "b"]


def test_equal_work_has_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        go(chain(), tmp_path / name)
    for file in ("a/manifest.json", "b/manifest.json", "b/total.txt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_changed_artifact_is_an_error(tmp_path: Path) -> None:
    go(chain(), tmp_path)
    (tmp_path / "a" / "total.txt").write_text("7")
    with pytest.raises(UserError, match=r"a/total.txt' was changed after it was written .* delete the folder"):
        go(chain(), tmp_path)
    (tmp_path / "a" / "total.txt").unlink()
    with pytest.raises(UserError, match="has gone from a finished artifact"):
        go(chain(), tmp_path)


def test_damaged_manifest(tmp_path: Path) -> None:
    go(chain(), tmp_path)
    (tmp_path / "a" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="manifest.json' is damaged"):
        go(chain(), tmp_path)


def test_key_that_nobody_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="stages.a: nothing reads the key 'ignored' with these settings"):
        go(chain(a={"ignored": 3}), tmp_path)
    assert not (tmp_path / "a").exists()


def test_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="is in the way"):
        go(chain(), tmp_path)
    assert (tmp_path / "a" / "precious.txt").read_text() == "mine"


def test_kill_between_manifest_and_move_is_finished_later(tmp_path: Path) -> None:
    go(chain(), tmp_path)
    manifest = artifact.load_manifest(tmp_path / "b")
    assert manifest is not None
    work = tmp_path / ".work" / f"b-{manifest.key[:12]}"
    work.mkdir(parents=True)
    (tmp_path / "b").rename(work / "out")
    assert go(chain(), tmp_path) == []
    assert (tmp_path / "b" / "total.txt").read_text() == "11"
    assert not work.exists()


def test_sub_recipes_are_cached_artifacts(tmp_path: Path) -> None:
    recipe = make_recipe({"name": "r", "stages": {"n": {"kind": "test-nest"}}}, "r")
    assert go(recipe, tmp_path) == ["a", "a"]
    more = make_recipe({"name": "r", "stages": {"n": {"kind": "test-nest", "trials": 3}}}, "r")
    assert go(more, tmp_path) == ["a"]
    assert (tmp_path / "trials" / "trial-2" / "a" / "total.txt").read_text() == "2"


def test_run_folder_in_use(tmp_path: Path) -> None:
    code = f"import sys, time; from pathlib import Path; from bessemer.core.store import Lock\nwith Lock(Path({str(tmp_path)!r})):\n" \
           "    print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(UserError, match=f"is in use by process {holder.pid}"):
            go(chain(), tmp_path)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert go(chain(), tmp_path) == ["a", "b"]  # a killed holder's lock is gone


def test_input_from_outside_must_be_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match="is no finished artifact"):
        go(chain(a={"before": str(tmp_path / "x")}), tmp_path / "r")


def test_manifest_holds_what_it_should(tmp_path: Path) -> None:
    go(chain(), tmp_path)
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert manifest["facts"] == {"total": 11, "file": None}
    assert manifest["files"]["total.txt"]["sha256"] == artifact.sha256(tmp_path / "b" / "total.txt")
    assert manifest["volatile"] == ["timings.json"] and "timings.json" not in manifest["files"]
    assert manifest["inputs"]["before"] == json.loads((tmp_path / "a" / "manifest.json").read_text())["key"]


def test_a_field_that_a_later_version_brought_leaves_the_key_of_what_was_made_before(tmp_path: Path) -> None:
    """At its old value it is no part of the key; at another it is."""
    from bessemer.stages.finetune import Finetune

    assert Finetune.later == {"max_length": None}
    base: dict[str, Any] = {"name": "r", "stages": {"finetune": {"data": "x", "model": {"kind": "tfidf_linear"}}}}
    keys = []
    for change in ({}, {"max_length": None}, {"max_length": 16}):
        recipe = make_recipe({**base, "stages": {"finetune": {**base["stages"]["finetune"], **change}}}, "test")
        stage = recipe.stages["finetune"]
        keys.append(stage_key("finetune", recipe, {"data": "k"}, Store(tmp_path)))
        assert "max_length" in stage.model_dump(mode="json")
    assert keys[0] == keys[1] != keys[2]


def test_a_later_field_at_its_old_value_is_no_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the stage and of what is nested in it: what earlier versions made is found again; another value makes another key."""
    def key(**adaptation: Any) -> str:
        recipe = make_recipe({"name": "r", "stages": {"finetune": {"kind": "finetune", "data": str(tmp_path), "model": {"kind": "mlp"},
                                                                   "adaptation": {"kind": "lora", **adaptation}}}}, "test")
        return stage_key("finetune", recipe, {}, Store(tmp_path))

    from bessemer.adapt.lora import Lora

    plain, turned = key(), key(use_dora=True)
    assert plain != turned
    monkeypatch.setattr(Lora, "later", {})
    assert key() != plain
    monkeypatch.setattr(Lora, "later", {"use_rslora": False, "bias": "none", "use_dora": True})
    assert key(use_dora=True) == plain


class Fall(StageConfig):
    by: str = "UserError"


@register("stages", "test-fall")
def fall(config: Fall, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    raise {"UserError": UserError, "RuntimeError": RuntimeError, "Interrupted": Interrupted, "KeyboardInterrupt": KeyboardInterrupt}[
        config.by]("as asked")


@pytest.mark.parametrize(("by", "stays"), [("UserError", False), ("RuntimeError", False), ("Interrupted", True),
                                           ("KeyboardInterrupt", True)])
def test_what_a_command_added_to_the_recipe_leaves_it_where_it_fails_and_stays_where_it_was_stopped(
        tmp_path: Path, by: str, stays: bool) -> None:
    go(chain(), tmp_path)
    file = tmp_path / "recipe.yaml"
    before = file.read_bytes()
    plain = chain().plain()
    added = make_recipe({**plain, "stages": {**plain["stages"], "c": {"kind": "test-fall", "by": by}}}, "r")
    with pytest.raises(BaseException, match="as asked"):  # noqa: B017, PT011
        go(added, tmp_path, tentative=True)
    assert (file.read_bytes() == before) is not stays and ("test-fall" in file.read_text()) is stays
