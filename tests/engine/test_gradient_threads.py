"""A batch computed in parts: the whole batch's gradients, the same bytes after a kill, refused where a row is not alone."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext, Stop
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job, backpropagate
from bessemer.engine.loop import Fit, fit
from bessemer.engine.sampler import BatchShape
from bessemer.engine.split import Split
from bessemer.nn.table import TableConfig, TableNetwork
from bessemer.testing import rows

TABLE: dict[str, Any] = {"num_numbers": 3, "cardinalities": (4, 12), "num_outputs": 6, "hidden_sizes": (32, 32), "dropout": 0.0}
SHAPES: dict[str, dict[str, Any]] = {
    "mlp": {}, "linear": {"hidden_sizes": ()}, "members": {"members": 4, "linear_skip": True, "number_embedding": "periodic"},
    "sparse": {"sparsity": 0.5, "residual": True}}


def network_of(**settings: Any) -> TableNetwork:
    torch.manual_seed(0)
    return TableNetwork(TableConfig(**{**TABLE, **settings}))


def task_of(**settings: Any) -> Task:
    config = make("tasks", {"kind": "supervised", **settings})
    return plugin_of("tasks", config).function(config, rows.table_of(200))


def job_of(folder: Path, network: torch.nn.Module, **settings: Any) -> Job:
    torch.set_num_threads(1)
    task = task_of()
    context = RunContext("toy", "k" * 64, 7, 1, folder, folder / "state", Events(), Stop(), {})
    config = TrainingConfig(**{"num_train_epochs": 3, "learning_rate": 1e-2, "per_device_train_batch_size": 30, "logging_steps": 3,
                               **settings})

    def validate() -> dict[str, float]:
        return {"loss": float(task.loss(network, task.batch(np.arange(50), -1)).total.detach())}

    return Job(network, task, config, BatchShape(30, None, 0, 1), context, validate, ("loss", False))


def bytes_of(result: Fit, network: torch.nn.Module) -> tuple[bytes, bytes, str]:
    weights = b"".join(value.detach().numpy().tobytes() for value in network.state_dict().values())
    return weights, result.curves.read_bytes(), json.dumps(result.validations)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_gradients_are_those_of_the_whole_batch(tmp_path: Path, shape: str, threads: int, accumulation: int) -> None:
    whole = job_of(tmp_path, network_of(**SHAPES[shape]))
    task = task_of(l1=1e-3, target_weights={"flags": 0.5}, label_smoothing=0.1, quantiles=[])
    batches = [task.batch(np.arange(start, start + 50), 0) for start in range(0, 50 * accumulation, 50)]
    expected = backpropagate(replace(whole, task=task), batches, 0)[-1]
    wanted = [value.grad for value in whole.network.parameters()]
    network = network_of(**SHAPES[shape])
    split = Split(network, threads)
    found = backpropagate(replace(whole, network=network, task=task, split=split), batches, 0)[-1]
    split.close()
    torch.testing.assert_close(found.total, expected.total, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.per_row, expected.per_row, rtol=1e-5, atol=1e-6)
    assert list(found.sums) == list(expected.sums)
    for value, gradient in zip(network.parameters(), wanted, strict=True):
        assert value.grad is not None and gradient is not None
        torch.testing.assert_close(value.grad, gradient, rtol=1e-6, atol=1e-6)


def test_what_is_frozen_stays_so(tmp_path: Path) -> None:
    network = network_of()
    network.layers.requires_grad_(False)
    before = [value.clone() for value in network.layers.parameters()]
    fit(job_of(tmp_path, network, gradient_threads=2))
    assert all(value.grad is None and torch.equal(value, old) for value, old in zip(network.layers.parameters(), before, strict=True))


@pytest.mark.parametrize("shape", ["mlp", "members"])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, shape: str) -> None:
    def job(name: str) -> Job:
        return job_of(tmp_path / name, network_of(**SHAPES[shape]), gradient_threads=2, checkpoint_seconds=1e-9)

    straight = job("a")
    expected = bytes_of(fit(straight), straight.network)
    for at in (4, 13):

        def killed(item: Job, batches: list[Batch], step: int, at: int = at) -> list[Loss]:
            if step == at:
                raise KeyboardInterrupt
            return backpropagate(item, batches, step)

        with pytest.raises(KeyboardInterrupt):
            fit(replace(job("b"), gradients=killed))
    again = job("b")
    assert bytes_of(fit(again), again.network) == expected


@pytest.mark.parametrize(("network", "said"), [
    (network_of(dropout=0.1), "gradient_threads is 2, but the network has dropout, whose random choice would depend on how a batch is cut; "
     "set dropout: 0 or gradient_threads: 1"),
    (network_of(batch_norm=True), "gradient_threads is 2, but the network has batch normalisation, which needs the whole batch together; "
     "set batch_norm: false or gradient_threads: 1"),
    (torch.nn.Linear(3, 6), "gradient_threads is 2, but only networks of tables (mlp, members) can be computed in parts; set "
     "gradient_threads: 1 and give the recipe 'threads'")])
def test_networks_whose_rows_are_not_alone_are_refused(tmp_path: Path, network: torch.nn.Module, said: str) -> None:
    with pytest.raises(UserError) as error:
        fit(job_of(tmp_path, network, gradient_threads=2))
    assert str(error.value) == said


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts the process's threads by Linux's /proc")
def test_threads_start_no_threads_of_the_framework() -> None:
    code = """
import os, torch
from bessemer.engine.split import Split
from bessemer.nn.table import TableConfig, TableNetwork
torch.set_num_threads(1)
network = TableNetwork(TableConfig(num_numbers=1000, cardinalities=(), num_outputs=1, hidden_sizes=(100,), dropout=0.0))
before = len(os.listdir('/proc/self/task'))
split = Split(network, 2)
split(numbers=torch.randn(200, 1000), codes=torch.zeros(200, 0, dtype=torch.int64)).sum().backward()
split.collect()
print(len(os.listdir('/proc/self/task')) - before)
split.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.stdout.strip() == "1"
