"""A tag for each unit of a text (a word's part of speech, a character's place in its word), by cross-entropy at its first token.

A text that is longer than the network reads is learnt and answered in windows that overlap, so that no unit is lost.

Legend: B rows, W windows of these rows, L tokens, U units of these rows, C tags, P units whose tag is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.heads import Head, tag_answers
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Answer, Batch, Loss, Task

if TYPE_CHECKING:
    import numpy as np
    import torch


class SequenceLabelling(Config):
    """How tags weigh."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the tag's mass spread over all tags."""
    class_weights: Literal["none", "balanced"] = "none"
    """'balanced' weighs a tag by units / (tags x units of the tag) of the training split."""


@register("tasks", "sequence_labelling")
def sequence_labelling(config: SequenceLabelling, spec: TaskSpec) -> Task:
    """Return the task over the one target of tags; the mean is over units, each weighted as its row."""
    import numpy as np

    target = _target(spec)
    weight_C = _tag_weights(config, target)
    weight_column = next((column.name for column in spec.schema.by_role(Role.WEIGHT)), None)
    head = Head(target=target.name, kind="tags", width=len(target.labels), labels=target.labels,
                unit="character" if target.modality.get("unit") == "character" else "word")

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        return _batch(spec, target.name, weight_column, positions_B)

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return _loss(_logits(spec, network, batch), batch, target.name, (weight_C, config.label_smoothing))

    def predict(network: torch.nn.Module, batch: Batch) -> dict[str, Answer]:
        import torch

        with torch.no_grad():
            logits_UC: np.ndarray = _logits(spec, network, batch).float().cpu().numpy()
        return tag_answers((head,), logits_UC, batch.inputs[UNITS]["offsets"].cpu().numpy())

    def naive() -> float:
        share_C = np.array([target.facts["counts"][label] for label in target.labels], np.float64)
        share_C /= share_C.sum()
        return float(-(share_C * np.log(share_C)).sum())

    costs = np.minimum(spec.lengths.astype(np.int64) + 2, spec.max_length)
    return Task(name="sequence_labelling", heads=("tags",), batch=batch, loss=loss, costs=costs, count=spec.count, predict=predict,
                outputs=(head,), naive=naive)


UNITS = ".units"


def _target(spec: TaskSpec) -> Column:
    targets = spec.schema.by_role(Role.TARGET)
    if [column.modality["kind"] for column in targets] != ["tags"]:
        raise UserError("the task 'sequence_labelling' learns one target of kind tags; the data have "
                        + (", ".join(f"'{column.name}' ({column.modality['kind']})" for column in targets) or "no target"))
    return targets[0]


def _tag_weights(config: SequenceLabelling, target: Column) -> np.ndarray | None:
    """Return float32 [C], or None for equal weights."""
    import numpy as np

    if config.class_weights == "none":
        return None
    count_C = np.array([target.facts["counts"][label] for label in target.labels], np.float64)
    weight_C: np.ndarray = (count_C.sum() / (len(count_C) * count_C)).astype(np.float32)
    return weight_C


def _batch(spec: TaskSpec, target: str, weight: str | None, positions_B: np.ndarray) -> Batch:
    """Return the windows of some rows, and the code of each of their units."""
    import numpy as np
    import pyarrow.compute as pc
    import torch

    from bessemer.data.windows import windows

    rows = spec.take(positions_B)
    found = windows(rows[f"{spec.column}.ids"].to_pylist(), rows[f"{target}.firsts"].to_pylist(), spec.max_length, spec.codec.info)
    codes = rows[target].combine_chunks()
    units_B, given_B = np.diff(found.offsets), pc.list_value_length(codes).to_numpy(zero_copy_only=False)
    labelled_B = given_B > 0  # a row without tags may be kept in training
    if not np.array_equal(given_B[labelled_B], units_B[labelled_B]):
        raise GuardError("a row has not as many tags as units of text; this is a fault of Bessemer, please report it")
    code_U = np.full(len(found.window), -1, np.int64)
    code_U[np.repeat(labelled_B, units_B)] = codes.flatten().to_numpy()
    weight_B = np.ones(len(units_B), np.float32) if weight is None else rows["weight"].to_numpy().astype(np.float32)
    tag_U = torch.from_numpy(code_U)
    units = {"window": found.window, "place": found.place, "offsets": found.offsets, "row": np.repeat(np.arange(len(units_B)), units_B)}
    return Batch(inputs={spec.column: {name: torch.from_numpy(array) for name, array in found.arrays.items()},
                         UNITS: {name: torch.from_numpy(array) for name, array in units.items()}},
                 targets={target: tag_U}, present={target: tag_U >= 0}, weights=torch.tensor(weight_B),
                 row_ids=torch.tensor(rows["row_id"].to_numpy()), task_ids=None)


def _logits(spec: TaskSpec, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the logits at the first token of each unit, [U, C]."""
    inputs, units = batch.inputs[spec.column], batch.inputs[UNITS]
    logits_WLC: torch.Tensor = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    return logits_WLC[units["window"], units["place"]].float()


def _loss(logits_UC: torch.Tensor, batch: Batch, target: str, how: tuple[np.ndarray | None, float]) -> Loss:
    """Return the weighted mean over the units whose tag is known; of no unit it is 0 and still has a graph."""
    import torch
    import torch.nn.functional as F

    weight_C, smoothing = how
    known_U, row_U = batch.present[target], batch.inputs[UNITS]["row"]
    assert batch.weights is not None
    code_P, row_weight_P = batch.targets[target][known_U], batch.weights[row_U[known_U]]
    classes = None if weight_C is None else torch.from_numpy(weight_C).to(logits_UC.device)
    logits_PC = logits_UC[known_U]
    losses_P = row_weight_P * F.cross_entropy(logits_PC, code_P, weight=classes, label_smoothing=smoothing, reduction="none")
    mass = (row_weight_P if classes is None else row_weight_P * classes[code_P]).sum()
    total = losses_P.sum() / torch.where(mass > 0, mass, torch.ones_like(mass))
    per_row_B = torch.zeros(len(batch.weights), device=logits_UC.device).index_add_(0, row_U[known_U], losses_P.detach().float())
    correct = (logits_PC.argmax(-1) == code_P).sum()
    return Loss(total, {"loss": (losses_P.detach().sum(), mass.detach()), "accuracy": (correct, code_P.shape[0])}, per_row_B)
