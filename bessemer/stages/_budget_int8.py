"""Training for int8 in a search: a network whose int8 form loses by the rounding is trained on a little with that rounding.

It costs time only where there is something to win: where an int8 form that is small and fast enough loses more than a third of what the
budget allows against its own network in float32, which itself loses no more than is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.core.pick import make
from bessemer.search.front import SLACK
from bessemer.stages._budget_deliver import candidates
from bessemer.stages._budget_space import BERTS, TRAINED, recipe_after, with_way
from bessemer.stages._budget_try import Hunt, attempt, forms_of, no_time_for

KINDS = ("dynamic_int8", "static_int8")
NOTICED = 1 / 3
"""Part of the allowed drop that rounding must take before a network is trained for it."""
PASSES, LEARNING_RATE = 0.75, 1e-4
"""Of this training, as often over as many rows as the training split has; half the rate of the training before it."""
PREFIX = "int8-"
"""With it begins the record of a network that was trained for int8."""


def train_for_int8(hunt: Hunt, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train a finished candidate for int8 where that may win something; return the new forms, empty where there are none.

    The record says what it brought: the int8 form's drop before and after it, and the float form's. The proposer is told of the forms as
    the candidate's own.
    """
    name = f"{PREFIX}{record['id']}"
    if name in hunt.journal:  # before a kill
        return list(hunt.journal[name]["forms"])
    lossy = worth_training(hunt, record)
    if lossy is None or hunt.left < hunt.ending:
        return []
    plain = _float_of(record)
    about = {"label": with_way(record["label"], "trained for int8"),
             "settings": {**record["settings"], "qat": True}}
    made = attempt(hunt, name, about, lambda: _trained(hunt, record, lossy, plain))
    if made["status"] == "finished":
        told = made["brought"]
        hunt.run.note(f"{made['label']}: its form {lossy['how']} loses {told['after']:.4f}, before that {told['before']:.4f}; in float32 "
                      f"{told['float']:.4f}")
    return list(made["forms"])


def worth_training(hunt: Hunt, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the int8 form of a candidate that training for int8 may bring to the front, the fastest such one; None where there is none.

    At best it loses as little as the float form. Where some measured form is about as small and as fast and loses no more than that, or
    where the float form loses more than is allowed, nothing can be won.
    """
    search, plain = hunt.config.search, _float_of(record)
    on = search is not None and search.qat and not hunt.rehearsal and "qat" in registry.plugins("adapt")
    if not on or plain is None or hunt.origin.table or not _encoder(hunt, record):
        return None
    allowed = hunt.limits.accuracy_drop
    measured = [(item["drop"]["value"], item["size_bytes"], item["latency_ms"]) for item in candidates(hunt)]
    found = []
    for item in record["forms"]:
        hoped = (plain["drop"]["value"], item["size_bytes"], item["latency_ms"])
        lost = item["drop"]["value"] - plain["drop"]["value"]
        fits = not hunt.limits.costly(item["size_bytes"], item["latency_ms"], item.get("memory_bytes"), SLACK)
        if (_integers(item["methods"]) and fits and plain["drop"]["value"] <= allowed and lost > NOTICED * allowed + 1e-9
                and not any(_reaches(other, hoped) for other in measured)):
            found.append(item)
    return min(found, key=lambda item: item["latency_ms"], default=None)


def _reaches(other: Sequence[float], hoped: Sequence[float]) -> bool:
    """Tell whether a measured form loses no more than hoped, and is no larger and no slower but for what a clock may err by."""
    return other[0] <= hoped[0] and all(one <= (1 + SLACK) * two for one, two in zip(other[1:], hoped[1:], strict=True))


def _float_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((item for item in record["forms"] if not item["methods"]), None)


def _encoder(hunt: Hunt, record: Mapping[str, Any]) -> bool:
    """Tell whether a candidate is BERT's kind: the trained network itself, or one that was cut out of it."""
    family = (record.get("settings") or {}).get("family")
    return bool(family == "slim" or (family == TRAINED and hunt.origin.config.get("model_type") in BERTS))


def _integers(methods: Sequence[Mapping[str, Any]]) -> bool:
    return bool(methods) and methods[0]["kind"] in KINDS


def rounding_of(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return the adaptation whose rounding is that of an int8 method.

    >>> rounding_of({"kind": "dynamic_int8", "scales": "row"})
    {'kind': 'qat', 'activations': 'row', 'reduce_range': True}
    """
    chosen: Any = make("compress", dict(method))
    return {"kind": "qat", "activations": getattr(chosen, "scales", "batch"), "reduce_range": chosen.reduce_range}


def recipe_for(hunt: Hunt, model: Path, methods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the recipe that trains a network's folder for an int8 method."""
    training, rounding = hunt.training, rounding_of(methods[0])
    stage = {"kind": "finetune", "data": str(training.data), "init": str(model), "adaptation": rounding, "learning_rate": LEARNING_RATE,
             "num_train_epochs": round(PASSES * training.passes * training.effort, 4), "replay_rows": 0, "bf16": "auto",
             **({} if training.task is None else {"task": dict(training.task)})}
    return recipe_after(model, training, stage, "tuned", "int8")


def _trained(hunt: Hunt, record: Mapping[str, Any], lossy: Mapping[str, Any], plain: Mapping[str, Any] | None) -> dict[str, Any]:
    """Train it, where the time allows, and measure its form by the same methods and its float form."""
    assert plain is not None
    recipe = recipe_for(hunt, Path(record["model"]), lossy["methods"])
    folder = hunt.folder(recipe) / "tuned"
    reason = no_time_for(hunt, recipe, "training for int8")
    if reason:
        return {"status": "dropped", "reason": reason}
    hunt.execute(recipe)
    forms = forms_of(hunt, str(recipe["name"]), folder, [list(lossy["methods"])])
    after = next((item["drop"]["value"] for item in forms if item["methods"]), forms[0]["drop"]["value"])
    return {"status": "finished", "reason": "", "model": str(folder), "of": record["id"], "recipe": recipe, "forms": forms, "brought": {
        "before": lossy["drop"]["value"], "after": after, "float": plain["drop"]["value"]}}
