"""The task that a network was trained with, kept beside its weights, so that a stage that goes on with it learns the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.pick import dump_plugin, make
from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    from bessemer.core.config import Config
    from bessemer.core.run import RunContext
    from bessemer.core.types import Task
    from bessemer.stages._learning import Spec

TASK = "task.json"
STEP = re.compile(r"[-+]?\d+(\.\d+)?")
SHOWN = 12
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

    kind = said["kind"]
    if not taught(spec.fitted_on or spec):
        return plainly(said)
    if kind == "supervised":
        return {**plainly(said), "distil": said.get("distil") or {}}
    if kind not in LABEL:
        return said
    kept = ["target", *(["temperature", "label_weight"] if kind == "distillation" else [])]
    return {"kind": "distillation", **{name: said[name] for name in kept if said.get(name) is not None}}


def plainly(said: dict[str, Any]) -> dict[str, Any]:
    """Return the task that says what one of the task `said` says, and is learnt by labels alone: no teachers, no rows without a label."""
    if said["kind"] == "supervised":
        return {name: value for name, value in said.items() if name != "distil" and value is not None}
    if said["kind"] not in LABEL or said["kind"] == "classification":
        return said
    return {"kind": "classification", **{name: said[name] for name in ("target", "label_smoothing") if said.get(name) is not None}}


def tell_order(task: Task, schema: Schema, run: RunContext) -> None:
    """Tell in which order words are learnt as steps of a scale, where prepare was told none; numbers are in their own."""
    columns = {column.name: column for column in schema.by_role(Role.TARGET)}
    for head in task.outputs:
        given = columns[head.target].modality.get("labels")
        if head.link != "ordinal" or given or all(STEP.fullmatch(label) for label in head.labels):
            continue
        shown = " < ".join([*head.labels[:SHOWN], *(["…"] if len(head.labels) > SHOWN else [])])
        run.note(f"'{head.target}' is learnt as steps of a scale in the order {shown}, in which its words are sorted; where that is not "
                 f"their order, name it in prepare: targets: {{{head.target}: {{kind: category, labels: [lowest, …, highest]}}}}")


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
