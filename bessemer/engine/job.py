"""Job: all that one training needs; and which batches make which of its steps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from bessemer.core.run import RunContext
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine import guards
from bessemer.engine.config import TrainingConfig
from bessemer.engine.parts import Parts
from bessemer.engine.sampler import BatchShape, Order, by_length, padded_costs, shuffled
from bessemer.engine.split import Split

AHEAD = 3
Gradients = Callable[["Job", list[Batch], int], list[Loss]]


def step_seed(seed: int, step: int, part: int) -> int:
    """Return the seed of the framework's generator (dropout) for one part of one step."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{step}:{part}".encode(), digest_size=8).digest(), "big") >> 1


def part_seed(seed: int, step: int, batch: int, part: int) -> int:
    """Return the seed of dropout for what one thread computes of one batch of a step."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{step}:{batch}:{part}".encode(), digest_size=8).digest(), "big") >> 1


def backpropagate(job: Job, batches: list[Batch], step: int) -> list[Loss]:
    """Add up the gradients of the mean loss over `batches`: the default gradient function."""
    losses = []
    for index, batch in enumerate(batches):
        if job.parts:
            losses.append(job.parts.gradients(batch, 1 / len(batches), partial(part_seed, job.context.seed, step, index), step))
            continue
        # torch.manual_seed also seeds devices that are not used, and takes a stack trace to do so lazily: up to a millisecond a step
        torch.default_generator.manual_seed(step_seed(job.context.seed, step, index))
        loss = job.task.loss(job.split or job.network, batch)
        guards.check_finite(loss, batch, step)
        (loss.total / len(batches) if len(batches) > 1 else loss.total).backward()  # type: ignore[no-untyped-call]
        if job.split:
            job.split.collect()
        losses.append(loss)
    return losses


@dataclass(frozen=True)
class Job:
    """All that one training needs.

    Attributes:
        network: with initial weights; `requires_grad` says what is trained.
        task: what is learned.
        config: how.
        shape: of its batches.
        context: of the run.
        validate: scores the network on the validation split: name -> value, `loss` among them.
        metric: the name in `validate`'s result that chooses the weights to keep, and whether more is better.
        validation_part: part of the validation split that `validate` reads (below 1 in a rehearsal).
        train_part: part of the real run's rows that the task holds (below 1 in a rehearsal).
        gradients: replaceable: (job, batches, step) -> losses, with gradients left in the parameters.
        order: which rows make which batch of which epoch; by default rows of like cost together, in random order.
        naive: the validation loss of a predictor that knows no input, against which `naive_after` holds; None where there is none.
        before_step: (step, steps in all, the step's batches) -> parameters with the positions in them that are new: what changes the
            network's connections while it trains; the optimiser forgets what it knew of these positions. A pure function of the network,
            the step and the batches.
        ahead: batches assembled in a second thread before they are needed; 0 assembles each where it is used.
        settled: (steps in all) -> the step from which weights may be kept as the best and training may stop early, where `before_step`
            changes what the network is; None: from the first.
        split: the network of a table computed in parts by several threads, which `backpropagate` uses; the loop sets it where the config
            asks for it.
        parts: the same for a network of text.
        rounded: whether the task's loss is computed in bfloat16 already; the loop sets it where the config asks for it.
    """

    network: torch.nn.Module
    task: Task
    config: TrainingConfig
    shape: BatchShape
    context: RunContext
    validate: Callable[[], dict[str, float]]
    metric: tuple[str, bool]
    validation_part: float = 1.0
    train_part: float = 1.0
    gradients: Gradients = backpropagate
    order: Order | None = None
    naive: float | None = None
    before_step: Callable[[int, int, list[Batch]], list[tuple[torch.nn.Parameter, torch.Tensor]]] | None = None
    ahead: int = AHEAD
    settled: Callable[[int], int] | None = None
    split: Split | None = None
    parts: Parts | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Plan:
    """Which batches make which step.

    Attributes:
        steps: optimiser steps done in each epoch.
        whole: steps that each epoch would have if it were done whole.
        validate_after: the steps after which to validate.
        tokens: of all batches, padding counted.
    """

    steps: tuple[int, ...]
    whole: tuple[int, ...]
    validate_after: frozenset[int]
    tokens: int

    @property
    def total(self) -> int:
        """Return the number of optimiser steps."""
        return sum(self.steps)

    def epoch(self, index: int, step: int) -> float:
        """Return how many passes are done after `step` steps, the last of them in epoch `index`."""
        return index + (step - sum(self.steps[:index])) / self.whole[index]


def batches_of(job: Job, epoch: int) -> Sequence[np.ndarray]:
    """Return an epoch's batches of row positions."""
    if job.order is not None:
        return job.order(epoch)
    if job.task.costs is None:
        return shuffled(job.context.seed, epoch, job.task.count, job.shape.rows)
    return by_length(job.context.seed, epoch, job.task.costs, job.shape)


def _tokens(job: Job, batches: Sequence[np.ndarray], count: int) -> int:
    """Return the tokens of the first `count` batches, padding counted; where every row costs the same, their rows."""
    if job.task.costs is None:
        return round(job.task.count * min(1.0, count / max(1, len(batches))))
    costs = padded_costs(job.task.costs, job.shape)
    return sum(int(costs[batch].max()) * len(batch) for batch in batches[:count])


def make_plan(job: Job) -> Plan:
    """Count the steps of every epoch and place the validations."""
    config, epochs = job.config, job.config.num_train_epochs
    steps: list[int] = []
    wholes: list[int] = []
    tokens = 0
    ends: set[int] = set()
    for epoch in range(math.ceil(epochs)):
        batches = batches_of(job, epoch)
        whole = math.ceil(len(batches) / config.gradient_accumulation_steps)
        part = min(1.0, epochs - epoch)
        count = max(1, round(whole * part))
        if config.max_steps is not None:
            count = min(count, config.max_steps - sum(steps))
        before = sum(steps)
        tokens += _tokens(job, batches, count * config.gradient_accumulation_steps)
        ends |= {before + round(whole * k / config.evals_per_epoch) for k in range(1, config.evals_per_epoch + 1)}
        steps.append(count)
        wholes.append(whole)
        if config.max_steps is not None and sum(steps) >= config.max_steps:
            break
    total = sum(steps)
    return Plan(tuple(steps), tuple(wholes), frozenset({step for step in ends if 0 < step < total} | {total}), tokens)


def positions_of(job: Job, plan: Plan, start: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield (epoch, positions of each batch) for every step from `start` on."""
    size = job.config.gradient_accumulation_steps
    first = 0
    for epoch, count in enumerate(plan.steps):
        if start < first + count:
            batches = batches_of(job, epoch)
            for index in range(max(0, start - first), count):
                yield epoch, list(batches[index * size:(index + 1) * size])
        first += count
