"""What teachers say, beside the labels: knowledge distillation (Hinton, Vinyals & Dean 2015, https://arxiv.org/abs/1503.02531).

Legend: B rows, L tokens, C classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Role
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Loss, Task
from bessemer.tasks.classification import Classification, classification

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch


class Distillation(Config):
    """How much the labels and the teacher count."""

    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Both sides' logits are divided by it, so that small probabilities count too; the teacher's part is scaled by its square."""
    label_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Weight of the cross-entropy of the labels, where a row has one; the teacher's part has the rest."""
    hidden: Literal["none", "relations"] = "none"
    """relations: the student's attention relations follow those of the stage's `teacher` as well (MiniLMv2, Wang et al. 2020)."""
    relation_weight: Annotated[float, Field(gt=0)] | None = None
    """Weight of the relations' loss, 1 by default, with hidden: relations alone."""
    relation_heads: Annotated[int, Field(ge=1)] | None = None
    """Relation heads at most, 12 by default: as many as divide both networks' widths; with hidden: relations alone."""
    target: str | None = None
    """The target column; data of several targets are learnt by supervised."""

    @model_validator(mode="after")
    def _effective(self) -> Distillation:
        if self.hidden == "none" and (self.relation_weight is not None or self.relation_heads is not None):
            raise ValueError("relation_weight and relation_heads have an effect with hidden: relations alone")
        return self


@register("tasks", "distillation")
def distillation(config: Distillation, spec: TaskSpec) -> Task:
    """Return the task; the teachers' answers are stored with the rows (stage `teach`), or asked of the stage's `teacher`.

    Loss: label_weight CE(label) + (1 - label_weight) T^2 KL(teacher || student), at temperature T, + relation_weight x relations: the
    weighted mean over the batch's rows, in which a row without a label has 0 for the first part. A validation split, which no teacher
    has seen, is scored by its labels.
    """
    import numpy as np

    labelled = classification(Classification(target=config.target), spec)
    name = config.target or spec.schema.by_role(Role.TARGET)[0].name
    column = f"{name}.teacher"
    stored = column in spec.take(np.zeros(0, np.int64)).column_names
    if not stored and spec.teacher is None and spec.fitted_on is None:
        raise UserError("the task distillation learns from a teacher, and the data hold no answers of one; give data of a 'teach' stage, "
                        "or the stage's key 'teacher'")
    if config.hidden == "relations" and spec.teacher is None and spec.fitted_on is None:
        raise UserError("hidden: relations needs the teacher's network; give the stage's key 'teacher'")
    teacher = _opened(spec) if spec.fitted_on is None else None

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        found = labelled.batch(positions_B, epoch)
        if not stored:
            return found
        flat = spec.take(positions_B)[column].combine_chunks().flatten().to_numpy()
        return replace(found, targets={**found.targets, column: torch.tensor(flat.reshape(len(positions_B), -1))})

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return _loss(config, network, teacher, batch, (spec.column, name))

    def mass(batch: Batch) -> float:
        assert batch.weights is not None and labelled.mass is not None
        return float(batch.weights.double().sum()) if stored or teacher is not None else labelled.mass(batch)

    alone = config.hidden == "none"  # relations are listened to in the networks' own layers, which threads would share
    return replace(labelled, name="distillation", batch=batch, loss=loss, mass=mass if alone else None)


def _opened(spec: TaskSpec) -> Callable[[], torch.nn.Module] | None:
    """Return a function that gives the frozen teacher, loaded when it is first asked for."""
    folder = spec.teacher
    kept: list[torch.nn.Module] = []
    if folder is None:
        return None

    def network() -> torch.nn.Module:
        from bessemer.nn.checkpoint import load_network

        if not kept:
            kept.append(load_network(folder, ("classification",)).eval().requires_grad_(False))
        return kept[0]

    return network


def _loss(config: Distillation, network: torch.nn.Module, teacher: Callable[[], torch.nn.Module] | None, batch: Batch,
          names: tuple[str, str]) -> Loss:
    """Return the weighted mean over the rows; `names` are those of the input column and the target."""
    import torch
    import torch.nn.functional as F

    from bessemer.nn.relations import answer, relation_loss

    column, target = names
    inputs = {key: batch.inputs[column][key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    related = config.hidden == "relations" and teacher is not None
    logits_BC, mine = answer(network, inputs, "student" if related else None)
    right_BC, theirs = batch.targets.get(f"{target}.teacher"), dict[str, Any]()
    if teacher is not None and (related or right_BC is None):
        with torch.no_grad():
            asked_BC, theirs = answer(teacher(), inputs, "teacher" if related else None)
        right_BC = asked_BC if right_BC is None else right_BC
    assert batch.weights is not None
    weight_B, present_B = batch.weights, batch.present[target]
    each_B = logits_BC.new_zeros(len(logits_BC))
    each_B[present_B] = F.cross_entropy(logits_BC[present_B], batch.targets[target][present_B], reduction="none")
    labelled_B = torch.where(present_B, weight_B, 0.0)
    sums: dict[str, tuple[Any, Any]] = {
        "label_loss": ((each_B.detach() * labelled_B).sum(), labelled_B.sum()),
        "accuracy": ((logits_BC.argmax(-1) == batch.targets[target])[present_B].sum(), present_B.sum())}
    total_B = each_B
    if right_BC is not None:
        taught_B = divergence(right_BC, logits_BC, config.temperature)
        total_B = config.label_weight * each_B + (1 - config.label_weight) * taught_B
        sums["teacher_loss"] = ((taught_B.detach() * weight_B).sum(), weight_B.sum())
        sums["agreement"] = ((logits_BC.argmax(-1) == right_BC.argmax(-1)).sum(), len(right_BC))
    if related:
        relations_B = relation_loss(theirs, mine, inputs["attention_mask"], config.relation_heads or 12)
        total_B = total_B + (config.relation_weight or 1.0) * relations_B
        sums["relation_loss"] = ((relations_B.detach() * weight_B).sum(), weight_B.sum())
    mass = labelled_B.sum() if right_BC is None else weight_B.sum()
    # Rows without any weight leave a loss of 0 that still has a graph.
    total = (total_B * weight_B).sum() / torch.where(mass > 0, mass, torch.ones_like(mass))
    return Loss(total, {"loss": ((total_B.detach() * weight_B).sum(), mass), **sums}, total_B.detach())


def divergence(right_BC: torch.Tensor, logits_BC: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return T^2 KL(p || q) of each row [B]: p of the teacher's log-probabilities (or logits) over T, q of the student's logits over T.

    The square keeps the gradient's size whatever the temperature (Hinton et al. 2015, section 2.1).
    """
    right_BC = (right_BC / temperature).log_softmax(-1)
    gap_BC = right_BC - (logits_BC / temperature).log_softmax(-1)
    found: torch.Tensor = temperature**2 * (right_BC.exp() * gap_BC).sum(-1)
    return found
