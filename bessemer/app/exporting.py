"""`bessemer export RUN` and `bessemer report RUN`: the run's recipe with the stage that is asked for, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.app.networks import Taken, compress_stage, recipe_file, take
from bessemer.core.answering import Finished, promoted
from bessemer.core.errors import UserError, nearest
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.registry import plugin_of

if TYPE_CHECKING:
    from bessemer.core.run import RunResult

RUNTIMES = ("onnx", "openvino", "torch")


def with_report(root: Path) -> tuple[Recipe, str]:
    """Return a run's recipe with a report stage, added where it has none, and the stage's name."""
    recipe = load_recipe(recipe_file(root))
    names = [name for name, kind in _kinds(recipe).items() if kind == "report"]
    if names:
        return recipe, names[-1]
    plain = recipe.plain()
    name = _free("report", plain["stages"])
    plain["stages"][name] = {"kind": "report", "stages": list(recipe.stages)}
    return make_recipe(plain, str(recipe_file(root))), name


def with_export(root: Path, to: str | None, stage: str | None = None) -> tuple[Recipe, str, list[str]]:
    """Return a run's recipe with an export stage, its name, and what a person should know.

    It is the last that the recipe has. Where it has none, or where another `stage` is named, it is one of the forms of the network that
    answers or that is named; the stage that makes them is added where there is none, as `compress` does.

    Args:
        root: the run's folder.
        to: the runtime; as the recipe says by default.
        stage: whose network is exported.
    """
    if to is not None and to not in RUNTIMES:
        raise UserError(f"--to: there is no export to '{to}'{nearest(to, RUNTIMES)}")
    recipe = load_recipe(recipe_file(root))
    kinds = _kinds(recipe)
    exports = [name for name, kind in kinds.items() if kind == "export"]
    plain, notes = recipe.plain(), list[str]()
    if stage is None and exports:
        name = exports[-1]
    else:
        taken = take(root, recipe, kinds, stage, "export")
        notes = [taken.said]
        name = _of(recipe, taken, kinds, plain["stages"], notes)
    if to is not None:
        name = _exported_to(plain["stages"], name, to)
    return make_recipe(plain, str(recipe_file(root))), name, notes


def _kinds(recipe: Recipe) -> dict[str, str]:
    return {name: plugin_of("stages", item).name for name, item in recipe.stages.items()}


def _free(name: str, stages: Mapping[str, Any]) -> str:
    """Return a name that no stage has, which begins with this one."""
    while name in stages:
        name += "-2"
    return name


def _of(recipe: Recipe, taken: Taken, kinds: Mapping[str, str], stages: dict[str, Any], notes: list[str]) -> str:
    """Return the export stage of a network: the last of it, else the last, which then takes that network, else one that is added."""
    exports = [name for name, kind in kinds.items() if kind == "export"]
    own = [name for name in exports if stages[name]["model"] == taken.name]
    if own:
        return own[-1]
    data = recipe.stages[taken.name].data
    compressed, told = compress_stage(recipe, taken, kinds, stages, ("compress", "early_exit"))
    if exports:
        notes += told or [f"the stage {exports[-1]} takes it in place of {stages[exports[-1]]['model']}"]
        stages[exports[-1]].update(compressed=compressed, model=taken.name, data=data)
        return exports[-1]
    notes += told
    name = _free("export", stages)
    reports = [item for item, kind in kinds.items() if kind == "report"]
    later = {item: stages.pop(item) for item in reports}
    scores = [item for item, kind in kinds.items() if kind == "evaluate"]
    stages[name] = {"kind": "export", "data": data, "model": taken.name, "compressed": compressed,
                    "scores": scores[-1] if scores else None}
    stages.update(later)
    if reports:
        stages[reports[-1]]["stages"] = [*stages[reports[-1]]["stages"], name]
    return name


def _exported_to(stages: dict[str, Any], stage: str, to: str) -> str:
    """Have an export stage for a runtime, the last, and return its name: one that is there, or `export-<to>` beside `stage`."""
    same = ("kind", "model", "compressed")
    alike = [name for name, item in stages.items() if [item.get(key) for key in same] == [stages[stage][key] for key in same]]
    found = [name for name in alike if stages[name].get("to", "onnx") == to]
    name = found[-1] if found else _free(f"export-{to}", stages)
    # Of several exports the last in the recipe answers, which is that which was asked for last.
    stages[name] = stages.pop(name) if found else {**stages[stage], "to": to, "form": None}
    return name


def outdated(result: RunResult, name: str) -> str | None:
    """Return the line on an export that does not hold the promoted update, which answers for the run; None where it does."""
    root, update = result.root, promoted(result.root)
    if update is None or update in Finished(root).sources(name):
        return None
    what = f"{name} holds {result.recipe.stages[name].model} as it was before {update}, which was promoted and answers for {root}"
    if update not in result.recipe.stages:
        return f"{what}; recipe.yaml no longer names {update}, so that cannot be exported"
    return f"{what}; to export {update}: bessemer export {root} --stage {update}"
