"""`bessemer update RUN FILE`: learn new rows as one more stage of a finished run, and promote it if its gate says so."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.app.networks import recipe_file, take
from bessemer.core.answering import PROMOTED, Finished, preferred, promoted
from bessemer.core.artifact import load_manifest, write_atomic
from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.registry import plugin_of
from bessemer.stages._tasks import plainly, task_of

if TYPE_CHECKING:
    from bessemer.core.events import Events
    from bessemer.core.run import RunResult

COPIED = ("task", "per_device_train_batch_size", "optim", "weight_decay", "max_grad_norm")
SLOWER, EPOCHS, PATIENCE = 0.3, 40, 8


def update(root: Path, files: Sequence[Path], overrides: Sequence[str], events: Events,
           stage: str | None = None, encoding: str | None = None) -> tuple[RunResult, str]:
    """Run an update stage in a finished run; return the result and the stage's name.

    The network is that of the `stage`, else that which the answering stage was made from; a note says which. Where these are two, the
    update is held against the answering one too. One that is there already with the same rows, settings and network is not learnt again.
    The run's own stages are not run again: where their settings, files or code have changed since, that is a UserError, as a model
    trained anew would be another than the one in force.
    """
    from bessemer.core.run import Options, execute, stale

    recipe, name, said = with_update(root, files, overrides, stage, encoding)
    events.emit("note", message=said)
    changed = stale(recipe, name, root)
    if changed is not None:
        raise UserError(f"the run is not up to date: the settings, files or code of its stage '{changed}' have changed since it was run; "
                        f"run bessemer run {root / 'recipe.yaml'} first, which may train again, and then update")
    answered = preferred(Finished(root)).folder.name
    there = _there(recipe, name, root)
    if there is not None:
        events.emit("note", message=f"{there} of {root} learnt these rows from this network with these settings: it is not learnt again")
        recipe, name = load_recipe(root / "recipe.yaml"), there
    result = execute(recipe, events, Options(until=name, root=root, tentative=True))
    if result.stages[name].manifest.facts["decision"] == "promoted":
        plain = {"stage": name, "key": result.stages[name].manifest.key, "before": answered}
        if there is None or answered != name:
            write_atomic(root / PROMOTED, json.dumps(plain, indent=1) + "\n")
    return result, name


def _there(recipe: Recipe, name: str, root: Path) -> str | None:
    """Return the finished update of a run that equals an update to be run, in all that its artifact's key says; None where none does."""
    from bessemer.core.run import stage_key
    from bessemer.core.store import Store

    found = {slot: load_manifest(root / item if item in recipe.stages else Path(item)) for slot, item in recipe.references(name).items()}
    key = stage_key(name, recipe, {slot: manifest.key for slot, manifest in found.items() if manifest is not None}, Store(root))
    every = {item: load_manifest(root / item) for item in recipe.stages if item != name}
    return next((item for item, manifest in every.items() if manifest is not None and manifest.key == key), None)


def with_update(root: Path, files: Sequence[Path], overrides: Sequence[str], stage: str | None = None,
                encoding: str | None = None) -> tuple[Recipe, str, str]:
    """Return the run's recipe with one more update stage, its name, and which network it takes and what is said of encodings, in words."""
    from bessemer.data.named_file import named_source

    file = recipe_file(root)
    recipe = load_recipe(file)
    kinds = {name: plugin_of("stages", item).name for name, item in recipe.stages.items()}
    taken = take(root, recipe, kinds, stage, "update")
    trained = taken.name
    while kinds[trained] == "update" and recipe.stages[trained].model in recipe.stages:
        trained = recipe.stages[trained].model
    first = recipe.stages[trained]
    # One that was stopped or failed is begun again under its name: equal settings go on where it stopped.
    updates = [item for item, kind in kinds.items() if kind == "update"]
    undone = {item for item in updates if item.startswith("update-") and load_manifest(root / item) is None}
    number = len(updates) - len(undone) + 1
    number += f"update-{number:03d}" == promoted(root)  # of an earlier recipe: what answers is not replaced
    name = f"update-{number:03d}"
    read = [named_source(item, encoding, root) for item in files]
    settings: dict[str, Any] = {
        "kind": "update", "data": first.data, "model": taken.name, **({"against": taken.rival} if taken.rival else {}),
        "sources": [dump_plugin("data/sources", config) for config, _ in read],
        "learning_rate": first.learning_rate * SLOWER, "num_train_epochs": EPOCHS, "early_stopping_patience": PATIENCE,
        **{key: value for key, value in first.model_dump(mode="json").items() if key in COPIED and value is not None}}
    settings, plainer = by_labels(settings, task_of(root / trained))
    told = "; ".join([taken.said, *plainer, *(note for _, note in read if note)])
    plain = recipe.plain()
    plain["stages"] = {**{other: item for other, item in plain["stages"].items() if other not in undone}, name: settings}
    return make_recipe(plain, str(file), [f"{name}.{item}" if item.partition("=")[0].split(".")[0] not in plain["stages"] else item
                                          for item in overrides]), name, told


