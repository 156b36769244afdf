"""The only training loop.

Everything random is a function of (seed, step) or (seed, epoch, row), and everything else that decides the next step is in
the checkpoint; so a run that is killed at any moment and run again ends with the same bytes as one left alone (same machine,
same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bessemer.core.errors import UserError, nearest
from bessemer.core.run import Cost
from bessemer.core.types import Batch
from bessemer.engine import guards
from bessemer.engine.averages import Averages, check_averaging
from bessemer.engine.checkpoint import Checkpoints, Snapshot, Tensors, copy, optimizer_tensors, restore_optimizer
from bessemer.engine.curves import Curves
from bessemer.engine.job import Job, batches_of, make_plan, positions_of
from bessemer.engine.layers import Unfreezing
from bessemer.engine.optim import forget, make_optimizer, make_schedule, penalise
from bessemer.engine.parts import Parts
from bessemer.engine.precision import in_bfloat16, mixed
from bessemer.engine.sampler import padded_costs
from bessemer.engine.split import Split
from bessemer.nn.network import Network

REHEARSED_STEPS = 8


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


def _ahead(job: Job, positions: Iterator[tuple[int, list[np.ndarray]]]) -> Iterator[tuple[int, list[Batch]]]:
    """Assemble batches in a second thread, a few steps ahead."""

    def load(item: tuple[int, list[np.ndarray]]) -> tuple[int, list[Batch]]:
        return item[0], [job.task.batch(rows, item[0]) for rows in item[1]]

    if not job.ahead:
        for item in positions:
            yield load(item)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    queue: list[Future[tuple[int, list[Batch]]]] = []
    try:
        for item in positions:
            queue.append(pool.submit(load, item))
            if len(queue) > job.ahead:
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


def _averages(job: Job, total: int) -> Averages | None:
    if job.config.averaging is None:
        return None
    check_averaging(job.network, job.before_step is not None)
    return Averages(job.config.averaging, {name: value for name, value in job.network.named_parameters() if value.requires_grad}, total)


class _Session:
    """One training under way: the state, the optimiser and the files, and the moves between them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.plan = make_plan(job)
        self.optimizer = make_optimizer(job.network, job.config)
        self.rate = make_schedule(job.config, self.plan.total)
        self.unfreezing = Unfreezing(job.network, job.config.gradual_unfreezing, self.plan.whole[0])
        self.averages = _averages(job, self.plan.total)
        self.before = guards.probe(job.network)
        self.state = State()
        self.best: Tensors = {}
        self.last: dict[str, float] = {}
        self.checkpoints = Checkpoints(job.context.state / "checkpoints")
        found = None if job.context.rehearsal else self.checkpoints.latest()
        offset = 0
        if found is not None:
            _restore(job.network, found.weights)
            restore_optimizer(self.optimizer, found.optimizer)
            self.best, saved = found.best, dict(found.state)
            if self.averages:
                self.averages.values = found.average
            offset = int(saved.pop("curves"))
            self.state = State(step=found.step, **saved)
            job.context.note(f"goes on from step {found.step} of {self.plan.total}")
        self.curves = Curves(job.context.state / "curves.jsonl", offset)
        self.saved_at = time.monotonic()

    def save(self, *, wait: bool = False) -> None:
        """Take a snapshot and have it written."""
        state = {**deepcopy(vars(self.state)), "curves": self.curves.offset()}  # the writer's thread must see no later change
        snapshot = Snapshot(state.pop("step"), copy(_trained(self.job.network)), copy(optimizer_tensors(self.optimizer)), self.best,
                            state, copy(self.averages.values) if self.averages else {})
        self.checkpoints.save(snapshot, wait=wait)
        self.saved_at = time.monotonic()

    def step(self, batches: list[Batch], epoch: float) -> dict[str, float]:
        """Do one optimiser step; return what to show."""
        job, state = self.job, self.state
        for value, fresh in job.before_step(state.step, self.plan.total, batches) if job.before_step else []:
            forget(self.optimizer, value, fresh)
        rate = self.rate(state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        with self.unfreezing.at(self.plan.total if job.context.rehearsal else state.step):  # a rehearsal measures what costs most
            losses = job.gradients(job, batches, state.step)
        penalise(self.optimizer)
        limit = job.config.max_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(job.network.parameters(), math.inf if limit is None else limit))
        guards.check_gradient(norm, state.step, batches[0])
        self.optimizer.step()
        state.step += 1
        if self.averages:
            self.averages.add(state.step)
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
        """Score the network, its averaged weights where there are, keep them if they are the best so far, count towards early stopping."""
        with self.averages.in_place() if self.averages else nullcontext():
            self._validate(epoch)

    def _validate(self, epoch: float) -> None:
        job, state = self.job, self.state
        training = job.network.training
        job.network.eval()
        with torch.inference_mode():
            values = self.last = job.validate()
        job.network.train(training)
        name, more = job.metric
        if name not in values:
            raise UserError(f"metric_for_best_model: there is no validation metric '{name}'{nearest(name, values)}")
        means = {key: total / count for key, (total, count) in state.sums.items() if count}
        state.sums = {}
        state.validations.append({"step": state.step, "epoch": round(epoch, 6), "train_loss": means.get("loss", math.nan), **values})
        self.curves.add(state.step, epoch, **{f"validation_{key}": value for key, value in values.items()})
        value = values[name]
        settled = max(job.settled(self.plan.total) if job.settled else 0, self.averages.start + 1 if self.averages else 0)
        first = state.best_step < settled <= state.step  # what was the best before was another kind of network
        if state.best_value is None or first or (value > state.best_value if more else value < state.best_value):
            state.best_value, state.best_step, state.without_better = value, state.step, 0
            self.best = copy(_trained(job.network))
        else:
            state.without_better += 1
        state.stopped = state.step >= settled and self.why_stop(values) is not None

    def why_stop(self, values: dict[str, float]) -> str | None:
        """Return why training should end after a validation that gave `values`, or None."""
        config, state = self.job.config, self.state
        (name, more), patience, aim = self.job.metric, config.early_stopping_patience, config.stop_at
        if aim is not None and (values[name] >= aim if more else values[name] <= aim):
            return f"{name} has reached {values[name]:.7g} (stop_at {aim:g})"
        if patience is not None and state.without_better >= patience:
            return f"{name} has not become better in {patience} validations"
        late = config.naive_after is not None and state.step >= config.naive_after * self.plan.total
        if late and self.job.naive is not None and not values["loss"] <= self.job.naive:
            return (f"after {state.step} steps the validation loss {values['loss']:.6g} is worse than the naive predictor's "
                    f"{self.job.naive:.6g}: the network has learnt nothing from the inputs; lower learning_rate, or look at the columns")
        return None


