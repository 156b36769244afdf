"""Early exits in a search: easy texts leave one trained network before its end.

Exits are trained for the network where they are most likely to help: one that meets the budget's quality and size, and that would be fast
enough if most rows left early. The network stays as it is, and the stage `early_exit` does the work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.stages._budget_deliver import candidates
from bessemer.stages._budget_space import BERTS, depth_of, recipe_after, with_way
from bessemer.stages._budget_try import Hunt, attempt, measured, no_time_for, point_of

EXITS = "early_exits"
PREFIX = "exits-"
"""With it begins the record of a network with exits; a number follows."""
AT_BEST = 0.45
"""Part of a network's latency that is left where nearly all rows leave at the first exit, after a third of the layers."""
PASSES, LEARNING_RATE = 1.0, 1e-3


def try_exits(hunt: Hunt, number: int) -> None:
    """Train exits for the most promising network and measure its forms, where there is one that had none yet.

    Args:
        hunt: the search.
        number: of the try, from 1: by it a search that goes on after a kill knows what it did.
    """
    name = f"{PREFIX}{number}"
    if name in hunt.journal or hunt.left < hunt.ending:
        return
    item = promising(hunt, candidates(hunt))
    if item is None:
        return
    record = hunt.journal[item["record"]]
    about = {"label": with_way(record["label"], "early exits"), "settings": {**record["settings"], EXITS: True}}
    attempt(hunt, name, {**about, "of": item["record"]}, lambda: _trained(hunt, item))


def promising(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the form whose network gets exits: the fastest that may reach the front by them; None where none may.

    Exits win time alone, so only where latency is limited, and of one target that is a label.
    """
    search, limits = hunt.config.search, hunt.limits
    labels = [answer.kind == "label" for answer in hunt.yard.reference.values()]
    on = search is not None and search.early_exits and not hunt.rehearsal and "early_exit" in registry.plugins("stages")
    if not on or hunt.origin.table or labels != [True] or limits.latency_ms is None:
        return None
    tried = {record["of"] for record in hunt.journal.records.values() if str(record["id"]).startswith(PREFIX)}
    fitting = [item for item in listed if not limits.over(point_of(item))]
    found = []
    for item in listed:
        best = AT_BEST * item["latency_ms"]
        small = "size_mb" not in limits.costly(item["size_bytes"], 0.0)
        beaten = any(other["latency_ms"] <= best and other["drop"]["value"] <= item["drop"]["value"] for other in fitting)
        if (small and best <= limits.latency_ms and item["drop"]["value"] <= limits.accuracy_drop and not beaten
                and item["record"] not in tried and not item.get("exits") and leaves_early(Path(item["model"]))):
            found.append(item)
    return min(found, key=lambda item: item["latency_ms"], default=None)


def leaves_early(model: Path) -> bool:
    """Tell whether a network's folder can have exits: BERT's kind, two layers or more, and a classifier of one label at its end."""
    if not (model / "config.json").is_file() or (model / "heads.json").is_file():
        return False
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return config.get("model_type") in BERTS and depth_of(config) >= 2


def recipe_for(hunt: Hunt, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe that trains exits for a form's network, with graphs by the form's own methods."""
    training, model = hunt.training, Path(item["model"])
    stage = {"kind": "early_exit", "data": str(training.data), "model": str(model), "methods": [item["methods"]] if item["methods"] else [],
             "accuracy_drop": max(0.0, round(hunt.limits.accuracy_drop - item["drop"]["value"], 6)), "learning_rate": LEARNING_RATE,
             "num_train_epochs": round(PASSES * training.passes * training.effort, 4), "bf16": "auto"}
    return recipe_after(model, training, stage, "exits", "exits")


def _trained(hunt: Hunt, item: dict[str, Any]) -> dict[str, Any]:
    """Train the exits, where the time allows, and measure the form by the methods and the float one."""
    from bessemer.core.forms import read_forms

    recipe = recipe_for(hunt, item)
    folder = hunt.folder(recipe) / "exits"
    reason = no_time_for(hunt, recipe, "training the exits")
    if reason:
        return {"status": "dropped", "reason": reason}
    told = hunt.execute(recipe)["exits"]["forms"]
    forms = []
    for form in read_forms(folder):
        chain = list(item["methods"]) if told[form.name]["lossy"] else []
        forms.append({**measured(hunt, folder, form, chain, hunt.length), "exits": told[form.name]["left"]})
    return {"status": "finished", "reason": "", "model": item["model"], "recipe": recipe, "forms": forms}