def by_labels(settings: dict[str, Any], learnt: dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """Return an update's settings with a task that needs no more than labels, which is all that new rows have, and what is said of it.

    Args:
        settings: of the update; `task`, where it is there, is the network's own.
        learnt: the task that the network learnt.
    """
    said = settings.get("task") or learnt
    if said is None:
        return settings, []
    found, more = plainly(said), said["kind"] if said["kind"] != "supervised" else "teachers' answers"
    if found["kind"] == said["kind"] and not said.get("distil"):
        return settings, []
    own = {"task": found} if "task" in settings else {}
    return {**settings, **own}, [f"the network learnt by {more}; new rows are learnt by their labels (task: {found['kind']})"]


def show(result: RunResult, name: str) -> None:
    """Print what the update did: before and after over old and new rows, the columns that changed most, the decision, what to do next."""
    from bessemer.app import console
    from bessemer.report.show import signed

    folder = result.stages[name].folder
    record = json.loads((folder / "update.json").read_text(encoding="utf-8"))
    names = list(dict.fromkeys(row["against"] for row in record["table"] if "against" in row))
    held = f"; before: what {names[0]} says, which answered until now, and {names[1]}, from which it learnt" if names else ""
    console.table(f"{name}: before and after, on rows that neither learning nor the choice of the method saw{held}",
                  (*(("against",) if names else ()), "rows", "target", "metric", "before", "after", "difference [95% interval]", "count"),
                  [(*((row["against"],) if names else ()), row["data"], row["target"], row["metric"],
                    _number(row["before"]), _number(row["after"]),
                    f"{signed(row['difference'])} [{signed(row['low'])}, {signed(row['high'])}]" if row["low"] is not None else "undefined",
                    f"{row['rows']:,}") for row in record["table"]])
    console.table("methods, by the mean score over old and new rows that were held out to choose", ("method", "score", ""),
                  [(item["method"], _number(item["score"]), "chosen" if item["chosen"] else "") for item in record["methods"]])
    moved = [row for row in record["drift"] if (row.get("psi") or 0) >= 0.1][:10]
    if moved:
        console.table("columns that changed most (population stability index; 0.25 and more is a large shift)", ("column", "PSI"),
                      [(row["column"], f"{row['psi']:.3f}") for row in moved])
    console.out.print(f"{record['decision']}: {record['reason']}", markup=False)
    if record["decision"] == "promoted":
        console.out.print(f"next: bessemer predict {result.root} --file FILE --output predictions.csv (by {name} now)", markup=False)
        for line in costs(result, name):
            console.out.print(line, markup=False)
    else:
        console.out.print(f"next: the model in force is unchanged; the update lies in {folder}. Give more rows, or other settings, such "
                          f"as: {another(result, name)}", markup=False)


def another(result: RunResult, name: str) -> str:
    """Return a command that learns the same rows otherwise than a finished update did."""
    stage: Any = result.recipe.stages[name]
    files = " ".join(shlex.quote(str(item.path)) if hasattr(item, "path") else "FILE" for item in stage.sources)
    named = next((f" --encoding {item.encoding}" for item in stage.sources if getattr(item, "encoding", None)), "")
    methods = "both" if tuple(stage.methods) != ("both",) else "replay"
    return (f"bessemer update {shlex.quote(str(result.root))} {files}{named} --stage {stage.model} --set learning_rate="
            f"{stage.learning_rate / 3:.2g} --set \"methods=[{methods}]\" --set margin={2 * stage.margin or 0.01:g}")


def costs(result: RunResult, name: str) -> list[str]:
    """Return the line on a promoted network that now answers in place of a smaller form; none where none answered."""
    from bessemer.core.forms import read_forms
    from bessemer.measure.size import size

    root, recipe = result.root, result.recipe
    before = json.loads((root / PROMOTED).read_text(encoding="utf-8")).get("before", name)
    kinds = {item: plugin_of("stages", config).name for item, config in recipe.stages.items()}
    smaller = [before, *(recipe.references(before).values() if kinds.get(before) == "export" else ())]
    smaller = [item for item in smaller if kinds.get(item) == "compress"]
    if not smaller or not (root / before).is_dir():
        return []
    bytes_of = {item: size(root / item, read_forms(root / item)[0].name)["form"] for item in (before, name)}
    config: Any = recipe.stages[smaller[0]]
    if config.budget is None:
        moved = [f"{item}.model={name}" for item in dict.fromkeys((smaller[0], before))]
        how = f"bessemer run {root / 'recipe.yaml'} {' '.join(moved)}"
    else:
        limits = {key: value for key, value in config.budget.model_dump().items() if value is not None}
        options = " ".join(f"--{key.replace('_', '-')} {value:g}" for key, value in limits.items())
        how = f"bessemer compress {root} --stage {name} {options}"
    chosen = "" if config.budget is None else ", which a budget chose"
    return [f"{name} is not compressed: {bytes_of[name] / 1e6:.2f} MB, where {before} answered with {bytes_of[before] / 1e6:.2f} "
            f"MB{chosen}; to compress it: {how}"]


def _number(value: float | None) -> str:
    from bessemer.report.show import plain

    return "undefined" if value is None else plain(value)
