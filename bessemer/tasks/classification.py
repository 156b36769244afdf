"""One label out of several for a text, by cross-entropy.

Legend: B rows, C classes, P rows that have a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Answer, Batch, Loss, Task

if TYPE_CHECKING:
    import numpy as np
    import torch


class Classification(Config):
    """The target and how its classes weigh."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target's mass spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """'balanced' weighs a class by rows / (classes x rows of the class) of the training split, as scikit-learn does."""
    target: str | None = None
    """The target column; data of several targets are learnt by supervised."""


@register("tasks", "classification")
def classification(config: Classification, spec: TaskSpec) -> Task:
    """Return the task; a label that never occurs in the training split is a GuardError."""
    import numpy as np

    target = _target(config, spec)
    weight_C = _class_weights(config, spec.fitted_on or spec, target)
    weight_column = next((column.name for column in spec.schema.by_role(Role.WEIGHT)), None)

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        rows = spec.take(positions_B)
        arrays = spec.inputs(rows)
        code_B = torch.tensor(rows[target.name].to_numpy(), dtype=torch.int64)
        weight_B = torch.ones(len(code_B)) if weight_column is None else torch.tensor(
            rows["weight"].to_numpy(), dtype=torch.float32)
        return Batch(
            inputs={spec.column: {name: torch.from_numpy(array) for name, array in arrays.items()}},
            targets={target.name: code_B}, present={target.name: code_B >= 0}, weights=weight_B,
            row_ids=torch.tensor(rows["row_id"].to_numpy()), task_ids=torch.zeros(len(code_B), dtype=torch.int64))

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return _loss(_logits(spec, network, batch), batch, target.name, weight_C, config.label_smoothing)

    def predict(network: torch.nn.Module, batch: Batch) -> dict[str, Answer]:
        import torch

        with torch.no_grad():
            probabilities: np.ndarray = _logits(spec, network, batch).float().softmax(-1).cpu().numpy()
        return {target.name: Answer("label", probabilities, target.labels)}

    costs = np.minimum(spec.lengths.astype(np.int64) + 2, spec.max_length)
    return Task(name="classification", heads=("classification",), batch=batch, loss=loss, costs=costs,
                count=spec.count, predict=predict, mass=lambda batch: _mass(batch, target.name, weight_C))


def _target(config: Classification, spec: TaskSpec) -> Column:
    if config.target is None:
        return spec.schema.only(Role.TARGET, "category")
    found = {column.name: column for column in spec.schema.by_role(Role.TARGET)
             if column.modality["kind"] == "category"}
    if config.target not in found:
        raise UserError(f"the data have no target '{config.target}' of kind 'category'{nearest(config.target, found)}")
    return found[config.target]


def _class_weights(config: Classification, fitted_on: TaskSpec, target: Column) -> np.ndarray | None:
    """Return float32 [C], or None for equal weights."""
    import numpy as np

    codes = fitted_on.stored(target.name)
    count_C = np.bincount(codes[codes >= 0], minlength=len(target.labels))
    missing = np.flatnonzero(count_C == 0)
    if len(missing):
        raise GuardError(f"the label '{target.labels[missing[0]]}' of '{target.name}' never occurs in the training "
                         "data; remove it from the data or give rows that have it")
    if config.class_weights == "none":
        return None
    weight_C: np.ndarray = (count_C.sum() / (len(count_C) * count_C)).astype(np.float32)
    return weight_C


def _logits(spec: TaskSpec, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    inputs = batch.inputs[spec.column]
    logits_BC: torch.Tensor = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    return logits_BC.float()


def _mass(batch: Batch, target: str, weight_C: np.ndarray | None) -> float:
    """Return the weight of the labelled rows, which the loss is a mean over."""
    present_B = batch.present[target].numpy()
    assert batch.weights is not None
    weight_P, code_P = batch.weights.numpy()[present_B], batch.targets[target].numpy()[present_B]
    return float((weight_P if weight_C is None else weight_P * weight_C[code_P]).sum(dtype="float64"))


def _loss(logits_BC: torch.Tensor, batch: Batch, target: str, weight_C: np.ndarray | None,
          label_smoothing: float) -> Loss:
    """Return the weighted mean over the labelled rows: sum of weighted losses / sum of weights (torch's own)."""
    import torch
    import torch.nn.functional as F

    present_B = batch.present[target]
    logits_PC, code_P = logits_BC[present_B], batch.targets[target][present_B]
    assert batch.weights is not None
    row_weight_P = batch.weights[present_B]
    classes = None if weight_C is None else torch.from_numpy(weight_C).to(logits_BC.device)
    losses_P = row_weight_P * F.cross_entropy(
        logits_PC, code_P, weight=classes, label_smoothing=label_smoothing, reduction="none")
    weight_sum = (row_weight_P if classes is None else row_weight_P * classes[code_P]).sum()
    per_row_B = torch.zeros(len(present_B), device=logits_BC.device)
    per_row_B[present_B] = losses_P.detach().float()
    correct = (logits_PC.argmax(-1) == code_P).sum()
    # Rows without any label or weight leave a loss of 0 that still has a graph.
    total = losses_P.sum() / torch.where(weight_sum > 0, weight_sum, torch.ones_like(weight_sum))
    sums = {"loss": (losses_P.detach().sum(), weight_sum.detach()), "accuracy": (correct, code_P.shape[0])}
    return Loss(total, sums, per_row_B)
