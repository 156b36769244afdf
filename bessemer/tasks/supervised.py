"""Every target at once, each by its own kind: labels by cross-entropy, numbers by squared or other error, flags one by one.

Of tables, and of texts: one network, whose outputs are divided among the targets. Rows may lack some targets.

Legend: B rows, M members of the network, O raw outputs, W outputs of one target, P rows that have the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.heads import Head, Inverse, answers
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.task_spec import TableSpec, TaskSpec
from bessemer.core.types import Answer, Batch, Loss, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from bessemer.core.task_spec import TableRows


class Distil(Config):
    """What teachers answer beside the targets, where the rows hold it (stage `teach`); Hinton, Vinyals & Dean 2015."""

    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Logits of labels and flags are divided by it on both sides; their part of the loss is scaled by its square."""
    label_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Weight of the target's own loss, where a row has the target; the teachers' part has the rest."""


class Supervised(Config):
    """The targets of a table."""

    loss: Literal["mse", "mae", "huber"] = "mse"
    """Of numbers: squared, absolute, or Huber's error, in units of the scaled target."""
    huber_delta: Annotated[float, Field(gt=0)] | None = None
    """Where Huber's error turns from squared to linear; 1 by default, with loss: huber alone."""
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Levels of a number that are learnt beside its estimate by the pinball loss (Koenker & Bassett 1978), then calibrated on
    validation rows (Romano et al. 2019): `[0.05, 0.95]` is an interval of 90%."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's mass spread over all classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """'balanced' weighs a class by rows / (classes x rows of the class) of the training split, as scikit-learn does."""
    ordinal: tuple[str, ...] = ()
    """Targets whose labels are steps of a scale (1 to 5 stars): learnt as C - 1 questions "is it beyond this step?" (Frank & Hall 2001;
    Niu et al. 2016), so that a near miss costs less than a far one. The order is that of the target's `labels` in prepare; without them
    numbers are in their order and words in that of the alphabet, which a note tells."""
    target_weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Target -> how much its loss counts; 1 by default."""
    l1: Annotated[float, Field(ge=0)] = 0.0
    """Added to the loss for each unit of the sum of absolute weights (biases exempt)."""
    distil: Distil | None = None
    """Learn from teachers' answers too; the default for data of a `teach` stage where the recipe names no task."""

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected rising levels, each once, such as [0.05, 0.95]")
        return value

    @model_validator(mode="after")
    def _effective(self) -> Supervised:
        if self.huber_delta is not None and self.loss != "huber":
            raise ValueError("huber_delta has an effect with loss: huber alone")
        return self


@register("tasks", "supervised")
def supervised(config: Supervised, spec: TableSpec | TaskSpec) -> Task:
    """Return the task over all targets of the schema."""
    import numpy as np

    columns = spec.schema.by_role(Role.TARGET)
    _check(config, columns)
    heads = tuple(_head(config, column, spec) for column in columns)
    if config.quantiles and not any(head.kind == "number" for head in heads):
        raise UserError("task.quantiles: none of the targets is a number, so nothing has quantiles; leave quantiles out, or name a target "
                        "of kind number in prepare")
    weights = {column.name: _class_weights(config, column) for column in columns if column.labels}

    if config.distil is not None and not taught(spec.fitted_on or spec):
        raise UserError("task.distil learns from teachers' answers, and the data hold none; give data of a 'teach' stage")

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        if isinstance(spec, TableSpec):
            return _batch(spec.read(positions_B), heads, config.distil is not None)
        return _text_batch(spec, positions_B, heads, config.distil is not None)

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return _loss(config, heads, weights, network, batch)

    def predict(network: torch.nn.Module, batch: Batch) -> dict[str, Answer]:
        import torch

        with torch.no_grad():
            outputs_BMO: np.ndarray = _outputs(network, batch).cpu().numpy()
        return answers(heads, outputs_BMO)

    def naive() -> float:
        return _naive(config, heads, columns, batch(np.arange(min(spec.count, 1_000_000 if table else 20_000)), -1))

    table = isinstance(spec, TableSpec)
    costs = None if isinstance(spec, TableSpec) else np.minimum(spec.lengths.astype(np.int64) + 2, spec.max_length)
    names = tuple(head.target for head in heads) if table else ("classification",)
    return Task(name="supervised", heads=names, batch=batch, loss=loss, costs=costs, count=spec.count, predict=predict, outputs=heads,
                naive=naive)


