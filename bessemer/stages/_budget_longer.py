"""Longer training in a search: where nothing meets the budget, the most faithful network that is small and fast enough learns on.

Each candidate gets few passes, so that many can be looked at. Where much of the time is gone and all that are small and fast enough lose
too much, what is left is worth more to the best of them than to further ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.core.artifact import MANIFEST
from bessemer.search.front import SLACK
from bessemer.stages._budget_deliver import candidates
from bessemer.stages._budget_int8 import train_for_int8
from bessemer.stages._budget_space import LEARNING, PASSES, learnt_as, recipe_after, with_way
from bessemer.stages._budget_try import FORECAST, NO_TIME, Hunt, attempt, forecast, forms_of, point_of

LONGER, PREFIX, SAID = "longer", "longer-", "trained for longer"
"""Setting of a network that was trained for longer, what its record begins with (a number follows), and what people read."""
WHEN = (0.6, 0.4)
"""Parts of the search's time: where less is left, a network is trained on for the first time, and for the second."""
PART = 0.6
"""Part of the time left that one such training may take."""
MULTIPLES = (8.0, 4.0, 2.0, 1.0, 0.5)
"""As many times the passes of the last rung; the most that the time allows."""


def train_longer(hunt: Hunt, waiting: bool = True) -> None:
    """Train the most faithful network that fits on, when its time has come.

    Args:
        hunt: the search.
        waiting: whether other networks are still to be looked at: if not, the time has come.
    """
    search = hunt.config.search
    assert search is not None
    for number, part in enumerate(WHEN, 1):
        name = f"{PREFIX}{number}"
        if name in hunt.journal or hunt.left < hunt.ending or (waiting and hunt.left > part * 60 * search.minutes):
            continue
        item = worth_training(hunt, candidates(hunt))
        if item is None:
            return
        record = hunt.journal[item["record"]]
        again = str(record["label"]).endswith(SAID)
        about = {"label": f"{record['label']} twice" if again else with_way(str(record["label"]), SAID), "of": item["record"],
                 "settings": {**record["settings"], LONGER: number}}
        made = attempt(hunt, name, about, lambda one=item: _trained(hunt, one))  # type: ignore[misc]
        if made["status"] == "finished":
            train_for_int8(hunt, made)


def worth_training(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the form whose network is trained on: of those within size, latency and memory the one that loses least, the faster of equals.

    None where some form meets the whole budget, where no network is small and fast enough, or where it was trained on already.
    """
    search, limits = hunt.config.search, hunt.limits
    assert search is not None
    if not search.longer or hunt.rehearsal or any(not limits.over(point_of(item)) for item in listed):
        return None
    tried = {record["of"] for record in hunt.journal.records.values() if str(record["id"]).startswith(PREFIX)}
    found = []
    for item in listed:
        settings = hunt.journal[item["record"]].get("settings") or {}
        own = settings.get("family") in PASSES and not settings.get("qat") and not item.get("exits")
        over = limits.costly(item["size_bytes"], item["latency_ms"], item.get("memory_bytes"), SLACK)
        if own and not over and item["record"] not in tried:
            found.append(item)
    return min(found, key=lambda item: (item["drop"]["value"], item["latency_ms"]), default=None)


def recipe_for(hunt: Hunt, item: Mapping[str, Any], multiple: float) -> dict[str, Any]:
    """Return the recipe that trains a form's network on, as often again over as many rows as the training split has."""
    training, model = hunt.training, Path(item["model"])
    kind = learnt_as(hunt.journal[item["record"]]["settings"]["family"], hunt.origin)
    stage = {"kind": "finetune", "data": str(training.data), "init": str(model), **LEARNING[kind], "replay_rows": 0,
             "num_train_epochs": round(multiple * PASSES[kind][-1] * training.passes * training.effort, 4),
             **({} if training.task is None else {"task": dict(training.task)}),
             **({"max_length": training.length} if training.length else {})}
    return recipe_after(model, training, stage, LONGER, LONGER)


def affordable(hunt: Hunt, item: Mapping[str, Any]) -> tuple[float, float]:
    """Return how many times the last rung's passes the time allows, 0 where not even half of them, and the forecast of once in seconds."""
    for multiple in MULTIPLES:
        recipe = recipe_for(hunt, item, multiple)
        if (hunt.folder(recipe) / LONGER / MANIFEST).is_file():  # trained before a kill, or by another search
            return multiple, 0.0
    once = FORECAST * forecast(hunt, recipe_for(hunt, item, 1.0))
    room = PART * max(0.0, hunt.left - hunt.ending)
    return next((multiple for multiple in MULTIPLES if multiple * once <= room), 0.0), once


def _trained(hunt: Hunt, item: dict[str, Any]) -> dict[str, Any]:
    """Train it, where the time allows, and measure its forms."""
    multiple, once = affordable(hunt, item)
    if not multiple:
        return {"status": "dropped", "reason": f"{NO_TIME} training on is forecast to take {once:.0f} s, {max(0.0, hunt.left):.0f} s are "
                                               "left"}
    hunt.run.note(f"{item['name'].split(';')[0]}: nothing meets the budget, and of what is small and fast enough it loses least: it learns "
                  f"on for {multiple * once:.0f} s")
    recipe = recipe_for(hunt, item, multiple)
    hunt.execute(recipe)
    folder = hunt.folder(recipe) / LONGER
    return {"status": "finished", "reason": "", "model": str(folder), "recipe": recipe,
            "forms": forms_of(hunt, str(recipe["name"]), folder, hunt.chains)}
