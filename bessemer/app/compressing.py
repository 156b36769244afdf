"""`bessemer compress RUN`: give the run's compress stage a budget, run it, and bring what follows up to date."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.app.networks import compress_stage, recipe_file, take
from bessemer.core.answering import Finished, preferred
from bessemer.core.errors import UserError
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.registry import plugin_of

if TYPE_CHECKING:
    from bessemer.core.events import Events
    from bessemer.core.run import RunResult

SHOWN = 40


def compress(root: Path, budget: Mapping[str, float | None], search: Mapping[str, Any], events: Events,
             stage: str | None = None) -> tuple[RunResult, str]:
    """Search in a finished run; return the result of the whole recipe and the compress stage's name.

    The network is that of the `stage`, else that which the answering stage was made from; a note says which.
    The stages before are not run again: where their settings, files or code have changed since, that is a UserError, as another network
    would be compressed than the one that is there. The stages after it are, as they show the new forms.
    """
    from bessemer.core.run import Options, execute, stale

    _check(budget, search)
    recipe, name, notes = with_budget(root, budget, search, stage)
    for line in notes:
        events.emit("note", message=line)
    changed = stale(recipe, name, root)
    if changed is not None:
        raise UserError(f"the run is not up to date: the settings, files or code of its stage '{changed}' have changed since it was run; "
                        f"run bessemer run {root / 'recipe.yaml'} first, and then compress")
    execute(recipe, events, Options(until=name, root=root, tentative=True))
    return execute(recipe, events, Options(root=root)), name


RANGES: Mapping[str, tuple[float, float, str]] = {
    "accuracy_drop": (0.0, 1.0, "a number from 0 to 1, such as 0.005"), "trials": (1, 10_000, "a whole number from 1 to 10,000")}
"""Option -> least, most, in words; of every other option a number above 0 is expected."""


def _check(budget: Mapping[str, float | None], search: Mapping[str, Any]) -> None:
    """Refuse what an option says by the option's name: the recipe's file does not hold it yet."""
    for name, value in {**budget, **search}.items():
        if value is None:
            continue
        low, high, words = RANGES.get(name, (math.ulp(0.0), sys.float_info.max, "a number above 0"))
        if not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} needs {words}; it is {value:g}")


def with_budget(root: Path, budget: Mapping[str, float | None], search: Mapping[str, Any],
                stage: str | None = None) -> tuple[Recipe, str, list[str]]:
    """Return the run's recipe with a budget in the compress stage of a network, the stage's name, and what a person should know.

    It is the compress stage that answers or that what answers was made from; else the last of that network; else the only one, which
    then takes that network; else one that is added. One that is added is also scored: by the evaluate stage, where there is one, whose
    scores the report then shows.
    """
    recipe = load_recipe(recipe_file(root))
    kinds = {name: plugin_of("stages", item).name for name, item in recipe.stages.items()}
    taken = take(root, recipe, kinds, stage, "compress")
    plain = recipe.plain()
    stages: dict[str, Any] = plain["stages"]
    name, told = compress_stage(recipe, taken, kinds, stages)
    notes = [taken.said, *told]
    limits = {key: value for key, value in budget.items() if value is not None}
    # Another quality alone goes with the cost that was asked for before; another cost is another budget.
    limits = limits if limits.keys() - {"accuracy_drop"} else {**(stages[name].get("budget") or {}), **limits}
    if not any(value is not None for key, value in limits.items() if key != "accuracy_drop"):
        raise UserError("a budget says what the model may cost: give --size-mb, --latency-ms or --memory-mb, one or more")
    given = {key: value for key, value in search.items() if value is not None}
    stages[name]["budget"] = limits
    stages[name]["search"] = {**(stages[name].get("search") or {}), **given}
    # These limit a form that is asked for by name; a search decides by its budget.
    for setting in ("max_accuracy_drop", "min_agreement", "calibration_rows"):
        stages[name].pop(setting, None)
    return make_recipe(plain, str(recipe_file(root))), name, notes


def show(result: RunResult, name: str) -> None:
    """Print the front, the other candidates, the choice, and what to do next."""
    from bessemer.app import console
    from bessemer.report.front import shown_drop
    from bessemer.report.show import milliseconds, plain
    from bessemer.stages._gather_front import fronted

    folder = result.stages[name].folder
    found = fronted(folder / "front.json")
    if found is None:
        raise UserError(f"'{folder}' holds no front; give the compress stage a budget")
    measured = [item for item in (found.reference, *found.candidates) if item.status != "dropped" and item.status != "failed"]
    rows = [(("→ " if item.chosen else "") + item.name, plain(item.quality.value), shown_drop(item, found.metric) if item.drop.value is not
             None else "–", console.size(item.size_bytes or 0), milliseconds(item.latency_ms), milliseconds(item.latency_16_ms),
             " ".join(word for word, holds in (("front", item.front), ("within", item.fits)) if holds)) for item in measured[:SHOWN]]
    limits = json.dumps(found.limits).replace('"', "")[1:-1]
    console.table(f"{name}: candidates on the validation rows; budget {limits}",
                  ("candidate", f"{found.metric} of {found.target}".removesuffix(" of "), "drop [95% interval]", "size", "latency",
                   "16 rows", ""), rows)
    left = [item for item in found.candidates if item.status in ("dropped", "failed")]
    for item in left[:SHOWN]:
        console.out.print(f"{item.status}: {item.name}: {item.reason}", markup=False, style="dim")
    console.out.print(found.sentence, markup=False, style=None if found.reached else "red")
    again = json.loads((folder / "front.json").read_text(encoding="utf-8"))["measured_again"]["1"]["median_ms"]
    for item in (item for item in measured if item.chosen):
        console.out.print(f"its latency of {milliseconds(again)} was measured again at the end, in turn with the trained network; the "
                          f"table's {milliseconds(item.latency_ms)} was measured during the search", markup=False, style="dim")
    root, finished = result.root, Finished(result.root)
    top = preferred(finished).folder.name
    if (root / "report.html").is_file():
        console.out.print(f"report: {root / 'report.html'}", markup=False)
    answers = name == top or name in finished.sources(top)
    console.out.print(f"next: bessemer serve {root if answers else folder}", markup=False)