def _check(config: Supervised, columns: tuple[Column, ...]) -> None:
    """Refuse settings that name no target, or one that they do not suit."""
    if not columns:
        raise UserError("the data have no target, so there is nothing to learn; name one under targets in prepare")
    tags = next((column.name for column in columns if column.modality["kind"] == "tags"), None)
    if tags is not None:
        raise UserError(f"the target '{tags}' has a tag for each unit of a text; the task for it is 'sequence_labelling'")
    names = [column.name for column in columns]
    for key, said in (("target_weights", config.target_weights), ("ordinal", config.ordinal)):
        unknown = sorted(set(said) - set(names))
        if unknown:
            raise UserError(f"{key}: there is no target '{unknown[0]}'{nearest(unknown[0], names)}")
    plain = [column.name for column in columns if column.name in config.ordinal and (not column.labels or column.modality["kind"]
                                                                                    != "category")]
    if plain:
        raise UserError(f"ordinal: '{plain[0]}' has no labels; it is for targets of kind category, whose labels are steps of a scale")
    if config.ordinal and config.label_smoothing:
        raise UserError("ordinal targets are learnt step by step, without label_smoothing; leave it out")


def _outputs(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Return the raw outputs [B, M, O]; a network of texts has one member."""
    if "numbers" in batch.inputs.get("table", {}):
        found: torch.Tensor = network(**batch.inputs["table"])
        return found
    (inputs,) = batch.inputs.values()
    logits_BO: torch.Tensor = network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    return logits_BO[:, None, :].float()


def taught(spec: TableSpec | TaskSpec) -> bool:
    """Tell whether the rows of a split hold teachers' answers."""
    import numpy as np

    if isinstance(spec, TableSpec):
        return spec.taught
    names = {f"{column.name}.teacher" for column in spec.schema.by_role(Role.TARGET)}
    return bool(names & set(spec.take(np.zeros(0, np.int64)).column_names))


def _text_batch(spec: TaskSpec, positions_B: np.ndarray, heads: tuple[Head, ...], taught: bool) -> Batch:
    import numpy as np
    import torch

    if spec.learnt is None:
        raise GuardError("this split has no targets to learn; this is a fault of Bessemer, please report it")
    rows = spec.take(positions_B)
    arrays = spec.inputs(rows)
    weight = next((column.name for column in spec.schema.by_role(Role.WEIGHT)), None)
    weight_B = np.ones(len(positions_B), np.float32) if weight is None else rows["weight"].to_numpy().astype(np.float32)
    targets = {head.target: spec.learnt(head.target, positions_B) for head in heads}
    found = _of(targets, {spec.column: {name: torch.from_numpy(array) for name, array in arrays.items()}}, heads,
                (weight_B, rows["row_id"].to_numpy()))
    said = [(head, f"{head.target}.teacher") for head in heads if taught and f"{head.target}.teacher" in rows.column_names]
    for head, name in said:
        flat = rows[name].combine_chunks()
        plain = flat.to_numpy() if head.kind == "number" else flat.flatten().to_numpy().reshape(len(flat), -1)
        found.targets[name] = _tensor(plain)
    return found


def _head(config: Supervised, column: Column, spec: TableSpec | TaskSpec) -> Head:
    info = spec.targets[column.name]
    if info["kind"] == "number":
        return Head(target=column.name, kind="number", width=1 + len(config.quantiles), quantiles=config.quantiles,
                    inverse=Inverse.model_validate(info["inverse"]))
    kind: Literal["label", "flags"] = "flags" if info["kind"] == "flags" else "label"
    counts = column.facts.get("counts", {})
    absent = [label for label in column.labels if counts.get(label) == 0]
    if absent and kind == "label":
        raise GuardError(f"the label '{absent[0]}' of '{column.name}' never occurs in the training data; remove it from the data or give "
                         "rows that have it")
    if column.name in config.ordinal:
        return Head(target=column.name, kind=kind, width=len(column.labels) - 1, labels=column.labels, link="ordinal")
    return Head(target=column.name, kind=kind, width=len(column.labels), labels=column.labels)


def _class_weights(config: Supervised, column: Column) -> np.ndarray | None:
    """Return float32 [C], or None for equal weights."""
    import numpy as np

    if config.class_weights == "none":
        return None
    count_C = np.array([column.facts["counts"][label] for label in column.labels], np.float64)
    weight_C: np.ndarray = (count_C.sum() / (len(count_C) * count_C)).astype(np.float32)
    return weight_C


def _batch(rows: TableRows, heads: tuple[Head, ...], taught: bool = False) -> Batch:
    found = _of(rows.targets, {"table": {"numbers": _tensor(rows.numbers), "codes": _tensor(rows.codes)}}, heads,
                (rows.weights, rows.row_ids))
    if taught:
        found.targets.update({f"{name}.teacher": _tensor(values) for name, values in rows.teachers.items()})
    return found


def _of(learnt: Mapping[str, np.ndarray], inputs: dict[str, dict[str, torch.Tensor]], heads: tuple[Head, ...],
        rows: tuple[np.ndarray, np.ndarray]) -> Batch:
    """Return a batch of inputs and what is learnt of each target; `rows` are their weights and ids."""
    import torch

    targets = {head.target: _tensor(learnt[head.target]) for head in heads}
    present = {}
    for head in heads:
        value = targets[head.target]
        present[head.target] = torch.isfinite(value) if head.kind == "number" else (value >= 0).reshape(len(value), -1).all(1)
    return Batch(inputs=inputs, targets=targets, present=present, weights=_tensor(rows[0]), row_ids=_tensor(rows[1]), task_ids=None)


def _tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor over the same memory; memory that may not be written to is copied, as torch asks for."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _loss(config: Supervised, heads: tuple[Head, ...], class_weights: dict[str, np.ndarray | None], network: torch.nn.Module,
          batch: Batch) -> Loss:
    """Return the weighted mean over rows and members, summed over the targets by their weights."""
    import torch

    outputs_BMO = _outputs(network, batch)
    assert batch.weights is not None
    total = outputs_BMO.new_zeros(())
    per_row_B = outputs_BMO.new_zeros(len(outputs_BMO))
    sums: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    start = 0
    for head in heads:
        part_BMW = outputs_BMO[:, :, start:start + head.width]
        start += head.width
        present_B = batch.present[head.target]
        whole = bool(present_B.all())
        chosen = (part_BMW, batch.targets[head.target], batch.weights) if whole else (
            part_BMW[present_B], batch.targets[head.target][present_B], batch.weights[present_B])
        row_P, weight_P = _each(config, head, class_weights.get(head.target), chosen)
        said = batch.targets.get(f"{head.target}.teacher")
        if said is not None and config.distil is not None:
            taught_B = _taught(config.distil, head, part_BMW, said)
            row_P = _joined(config.distil, (row_P, weight_P, present_B), taught_B, batch.weights)
            weight_P, whole = batch.weights, True
        mass = weight_P.sum()
        share = config.target_weights.get(head.target, 1.0)
        # Rows without any target or weight leave a loss of 0 that still has a graph.
        total = total + share * (row_P * weight_P).sum() / torch.where(mass > 0, mass, torch.ones_like(mass))
        detached = row_P.detach()
        if whole:
            per_row_B += detached
        else:
            per_row_B[present_B] += detached
        sums[f"{head.target} loss" if len(heads) > 1 else "loss"] = (share * (detached * weight_P).sum(), mass)
    if config.l1:
        total = total + config.l1 * torch.stack([item.abs().sum() for item in network.parameters() if item.ndim >= 2]).sum()
    return Loss(total, sums, per_row_B)


