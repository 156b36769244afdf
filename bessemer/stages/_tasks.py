"""The task that a network was trained with, kept beside its weights, so that a stage that goes on with it learns the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin, make
from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    from bessemer.core.config import Config
    from bessemer.core.types import Task
    from bessemer.stages._learning import Spec

TASK = "task.json"
LABEL = ("classification", "distillation", "consistency", "shifted")
"""Ways to learn the one label of a text: its head is the same in all of them."""


def save_task(task: Task, out: Path) -> None:
    """Write the settings of the task that a network was trained with beside its weights."""
    if task.settings is not None:
        (out / TASK).write_text(json.dumps(dump_plugin("tasks", task.settings), indent=1, sort_keys=True, ensure_ascii=False) + "\n",
                                encoding="utf-8")


def task_of(folder: Path) -> dict[str, Any] | None:
    """Return the settings of the task that a folder's network was trained with; None where nothing but the data says it.

    A folder without the record says by its heads what shapes them: quantiles, and labels that are steps of a scale.
    """
    file = folder / TASK
    if file.is_file():
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            raise UserError(f"'{file}' is damaged; train the network again, or name the task in the recipe") from None
    if not (folder / "heads.json").is_file():
        return None
    heads = json.loads((folder / "heads.json").read_text(encoding="utf-8"))
    steps = [head["target"] for head in heads if head.get("link") == "ordinal"]
    levels: list[float] = next((head["quantiles"] for head in heads if head.get("quantiles")), [])
    return {"kind": "supervised", "quantiles": levels, "ordinal": steps} if steps or levels else None


def continued(said: dict[str, Any], spec: Spec) -> dict[str, Any]:
    """Return the task that teaches a network over some rows to say what one of the task `said` says.

    Of how a task learns, what the rows do not have is left out: teachers' answers, texts without a label. With teachers' answers a
    network learns from them too.
    """
    from bessemer.tasks.supervised import taught

    known, kind = taught(spec.fitted_on or spec), said["kind"]
    if kind == "supervised":
        found = {name: value for name, value in said.items() if name != "distil" and value is not None}
        if known:
            found["distil"] = said.get("distil") or {}
        return found
    if kind not in LABEL or (kind == "classification" and not known):
        return said
    kept = ["target", *((["temperature", "label_weight"] if kind == "distillation" else []) if known else ["label_smoothing"])]
    return {"kind": "distillation" if known else "classification", **{name: said[name] for name in kept if said.get(name) is not None}}


def task_for(config: Config | None, weights: Path | None, spec: Spec) -> Config | None:
    """Return the task of a stage that starts from a network's folder: its own; where it names none, the one that the network learnt.

    Where the rows have other targets than the network, or the folder does not answer (pretraining), the data decide: None.
    """
    if config is not None or weights is None:
        return config
    said = task_of(weights)
    if said is None or not (weights / "schema.json").is_file():
        return None
    theirs, ours = ([(column.name, column.modality["kind"], column.labels) for column in schema.by_role(Role.TARGET)]
                    for schema in (Schema.load(weights), spec.schema))
    return make("tasks", continued(said, spec)) if theirs == ours else None
