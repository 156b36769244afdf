"""A batch of texts computed in parts: the whole batch's gradients, the same bytes after a kill, refused where that would not hold."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext, Stop
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job, backpropagate
from bessemer.engine.loop import Fit, fit
from bessemer.engine.parts import Parts, runs
from bessemer.engine.sampler import BatchShape
from bessemer.nn.bert import Bert
from bessemer.nn.dropout import Dropout
from bessemer.nn.lora import LoraLinear
from bessemer.nn.quantized import RoundedLinear
from bessemer.testing import rows


def task_of(kind: str, **settings: Any) -> Task:
    config = make("tasks", {"kind": kind, **settings})
    return plugin_of("tasks", config).function(config, rows.split_of(60))


def bert(task: Task, dropout: float = 0.0) -> Bert:
    network = rows.network(task.heads)
    for module in network.modules():
        if isinstance(module, Dropout):
            module.p = dropout
        if hasattr(module, "dropout_prob"):
            setattr(module, "dropout_prob", dropout)  # noqa: B010
    return network.train()


def job_of(folder: Path, task: Task, network: torch.nn.Module, **settings: Any) -> Job:
    torch.set_num_threads(1)
    context = RunContext("toy", "k" * 64, 7, 1, folder, folder / "state", Events(), Stop(), {})
    config = TrainingConfig(**{"num_train_epochs": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 16, "logging_steps": 3,
                               **settings})

    def validate() -> dict[str, float]:
        return {"loss": float(task.loss(network, task.batch(np.arange(20), -1)).total.detach())}

    return Job(network, task, config, BatchShape(16, None, 2, 32), context, validate, ("loss", False))


def bytes_of(result: Fit, network: torch.nn.Module) -> tuple[bytes, bytes, str]:
    weights = b"".join(value.detach().numpy().tobytes() for value in network.state_dict().values())
    return weights, result.curves.read_bytes(), json.dumps(result.validations)


@pytest.mark.parametrize(("kind", "settings"), [("mlm", {}), ("distillation", {}), ("classification", {}), ("classification", {
    "class_weights": "balanced", "label_smoothing": 0.1})])
@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_gradients_are_those_of_the_whole_batch(tmp_path: Path, kind: str, settings: dict[str, Any], threads: int, accumulation: int
                                                ) -> None:
    task = task_of(kind, **settings)
    cuts = [np.arange(start, start + 30) for start in range(0, 30 * accumulation, 30)]
    whole = job_of(tmp_path, task, bert(task))
    expected = backpropagate(whole, [task.batch(cut, 0) for cut in cuts], 0)[-1]
    network = bert(task)
    parts = Parts(network, task, threads)
    cut_task = parts.cut()
    found = backpropagate(replace(whole, network=network, task=cut_task, parts=parts), [cut_task.batch(cut, 0) for cut in cuts], 0)[-1]
    parts.close()
    torch.testing.assert_close(found.total, expected.total.detach(), rtol=1e-5, atol=1e-6)
    for name, (total, count) in expected.sums.items():
        assert float(found.sums[name][0]) == pytest.approx(float(total), rel=1e-5)
        assert float(found.sums[name][1]) == pytest.approx(float(count), rel=1e-6)
    for value, other in zip(network.parameters(), whole.network.parameters(), strict=True):
        assert (value.grad is None) == (other.grad is None)
        if value.grad is not None:
            torch.testing.assert_close(value.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["mlm", "classification"])
def test_a_killed_run_ends_with_the_same_bytes_though_values_are_dropped(tmp_path: Path, kind: str) -> None:
    task = task_of(kind)

    def job(name: str) -> Job:
        return job_of(tmp_path / name, task, bert(task, 0.2), gradient_threads=3, checkpoint_seconds=1e-9)

    straight = job("a")
    expected = bytes_of(fit(straight), straight.network)
    for at in (2, 7):

        def killed(item: Job, batches: list[Batch], step: int, at: int = at) -> list[Loss]:
            if step == at:
                raise KeyboardInterrupt
            return backpropagate(item, batches, step)

        with pytest.raises(KeyboardInterrupt):
            fit(replace(job("b"), gradients=killed))
    again = job("b")
    assert bytes_of(fit(again), again.network) == expected


def test_what_is_frozen_stays_so(tmp_path: Path) -> None:
    task = task_of("classification")
    network = bert(task)
    network.bert.requires_grad_(False)
    before = [value.clone() for value in network.bert.parameters()]
    fit(job_of(tmp_path, task, network, gradient_threads=2))
    assert all(value.grad is None and torch.equal(value, old) for value, old in zip(network.bert.parameters(), before, strict=True))


def with_layer(network: Bert, make_layer: Callable[[nn.Linear], nn.Module]) -> Bert:
    layer: Any = network.bert.encoder.layer[0]
    layer.attention.self.query = make_layer(layer.attention.self.query)
    return network


def test_low_rank_updates_are_computed_in_parts(tmp_path: Path) -> None:
    task = task_of("classification")
    network = with_layer(bert(task), lambda layer: LoraLinear(layer, 2, 4.0, 0.1))
    assert fit(job_of(tmp_path, task, network, gradient_threads=2)).steps == 12


def test_what_cannot_be_computed_in_parts_is_refused(tmp_path: Path) -> None:
    task, out = task_of("classification"), "set gradient_threads: 1 and give the recipe 'threads'"
    rounded = with_layer(bert(task), lambda layer: RoundedLinear(layer, 127, "batch"))
    for network, job, said in [
            (rounded, task, f"the network holds a RoundedLinear, which may not be computed in parts; {out}"),
            (bert(task), replace(task, mass=None),
             f"the task 'classification' is not computed in parts (classification, distillation without relations and mlm are); {out}")]:
        with pytest.raises(UserError) as error:
            fit(job_of(tmp_path, job, network, gradient_threads=2))
        assert str(error.value) == f"gradient_threads is 2, but {said}"


def test_runs_have_about_the_same_cost_and_hold_every_row() -> None:
    generator = np.random.default_rng(0)
    for size in (1, 2, 5, 32):
        for count in (1, 2, 3, 40):
            costs, positions = np.sort(generator.integers(1, 200, size)), generator.permutation(size)
            found = runs(costs, positions, count)
            assert np.array_equal(np.concatenate(found), positions) and all(len(part) for part in found) and len(found) <= count
    costs = np.sort(generator.integers(60, 70, 32))
    first, second = runs(costs, costs, 2)
    assert abs(first.sum() - second.sum()) <= 70