def _each(config: Supervised, head: Head, class_weight_C: np.ndarray | None,
          chosen: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one target's loss of each row [P], a mean over the members, and the rows' weights [P]."""
    import torch
    import torch.nn.functional as F

    part_PMW, target_P, weight_P = chosen
    members = part_PMW.shape[1]
    if head.kind == "number":
        return _number_loss(config, head, part_PMW, target_P), weight_P
    if head.kind == "flags":
        truth_PMW = target_P.to(part_PMW.dtype)[:, None, :].expand_as(part_PMW)
        return F.binary_cross_entropy_with_logits(part_PMW, truth_PMW, reduction="none").mean(dim=(1, 2)), weight_P
    code_P = target_P.long()
    if head.link == "ordinal":
        beyond_PMW = (code_P[:, None] > torch.arange(head.width)).to(part_PMW.dtype)[:, None, :].expand_as(part_PMW)
        step_P = F.binary_cross_entropy_with_logits(part_PMW, beyond_PMW, reduction="none").sum(2).mean(1)
        return step_P, weight_P if class_weight_C is None else weight_P * torch.from_numpy(class_weight_C)[code_P]
    loss_PM = F.cross_entropy(part_PMW.reshape(-1, head.width), code_P.repeat_interleave(members), reduction="none",
                              label_smoothing=config.label_smoothing)
    if class_weight_C is not None:
        weight_P = weight_P * torch.from_numpy(class_weight_C)[code_P]
    return loss_PM.reshape(-1, members).mean(1), weight_P


def _taught(distil: Distil, head: Head, part_BMW: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Return the teachers' part of one target's loss of each row [B], a mean over the members.

    label: T^2 KL(teacher || student) at temperature T. flags: T^2 times the mean over the labels of the same divergence of two outcomes.
    ordinal: T^2 times its sum over the steps, of the teachers' chance to be beyond each; it has the gradient of the cross-entropy with
    these chances as targets. number: the squared error of the scaled estimate.
    """
    import torch.nn.functional as F

    steps = head.link == "ordinal"
    said = _beyond(said) if steps else said
    if head.kind == "number":
        return (part_BMW[:, :, 0] - said[:, None]).square().mean(1)
    right_BMW, mine_BMW = (said / distil.temperature)[:, None].expand_as(part_BMW), part_BMW / distil.temperature
    if head.kind == "label" and not steps:
        right_BMW = right_BMW.log_softmax(-1)
        each_BM = (right_BMW.exp() * (right_BMW - mine_BMW.log_softmax(-1))).sum(-1)
    else:
        share_BMW = right_BMW.sigmoid()
        each_BMW = (share_BMW * (F.logsigmoid(right_BMW) - F.logsigmoid(mine_BMW))
                    + (1 - share_BMW) * (F.logsigmoid(-right_BMW) - F.logsigmoid(-mine_BMW)))
        each_BM = each_BMW.sum(-1) if steps else each_BMW.mean(-1)
    found: torch.Tensor = distil.temperature**2 * each_BM.mean(1)
    return found


def _beyond(log_BC: torch.Tensor) -> torch.Tensor:
    """Return the logits [B, C - 1] of a label beyond each step but the last, of log-probabilities of the labels."""
    up_BC, down_BC = log_BC.logcumsumexp(-1), log_BC.flip(-1).logcumsumexp(-1).flip(-1)
    return down_BC[:, 1:] - up_BC[:, :-1]


def _joined(distil: Distil, own: tuple[torch.Tensor, torch.Tensor, torch.Tensor], taught_B: torch.Tensor,
            weight_B: torch.Tensor) -> torch.Tensor:
    """Return label_weight x own loss + (1 - label_weight) x the teachers' part of each row [B]; without the target the first is 0.

    `own`: the loss of the rows that have the target, their weights (classes' weights included), and which rows they are.
    """
    import torch

    row_P, mass_P, present_B = own
    weight_P = weight_B[present_B]
    own_B = torch.zeros_like(taught_B)
    own_B[present_B] = row_P * torch.where(weight_P > 0, mass_P / weight_P.clamp(min=1e-30), 0.0)
    return distil.label_weight * own_B + (1 - distil.label_weight) * taught_B


def _number_loss(config: Supervised, head: Head, part_PMW: torch.Tensor, target_P: torch.Tensor) -> torch.Tensor:
    """Return the error of the estimate and the pinball loss of the quantiles, [P]."""
    import torch
    import torch.nn.functional as F

    gap_PM = part_PMW[:, :, 0] - target_P[:, None]
    if config.loss == "mse":
        error_PM = gap_PM.square()
    elif config.loss == "mae":
        error_PM = gap_PM.abs()
    else:
        error_PM = F.huber_loss(part_PMW[:, :, 0], target_P[:, None].expand_as(gap_PM), reduction="none", delta=config.huber_delta or 1.0)
    if not head.quantiles:
        return error_PM.mean(1)
    level_Q = torch.tensor(head.quantiles, dtype=part_PMW.dtype)
    below_PMQ = target_P[:, None, None] - part_PMW[:, :, 1:]
    pinball_PMQ = torch.maximum(level_Q * below_PMQ, (level_Q - 1) * below_PMQ)
    return error_PM.mean(1) + pinball_PMQ.mean(dim=(1, 2))


def _naive(config: Supervised, heads: tuple[Head, ...], columns: tuple[Column, ...], batch: Batch) -> float:
    """Return the loss of predicting the training split's shares of the classes, or a scaled number of 0 (its mean), for every row."""
    import torch

    outputs = []
    for head, column in zip(heads, columns, strict=True):
        if head.kind == "number":
            outputs.append(torch.zeros(head.width))
            continue
        count_W = torch.tensor([float(column.facts["counts"][label]) for label in head.labels])
        share_W = (count_W / float(column.facts.get("rows", count_W.sum()))).clamp(1e-6, 1 - 1e-6)
        if head.link == "ordinal":
            outputs.append((1 - share_W.cumsum(0)[:-1]).clamp(1e-6, 1 - 1e-6).logit())
        else:
            outputs.append(share_W.log() if head.kind == "label" else share_W.logit())
    row_O = torch.cat(outputs)

    class _Constant(torch.nn.Module):
        def forward(self, first: torch.Tensor | None = None, *others: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
            return row_O.expand(len(named["numbers"]), 1, -1) if first is None else row_O.expand(len(first), -1)

    return float(_loss(config.model_copy(update={"l1": 0.0}), heads, {}, _Constant(), batch).total)
