"""`bessemer update RUN FILE`: learn new rows as one more stage of a finished run, and promote it if its gate says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.app.networks import recipe_file, take
from bessemer.core.answering import PROMOTED
from bessemer.core.artifact import load_manifest, write_atomic
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import dump_plugin
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.registry import plugin_of

if TYPE_CHECKING:
    from bessemer.core.events import Events
    from bessemer.core.run import RunResult

COPIED = ("task", "per_device_train_batch_size", "optim", "weight_decay", "max_grad_norm")
SLOWER, EPOCHS, PATIENCE = 0.3, 40, 8


def update(root: Path, files: Sequence[Path], overrides: Sequence[str], events: Events,
           stage: str | None = None) -> tuple[RunResult, str]:
    """Run an update stage in a finished run; return the result and the stage's name.

    The network is that of the `stage`, else that which the answering stage was made from; a note says which.
    The run's own stages are not run again: where their settings, files or code have changed since, that is a UserError, as a model
    trained anew would be another than the one in force.
    """
    from bessemer.core.run import Options, execute, stale

    recipe, name, said = with_update(root, files, overrides, stage)
    events.emit("note", message=said)
    changed = stale(recipe, name, root)
    if changed is not None:
        raise UserError(f"the run is not up to date: the settings, files or code of its stage '{changed}' have changed since it was run; "
                        f"run bessemer run {root / 'recipe.yaml'} first, which may train again, and then update")
    before = (root / "recipe.yaml").read_text(encoding="utf-8")
    try:
        result = execute(recipe, events, Options(until=name, root=root))
    except (UserError, GuardError):
        with suppress(OSError):  # on a read-only disk nothing has changed
            write_atomic(root / "recipe.yaml", before)  # a stage that cannot run would end every later run of this recipe
        raise
    if result.stages[name].manifest.facts["decision"] == "promoted":
        write_atomic(root / PROMOTED, json.dumps({"stage": name, "key": result.stages[name].manifest.key}, indent=1) + "\n")
    return result, name


def with_update(root: Path, files: Sequence[Path], overrides: Sequence[str], stage: str | None = None) -> tuple[Recipe, str, str]:
    """Return the run's recipe with one more update stage, its name, and which network it takes, in words."""
    from bessemer.data.inspect import infer_source

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
    name = f"update-{number:03d}"
    settings: dict[str, Any] = {
        "kind": "update", "data": first.data, "model": taken.name,
        "sources": [dump_plugin("data/sources", infer_source(item)) for item in files],
        "learning_rate": first.learning_rate * SLOWER, "num_train_epochs": EPOCHS, "early_stopping_patience": PATIENCE,
        **{key: value for key, value in first.model_dump(mode="json").items() if key in COPIED and value is not None}}
    plain = recipe.plain()
    plain["stages"] = {**{other: item for other, item in plain["stages"].items() if other not in undone}, name: settings}
    return make_recipe(plain, str(file), [f"{name}.{item}" if item.partition("=")[0].split(".")[0] not in plain["stages"] else item
                                          for item in overrides]), name, taken.said


def show(result: RunResult, name: str) -> None:
    """Print what the update did: before and after over old and new rows, the columns that changed most, the decision, what to do next."""
    from bessemer.app import console
    from bessemer.report.show import signed

    folder = result.stages[name].folder
    record = json.loads((folder / "update.json").read_text(encoding="utf-8"))
    console.table(f"{name}: before and after, on rows that neither learning nor the choice of the method saw",
                  ("rows", "target", "metric", "before", "after", "difference [95% interval]", "count"),
                  [(row["data"], row["target"], row["metric"], _number(row["before"]), _number(row["after"]),
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
    else:
        console.out.print(f"next: the model in force is unchanged; the update lies in {folder}. Give more rows, or other settings: "
                          "learning_rate=…, methods=[both], margin=…", markup=False)


def _number(value: float | None) -> str:
    from bessemer.report.show import plain

    return "undefined" if value is None else plain(value)