def fit(job: Job) -> Fit:
    """Train until the plan ends or patience runs out; the network is left with the best weights."""
    job.config.model_dump()  # every key counts as read, those too that matter only if validation worsens or a run resumes
    device = mixed(job.network, job.config.bf16)
    if device is not None and not job.rounded:
        return fit(replace(job, task=in_bfloat16(job.task, device), rounded=True))
    if job.config.gradient_threads > 1 and isinstance(job.network, Network) and job.parts is None:
        with closing(Parts(job.network, job.task, job.config.gradient_threads)) as parts:
            return fit(replace(job, parts=parts, task=parts.cut()))
    if job.config.gradient_threads > 1 and job.split is None and job.parts is None:
        with closing(Split(job.network, job.config.gradient_threads)) as split:
            return fit(replace(job, split=split))
    if job.context.rehearsal:
        return _rehearse(job)
    session = _Session(job)
    plan, state, context = session.plan, session.state, job.context
    untrained = session.unfreezing.untrained(plan.total)
    if untrained:
        context.note(untrained)
    check_after = min(plan.total, math.ceil(job.config.warmup_ratio * plan.total) + 2)
    job.network.train()
    with closing(session.curves), closing(session.checkpoints), context.progress("train", plan.total, "steps") as progress:
        progress.advance(state.step)
        if not state.stopped:
            for index, batches in _ahead(job, positions_of(job, plan, state.step)):
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
                    context.note(f"stops early: {session.why_stop(session.last)}")
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
    batches = batches_of(job, 0)
    if job.task.costs is None:
        batches = batches[:REHEARSED_STEPS + 1]
        sizes = np.array([len(batch) for batch in batches])
    else:
        costs = padded_costs(job.task.costs, job.shape)
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
