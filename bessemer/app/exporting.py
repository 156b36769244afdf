"""`bessemer export RUN` and `bessemer report RUN`: the run's recipe with the stage that is asked for, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bessemer.app.networks import Taken, compress_stage, recipe_file, take
from bessemer.core.answering import Finished, preferred, promoted
from bessemer.core.errors import UserError, nearest
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.registry import plugin_of

if TYPE_CHECKING:
    from bessemer.core.run import RunResult

RUNTIMES = ("onnx", "openvino", "torch")


class _Forms(NamedTuple):
    """What an export ships: the keys of its stage."""

    data: str
    model: str
    compressed: str
    scores: str | None


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

    It is the last that the recipe has, one to onnx before others. Where it has none, or where another `stage` is named, it is one of the
    forms of the network that answers or that is named; the stage that makes them is added where there is none, as `compress` does. Each
    further runtime has one export stage beside it, which is taken from network to network.

    Args:
        root: the run's folder.
        to: the runtime; as the recipe says by default.
        stage: whose network is exported.
    """
    if to is not None and to not in RUNTIMES:
        raise UserError(f"--to: there is no export to '{to}'{nearest(to, RUNTIMES)}")
    recipe = load_recipe(recipe_file(root))
    kinds = _kinds(recipe)
    plain, notes = recipe.plain(), list[str]()
    stages: dict[str, Any] = plain["stages"]
    exports = _exports(kinds, stages)
    name: str | None
    if stage is None and exports:
        name = exports[-1]
        forms = _Forms(*(stages[name][key] for key in _Forms._fields))
    else:
        taken = take(root, recipe, kinds, stage, "export")
        notes = [taken.said]
        name, forms = _of(recipe, taken, kinds, stages, to, notes)
    if name is None or (to is not None and stages[name].get("to", "onnx") != to):
        name = _exported_to(stages, forms, str(to), notes)
    return make_recipe(plain, str(recipe_file(root))), name, notes


def _kinds(recipe: Recipe) -> dict[str, str]:
    return {name: plugin_of("stages", item).name for name, item in recipe.stages.items()}


def _exports(kinds: Mapping[str, str], stages: Mapping[str, Any]) -> list[str]:
    """Return the export stages in the recipe's order, those to onnx behind the others."""
    return sorted((name for name, kind in kinds.items() if kind == "export"), key=lambda name: stages[name]["to"] == "onnx")


def _free(name: str, stages: Mapping[str, Any]) -> str:
    """Return a name that no stage has, which begins with this one."""
    while name in stages:
        name += "-2"
    return name


def _of(recipe: Recipe, taken: Taken, kinds: Mapping[str, str], stages: dict[str, Any], to: str | None, notes: list[str]
        ) -> tuple[str | None, _Forms]:
    """Return the export stage of a network, and what it ships.

    It is the last of that network; else the last, which then takes that network, but not where another runtime is asked for: that has a
    stage of its own, so that what answers stays as it is (None); else one that is added.
    """
    exports = _exports(kinds, stages)
    own = [name for name in exports if stages[name]["model"] == taken.name]
    if own:
        return own[-1], _Forms(*(stages[own[-1]][key] for key in _Forms._fields))
    data = recipe.stages[taken.name].data
    compressed, told = compress_stage(recipe, taken, kinds, stages, ("compress", "early_exit"))
    scores = [item for item, kind in kinds.items() if kind == "evaluate"]
    forms = _Forms(data, taken.name, compressed, scores[-1] if scores else None)
    notes += told
    if exports and to in (None, stages[exports[-1]]["to"]):
        if not told:
            notes.append(f"the stage {exports[-1]} takes it in place of {stages[exports[-1]]['model']}")
        stages[exports[-1]].update(forms._replace(scores=stages[exports[-1]]["scores"])._asdict(), form=None)
        return exports[-1], forms
    if exports:
        return None, forms
    name = _free("export", stages)
    reports = [item for item, kind in kinds.items() if kind == "report"]
    later = {item: stages.pop(item) for item in reports}
    stages[name] = {"kind": "export", **forms._asdict()}
    stages.update(later)
    if reports:
        stages[reports[-1]]["stages"] = [*stages[reports[-1]]["stages"], name]
    return name, forms


def _exported_to(stages: dict[str, Any], forms: _Forms, to: str, notes: list[str]) -> str:
    """Return the export stage for a runtime: of these forms, else the last for it, which then takes them, else `export-<to>`."""
    there = [name for name, item in stages.items() if item["kind"] == "export" and item.get("to", "onnx") == to]
    alike = [name for name in there if (stages[name]["model"], stages[name]["compressed"]) == (forms.model, forms.compressed)]
    if alike:
        return alike[-1]
    if not there:
        name = _free(f"export-{to}", stages)
        stages[name] = {"kind": "export", **forms._asdict(), "to": to}
        return name
    if stages[there[-1]]["model"] != forms.model:
        notes.append(f"the stage {there[-1]} takes it in place of {stages[there[-1]]['model']}")
    stages[there[-1]].update(forms._asdict(), form=None)
    return there[-1]


def aside(result: RunResult, name: str) -> str | None:
    """Return the line on an export that does not answer for the run, as another one does; None where it answers."""
    folder = result.root / name
    found = preferred(Finished(result.root))
    if found.folder == folder:
        return None
    return f"{found.folder.name} answers for {result.root}; to have {name} answer, name its folder: bessemer serve {folder}"


def outdated(result: RunResult, name: str) -> str | None:
    """Return the line on an export that does not hold the promoted update, which answers for the run; None where it does."""
    root, update = result.root, promoted(result.root)
    if update is None or update in Finished(root).sources(name):
        return None
    what = f"{name} holds {result.recipe.stages[name].model} as it was before {update}, which was promoted and answers for {root}"
    if update not in result.recipe.stages:
        return f"{what}; recipe.yaml no longer names {update}, so that cannot be exported"
    return f"{what}; to export {update}: bessemer export {root} --stage {update}"
