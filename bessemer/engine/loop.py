"""The only training loop.

Everything random is a function of (seed, step) or (seed, epoch, row), and everything else that decides the next step is in
the checkpoint; so a run that is killed at any moment and run again ends with the same bytes as one left alone (same machine,
same number of threads).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.core.errors import UserError, nearest
from bessemer.core.run import Cost, RunContext
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine import guards
from bessemer.engine.checkpoint import Checkpoints, Snapshot, Tensors, copy, optimizer_tensors, restore_optimizer
from bessemer.engine.config import TrainingConfig
from bessemer.engine.curves import Curves
from bessemer.engine.optim import make_optimizer, make_schedule
from bessemer.engine.sampler import BatchShape, Sampler, by_length, padded_costs

AHEAD = 3
REHEARSED_STEPS = 8
Gradients = Callable[["Job", list[Batch], int], list[Loss]]


def backpropagate(job: Job, batches: list[Batch], step: int) -> list[Loss]:
    """Add up the gradients of the mean loss over `batches`: the default gradient function."""
    losses = []
    for index, batch in enumerate(batches):
        torch.manual_seed(step_seed(job.context.seed, step, index))
        loss = job.task.loss(job.network, batch)
        guards.check_finite(loss, batch, step)
        (loss.total / len(batches) if len(batches) > 1 else loss.total).backward()  # type: ignore[no-untyped-call]
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
        sampler: which rows make which batch of which epoch.
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
    sampler: Sampler = by_length


@dataclass
class State:
    """What changes from step to step; all of it is in the checkpoint."""

    step: int = 0
    best_value: float | None = None
    best_step: int = 0
    without_better: int = 0
    stopped: bool = False
    sums: dict[str, list[float]] = field(default_factory=dict)
    logged_sums: dict[str, list[float]] = field(default_factory=dict)
    validations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Fit:
    """The result of a training; the network holds the best weights.

    Attributes:
        steps: optimiser steps done.
        total_steps: steps planned.
        best_step: the step whose weights were kept.
        best_value: their validation metric.
        stopped_early: whether patience ran out.
        validations: every validation's values.
        overfitting: the alarm, or None.
        curves: the file of curve points.
    """

    steps: int
    total_steps: int
    best_step: int
    best_value: float
    stopped_early: bool
    validations: list[dict[str, Any]]
    overfitting: dict[str, Any] | None
    curves: Path


def step_seed(seed: int, step: int, part: int) -> int:
    """Return the seed of the framework's generator (dropout) for one part of one step."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{step}:{part}".encode(), digest_size=8).digest(), "big") >> 1


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


def make_plan(job: Job) -> Plan:
    """Count the steps of every epoch and place the validations."""
    config, epochs = job.config, job.config.num_train_epochs
    costs = padded_costs(job.task.costs, job.shape)
    steps: list[int] = []
    wholes: list[int] = []
    tokens = 0
    ends: set[int] = set()
    for epoch in range(math.ceil(epochs)):
        batches = job.sampler(job.context.seed, epoch, job.task.costs, job.shape)
        whole = math.ceil(len(batches) / config.gradient_accumulation_steps)
        part = min(1.0, epochs - epoch)
        count = max(1, round(whole * part))
        if config.max_steps is not None:
            count = min(count, config.max_steps - sum(steps))
        before = sum(steps)
        tokens += sum(int(costs[batch].max()) * len(batch) for batch in batches[:count * config.gradient_accumulation_steps])
        ends |= {before + round(whole * k / config.evals_per_epoch) for k in range(1, config.evals_per_epoch + 1)}
        steps.append(count)
        wholes.append(whole)
        if config.max_steps is not None and sum(steps) >= config.max_steps:
            break
    total = sum(steps)
    return Plan(tuple(steps), tuple(wholes), frozenset({step for step in ends if 0 < step < total} | {total}), tokens)


