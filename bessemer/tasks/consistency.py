"""Labels where rows have one, and the same answer to a text with and without some of its words where they have none.

Unsupervised data augmentation (Xie et al. 2020, https://arxiv.org/abs/1904.12848), with masked words as the augmentation.

Legend: B rows, U rows without a label, C classes, N masked positions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Role
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Loss, Task
from bessemer.tasks.classification import Classification, classification

if TYPE_CHECKING:
    import numpy as np
    import torch


class Consistency(Config):
    """How much the rows without a label count, and how they are changed."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """What the part of the rows without a label counts beside that of the labelled ones."""
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.4
    """The answer to the whole text is sharpened by it before the answer to the changed text is drawn to it."""
    confidence: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Rows whose largest probability is below it do not count."""
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the words' tokens that the changed text shows as the mask; at least one a row."""
    ramp_up: Annotated[float, Field(ge=0)] = 1.0
    """Passes over the rows in which the weight rises from pass to pass, as exp(-5 (1 - t)^2) (Laine & Aila 2017); 0 for none."""
    labelled_copies: Annotated[int, Field(ge=1)] = 1
    """How often each labelled row comes up in a pass; more where few rows have a label."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's mass spread over all classes."""
    target: str | None = None
    """The target column; data of several targets are learnt by supervised."""


@register("tasks", "consistency")
def consistency(config: Consistency, spec: TaskSpec) -> Task:
    """Return the task; training rows without a label are kept by prepare's `unlabelled: keep`, and none of them is a UserError.

    Loss: CE(label), the mean over the labelled rows of a batch, + weight x ramp x mean over the others of
    KL(sharpened answer to the text, held fixed || answer to the text with masked words). A validation split is scored by its labels.
    """
    import numpy as np

    from bessemer.nn.masking import Masking

    labelled = classification(Classification(target=config.target, label_smoothing=config.label_smoothing), spec)
    name = config.target or spec.schema.by_role(Role.TARGET)[0].name
    training, masking = spec.fitted_on is None, Masking.of(spec.codec.info, config.mask_probability, 1.0, 0.0)
    order = np.arange(spec.count)
    if training:
        codes = spec.stored(name)
        if (codes >= 0).all():
            raise UserError("the task consistency learns from texts without a label too, and every training row has one; keep such rows by "
                            "prepare's 'unlabelled: keep', or take the task classification")
        order = np.concatenate([order, np.tile(np.flatnonzero(codes >= 0), config.labelled_copies - 1)])

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        from bessemer.nn.masking import mask_tokens

        found = labelled.batch(order[positions_B], epoch)
        if epoch < 0 or found.row_ids is None:
            return found
        arrays = {key: value.numpy() for key, value in found.inputs[spec.column].items()}
        masked, _ = mask_tokens(masking, arrays, found.row_ids.numpy(), spec.seed, epoch)
        inputs = {**found.inputs[spec.column], "masked_ids": torch.from_numpy(masked["input_ids"])}
        ramp = torch.full((len(positions_B),), ramp_of(epoch, config.ramp_up))
        return replace(found, inputs={spec.column: inputs}, targets={**found.targets, f"{name}.ramp": ramp})

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return _loss(config, network, batch, (spec.column, name))

    assert labelled.costs is not None
    return replace(labelled, name="consistency", batch=batch, loss=loss, count=len(order), costs=labelled.costs[order])


def ramp_of(epoch: int, passes: float) -> float:
    """Return how much the rows without a label count in a pass, counted from 0: exp(-5 (1 - t)^2), t the part of `passes` then done.

    >>> [round(ramp_of(epoch, 2), 4) for epoch in range(3)]
    [0.0067, 0.2865, 1.0]
    """
    return math.exp(-5 * (1 - min(1.0, epoch / passes)) ** 2) if passes else 1.0


def _loss(config: Consistency, network: torch.nn.Module, batch: Batch, names: tuple[str, str]) -> Loss:
    """Return the loss of a batch; `names` are those of the input column and the target."""
    import torch

    from bessemer.tasks import classification as base

    column, target = names
    inputs = batch.inputs[column]
    logits_BC: torch.Tensor = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    logits_BC = logits_BC.float()
    own = base._loss(logits_BC, batch, target, None, config.label_smoothing)
    bare_B = ~batch.present[target]
    if "masked_ids" not in inputs or not bare_B.any():
        return own
    assert batch.weights is not None and own.per_row is not None
    changed_UC: torch.Tensor = network(*(inputs[key][bare_B] for key in ("masked_ids", "attention_mask", "token_type_ids")))
    each_U, sure_U = drawn(logits_BC[bare_B].detach(), changed_UC, config.temperature, config.confidence)
    weight_U = batch.weights[bare_B]
    mass = weight_U.sum()  # of all, so that a batch with few sure rows moves the network little, as in the paper
    mean = (each_U * sure_U * weight_U).sum() / torch.where(mass > 0, mass, torch.ones_like(mass))
    share = config.weight * float(batch.targets[f"{target}.ramp"][0])
    per_row_B = own.per_row.clone()
    per_row_B[bare_B] = each_U.detach().float()
    sums = {**own.sums, "consistency_loss": ((each_U.detach() * sure_U * weight_U).sum(), mass), "sure": (sure_U.sum(), len(sure_U))}
    return Loss(own.total + share * mean, sums, per_row_B)


def drawn(whole_UC: torch.Tensor, changed_UC: torch.Tensor, temperature: float, confidence: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return KL(softmax(whole / T) || softmax(changed)) of each row [U], and 1 where the answer to the whole text is sure enough [U]."""
    right_UC = (whole_UC / temperature).log_softmax(-1)
    each_U: torch.Tensor = (right_UC.exp() * (right_UC - changed_UC.log_softmax(-1))).sum(-1)
    return each_U, (whole_UC.softmax(-1).amax(-1) >= confidence).to(each_U.dtype)