def _positions(job: Job, plan: Plan, start: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield (epoch, positions of each batch) for every step from `start` on."""
    size = job.config.gradient_accumulation_steps
    first = 0
    for epoch, count in enumerate(plan.steps):
        if start < first + count:
            batches = job.sampler(job.context.seed, epoch, job.task.costs, job.shape)
            for index in range(max(0, start - first), count):
                yield epoch, batches[index * size:(index + 1) * size]
        first += count


def _ahead(job: Job, positions: Iterator[tuple[int, list[np.ndarray]]]) -> Iterator[tuple[int, list[Batch]]]:
    """Assemble batches in a second thread, a few steps ahead."""

    def load(item: tuple[int, list[np.ndarray]]) -> tuple[int, list[Batch]]:
        return item[0], [job.task.batch(rows, item[0]) for rows in item[1]]

    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    queue: list[Future[tuple[int, list[Batch]]]] = []
    try:
        for item in positions:
            queue.append(pool.submit(load, item))
            if len(queue) > AHEAD:
                yield queue.pop(0).result()
        while queue:
            yield queue.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _trained(network: torch.nn.Module) -> Tensors:
    parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
    return {**parameters, **dict(network.named_buffers())}


def _restore(network: torch.nn.Module, tensors: Tensors) -> None:
    with torch.no_grad():
        for name, value in _trained(network).items():
            value.copy_(tensors[name])


class _Session:
    """One training under way: the state, the optimiser and the files, and the moves between them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.plan = make_plan(job)
        self.optimizer = make_optimizer(job.network, job.config)
        self.rate = make_schedule(job.config, self.plan.total)
        self.before = guards.probe(job.network)
        self.state = State()
        self.best: Tensors = {}
        self.checkpoints = Checkpoints(job.context.state / "checkpoints")
        found = None if job.context.rehearsal else self.checkpoints.latest()
        offset = 0
        if found is not None:
            _restore(job.network, found.weights)
            restore_optimizer(self.optimizer, found.optimizer)
            self.best, saved = found.best, dict(found.state)
            offset = int(saved.pop("curves"))
            self.state = State(step=found.step, **saved)
            job.context.note(f"goes on from step {found.step} of {self.plan.total}")
        self.curves = Curves(job.context.state / "curves.jsonl", offset)
        self.saved_at = time.monotonic()

    def save(self, *, wait: bool = False) -> None:
        """Take a snapshot and have it written."""
        state = {**deepcopy(vars(self.state)), "curves": self.curves.offset()}  # the writer's thread must see no later change
        snapshot = Snapshot(state.pop("step"), copy(_trained(self.job.network)), copy(optimizer_tensors(self.optimizer)), self.best,
                            state)
        self.checkpoints.save(snapshot, wait=wait)
        self.saved_at = time.monotonic()

    def step(self, batches: list[Batch], epoch: float) -> dict[str, float]:
        """Do one optimiser step; return what to show."""
        job, state = self.job, self.state
        rate = self.rate(state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        losses = job.gradients(job, batches, state.step)
        limit = job.config.max_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(job.network.parameters(), math.inf if limit is None else limit))
        guards.check_gradient(norm, state.step, batches[0])
        self.optimizer.step()
        state.step += 1
        for loss in losses:
            for name, (total, count) in {"loss": (loss.total.detach(), 1), **loss.sums}.items():
                for book in (state.sums, state.logged_sums):
                    entry = book.setdefault(name, [0.0, 0.0])
                    entry[0] += float(total)
                    entry[1] += float(count)
        if state.step % job.config.logging_steps == 0 or state.step == self.plan.total:
            means = {name: total / count for name, (total, count) in state.logged_sums.items() if count}
            self.curves.add(state.step, epoch, **means, learning_rate=rate, grad_norm=norm)
            state.logged_sums = {}
        return {name: total / count for name, (total, count) in losses[-1].sums.items() if count}

    def validate(self, epoch: float) -> None:
        """Score the network, keep its weights if they are the best so far, count towards early stopping."""
        job, state = self.job, self.state
        training = job.network.training
        job.network.eval()
        with torch.inference_mode():
            values = job.validate()
        job.network.train(training)
        name, more = job.metric
        if name not in values:
            raise UserError(f"metric_for_best_model: there is no validation metric '{name}'{nearest(name, values)}")
        means = {key: total / count for key, (total, count) in state.sums.items() if count}
        state.sums = {}
        state.validations.append({"step": state.step, "epoch": round(epoch, 6), "train_loss": means.get("loss", math.nan), **values})
        self.curves.add(state.step, epoch, **{f"validation_{key}": value for key, value in values.items()})
        value = values[name]
        if state.best_value is None or (value > state.best_value if more else value < state.best_value):
            state.best_value, state.best_step, state.without_better = value, state.step, 0
            self.best = copy(_trained(job.network))
        else:
            state.without_better += 1
            patience = job.config.early_stopping_patience
            state.stopped = patience is not None and state.without_better >= patience


def fit(job: Job) -> Fit:
    """Train until the plan ends or patience runs out; the network is left with the best weights."""
    job.config.model_dump()  # every key counts as read, those too that matter only if validation worsens or a run resumes
    if job.context.rehearsal:
        return _rehearse(job)
    session = _Session(job)
    plan, state, context = session.plan, session.state, job.context
    check_after = min(plan.total, math.ceil(job.config.warmup_ratio * plan.total) + 2)
    job.network.train()
    with closing(session.curves), closing(session.checkpoints), context.progress("train", plan.total, "steps") as progress:
        progress.advance(state.step)
        if not state.stopped:
            for index, batches in _ahead(job, _positions(job, plan, state.step)):
                done = plan.epoch(index, state.step + 1)
                progress.advance(1, **session.step(batches, done))
                if state.step == check_after:
                    guards.check_moved(job.network, session.before, job.config.learning_rate)
                if state.step in plan.validate_after:
                    session.validate(done)
                if context.stop.signal_number:
                    session.save(wait=True)
                    context.check()
                if state.stopped:
                    break
                if time.monotonic() - session.saved_at >= job.config.checkpoint_seconds and not session.checkpoints.busy():
                    session.save()
    session.checkpoints.finish()
    _restore(job.network, session.best)
    return _result(job, session)


def _result(job: Job, session: _Session) -> Fit:
    state = session.state
    alarm = guards.overfitting(state.validations)
    if alarm:
        job.context.note(f"overfitting: {alarm['message']}")
    return Fit(state.step, session.plan.total, state.best_step, float(state.best_value or 0.0), state.stopped, state.validations, alarm,
               job.context.state / "curves.jsonl")


def _rehearse(job: Job) -> Fit:
    """Do a few steps on batches of the real shape, the largest first, and one validation; tell what they cost."""
    session = _Session(job)
    with closing(session.curves):
        _rehearse_steps(job, session)
    _restore(job.network, session.best)
    return _result(job, session)


def _rehearse_steps(job: Job, session: _Session) -> None:
    plan = session.plan
    costs = padded_costs(job.task.costs, job.shape)
    batches = job.sampler(job.context.seed, 0, job.task.costs, job.shape)
    sizes = np.array([int(costs[batch].max()) * len(batch) for batch in batches])
    spread = np.linspace(0, len(batches) - 1, min(len(batches), REHEARSED_STEPS)).astype(int)
    chosen = [int(sizes.argmax()), *(int(item) for item in np.argsort(sizes, kind="stable")[spread])]
    job.network.train()
    seconds, tokens = 0.0, 0
    for position, index in enumerate(chosen):
        batch = job.task.batch(batches[index], 0)
        started = time.perf_counter()
        session.step([batch], 0.0)
        if position:  # the first step also allocates
            seconds += time.perf_counter() - started
            tokens += int(sizes[index])
    guards.check_moved(job.network, session.before, job.config.learning_rate)
    job.context.cost(Cost("training", seconds, tokens, plan.tokens / job.train_part))
    started = time.perf_counter()
    session.validate(0.0)
    job.context.cost(Cost("validation", time.perf_counter() - started, job.validation_part, len(plan.validate_after)))
    session.save(wait=True)
    if session.checkpoints.latest() is None:
        raise UserError(f"the checkpoint that was just written to '{job.context.state}' cannot be found")
