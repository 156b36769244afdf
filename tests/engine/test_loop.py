"""The training loop on a small regression: it learns, resumes bit for bit, and refuses to fail silently."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.core.errors import GuardError, Interrupted, UserError
from bessemer.core.events import Events
from bessemer.core.run import RunContext, Stop
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine.checkpoint import Checkpoints
from bessemer.engine.config import TrainingConfig
from bessemer.engine.guards import overfitting
from bessemer.engine.job import Job, backpropagate
from bessemer.engine.loop import Fit, fit
from bessemer.engine.optim import forget, make_optimizer
from bessemer.engine.sampler import BatchShape
from bessemer.nn.sparse import SparseLinear

ROWS = 200


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(-1)


def make_task(poisoned: int | None = None) -> Task:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 4)).astype(np.float32)
    y = (x @ np.array([1, -2, 3, 0.5], np.float32)).astype(np.float32)
    if poisoned is not None:
        x[poisoned] = np.nan

    def batch(positions: np.ndarray, epoch: int) -> Batch:
        return Batch({"x": {"values": torch.from_numpy(x[positions])}}, {"y": torch.from_numpy(y[positions])},
                     row_ids=torch.from_numpy(positions + 1000))

    def loss(network: torch.nn.Module, item: Batch) -> Loss:
        per_row = (network(item.inputs["x"]["values"]) - item.targets["y"]) ** 2
        return Loss(per_row.mean(), {"mse": (per_row.detach().sum(), len(per_row))}, per_row.detach())

    return Task("toy", (), batch, loss, generator.integers(1, 9, ROWS), ROWS)


def make_job(folder: Path, task: Task | None = None, **settings: Any) -> Job:
    torch.set_num_threads(1)
    task = task or make_task()
    network = Net()
    context = RunContext("toy", "k" * 64, 7, 1, folder, folder / "state", Events(), Stop(), {})
    config = TrainingConfig(**{"num_train_epochs": 4, "learning_rate": 1e-2, "per_device_train_batch_size": 16, "evals_per_epoch": 2,
                               "logging_steps": 3, **settings})

    def validate() -> dict[str, float]:
        return {"loss": float(task.loss(network, task.batch(np.arange(50), -1)).total.detach())}

    return Job(network, task, config, BatchShape(16, None, 0, 100), context, validate, ("loss", False))


def bytes_of(result: Fit, network: torch.nn.Module) -> tuple[bytes, bytes, str]:
    weights = b"".join(value.detach().numpy().tobytes() for value in network.state_dict().values())
    return weights, result.curves.read_bytes(), json.dumps(result.validations)


def interrupted(job: Job, at: int, snapshots: bool) -> Job:
    """Return the job with a gradient function that stops the run at a step, politely or as kill -9 would."""

    def gradients(item: Job, batches: list[Batch], step: int) -> list[Loss]:
        if step == at:
            if not snapshots:
                raise KeyboardInterrupt
            item.context.stop.signal_number = 15
        return backpropagate(item, batches, step)

    return replace(job, gradients=gradients)


def test_loss_falls_and_best_weights_are_kept(tmp_path: Path) -> None:
    job = make_job(tmp_path, num_train_epochs=20)
    result = fit(job)
    values = [item["loss"] for item in result.validations]
    assert result.best_value == min(values) < 0.3 * values[0]
    job.network.eval()
    assert job.validate()["loss"] == result.best_value
    assert result.steps == result.total_steps == 20 * 13


@pytest.mark.parametrize("at", [1, 13, 30, 51])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path: Path, at: int, accumulation: int) -> None:
    at = min(at, 17) if accumulation == 3 else at
    straight = make_job(tmp_path / "a", gradient_accumulation_steps=accumulation)
    expected = bytes_of(fit(straight), straight.network)
    with pytest.raises(Interrupted):
        fit(interrupted(make_job(tmp_path / "b", gradient_accumulation_steps=accumulation), at, snapshots=True))
    again = make_job(tmp_path / "b", gradient_accumulation_steps=accumulation)
    assert bytes_of(fit(again), again.network) == expected


@pytest.mark.parametrize("at", [0, 9, 26, 40])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path, at: int) -> None:
    straight = make_job(tmp_path / "a")
    expected = bytes_of(fit(straight), straight.network)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted(make_job(tmp_path / "b", checkpoint_seconds=1e-9), at, snapshots=False))
    again = make_job(tmp_path / "b")
    assert bytes_of(fit(again), again.network) == expected


@pytest.mark.parametrize("ahead", [0, 1, 7])
def test_batches_do_not_depend_on_how_far_they_are_loaded_ahead(tmp_path: Path, ahead: int) -> None:
    one = make_job(tmp_path / "a")
    expected = bytes_of(fit(one), one.network)
    two = replace(make_job(tmp_path / "b"), ahead=ahead)
    assert bytes_of(fit(two), two.network) == expected


def uniform(task: Task) -> Task:
    return replace(task, costs=None)


def test_an_order_that_is_computed_as_it_is_read_trains_like_the_same_order_held(tmp_path: Path) -> None:
    class Lazy(Sequence):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, at):
            return [self[i] for i in range(*at.indices(6))] if isinstance(at, slice) else np.arange(at * 10, at * 10 + 10)

    one = replace(make_job(tmp_path / "a", uniform(make_task())), order=lambda epoch: [np.arange(at * 10, at * 10 + 10) for at in range(6)])
    two = replace(make_job(tmp_path / "b", uniform(make_task())), order=lambda epoch: Lazy())
    assert bytes_of(fit(one), one.network) == bytes_of(fit(two), two.network)


def test_stops_at_the_value_asked_for(tmp_path: Path) -> None:
    whole = fit(make_job(tmp_path / "a", num_train_epochs=6))
    aim = whole.validations[2]["loss"]
    found = fit(make_job(tmp_path / "b", num_train_epochs=6, stop_at=aim))
    assert found.stopped_early and found.validations[-1]["loss"] <= aim and len(found.validations) <= 3


def test_stops_where_the_naive_predictor_is_better(tmp_path: Path) -> None:
    notes: list[str] = []
    job = replace(make_job(tmp_path, num_train_epochs=4, naive_after=0.5), naive=0.0)
    job.context.events.listeners.append(lambda kind, data: notes.append(str(data.get("message", ""))))
    found = fit(job)
    assert found.stopped_early and found.steps < found.total_steps
    assert "is worse than the naive predictor's 0: the network has learnt nothing from the inputs" in " ".join(notes)


class SparseNet(Net):
    def __init__(self) -> None:
        super().__init__()
        self.layers[0] = SparseLinear(4, 16, sparsity=0.5)


def sparse_job(folder: Path) -> Job:
    torch.manual_seed(0)
    job = replace(make_job(folder, checkpoint_seconds=1e-9), network=SparseNet())

    def validate() -> dict[str, float]:
        return {"loss": float(job.task.loss(job.network, job.task.batch(np.arange(50), -1)).total.detach())}

    def before_step(step: int, total: int, batches: list[Batch]) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        layer = job.network.layers[0]
        return [(layer.values, layer.regrow(0.5, torch.Generator().manual_seed(step)))] if step % 5 == 4 else []

    return replace(job, validate=validate, before_step=before_step)


def test_connections_that_are_regrown_resume_bit_for_bit(tmp_path: Path) -> None:
    straight = sparse_job(tmp_path / "a")
    first = straight.network.layers[0].columns.clone()
    expected = bytes_of(fit(straight), straight.network)
    assert not torch.equal(first, straight.network.layers[0].columns)
    for at in (7, 24):
        with pytest.raises(KeyboardInterrupt):
            fit(interrupted(sparse_job(tmp_path / "b"), at, snapshots=False))
    again = sparse_job(tmp_path / "b")
    assert bytes_of(fit(again), again.network) == expected


def test_the_optimiser_forgets_what_is_new(tmp_path: Path) -> None:
    job = sparse_job(tmp_path)
    optimizer = make_optimizer(job.network, job.config)
    assert [group["weight_decay"] > 0 for group in optimizer.param_groups if any(item is job.network.layers[0].values
                                                                                 for item in group["params"])] == [True]
    job.task.loss(job.network, job.task.batch(np.arange(9), 0)).total.backward()
    optimizer.step()
    values = job.network.layers[0].values
    forget(optimizer, values, torch.tensor([0, 3]))
    kept = optimizer.state[values]
    assert all((kept[name][[0, 3]] == 0).all() and (kept[name] != 0).any() for name in ("exp_avg", "exp_avg_sq"))


def test_loss_that_is_not_finite_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"the loss is not finite \(nan\) in step \d+; row_id of the rows: 1042; lower learning_rate"):
        fit(make_job(tmp_path, make_task(poisoned=42)))


def test_weights_that_do_not_move_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(GuardError, match="not one of 4 trainable tensors has moved"):
        fit(make_job(tmp_path, learning_rate=0.0))


def test_nothing_trainable_is_an_error(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    job.network.requires_grad_(False)
    with pytest.raises((GuardError, ValueError)):
        fit(job)


def test_early_stopping(tmp_path: Path) -> None:
    result = fit(make_job(tmp_path, num_train_epochs=500, learning_rate=0.05, early_stopping_patience=3))
    assert result.stopped_early and result.steps < result.total_steps
    values = [item["loss"] for item in result.validations]
    assert min(values) not in values[-3:]


def test_every_training_key_counts_as_read(tmp_path: Path) -> None:
    from bessemer.core.config import ReadTracker

    settings = {"early_stopping_patience": 3, "max_grad_norm": 1.0, "num_train_epochs": 1}
    for _ in range(2):  # the second run finds the first one's work
        with ReadTracker() as tracker:
            job = make_job(tmp_path, **settings)
            fit(job)
        assert tracker.unread(job.config) == []


def test_unknown_metric_gives_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no validation metric 'lss'; did you mean 'loss'"):
        fit(replace(make_job(tmp_path), metric=("lss", False)))


def test_accumulated_gradient_is_the_large_batchs(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    job.network.eval()
    halves = [job.task.batch(np.arange(0, 16), 0), job.task.batch(np.arange(16, 32), 0)]
    backpropagate(job, halves, 0)
    summed = [value.grad.clone() for value in job.network.parameters() if value.grad is not None]
    job.network.zero_grad()
    backpropagate(job, [job.task.batch(np.arange(32), 0)], 0)
    for one, other in zip(summed, [value.grad for value in job.network.parameters()], strict=True):
        assert other is not None and torch.allclose(one, other, atol=1e-5)


def stopped(tmp_path: Path) -> Path:
    with pytest.raises(Interrupted):
        fit(interrupted(make_job(tmp_path), 20, snapshots=True))
    return next((tmp_path / "state" / "checkpoints").glob("step-*"))


def test_checkpoint_with_a_pickle_is_refused(tmp_path: Path) -> None:
    (stopped(tmp_path) / "extra.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="extra.pt' may hold a pickle, which can run code when opened"):
        fit(make_job(tmp_path))


def test_altered_checkpoint_is_refused(tmp_path: Path) -> None:
    file = stopped(tmp_path) / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(UserError, match="weights.safetensors' is not as it was written"):
        fit(make_job(tmp_path))


def test_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "step-000000009.part"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path).latest() is None


def test_overfitting_alarm() -> None:
    def points(train: list[float], valid: list[float]) -> list[dict[str, Any]]:
        return [{"step": 10 * i, "train_loss": a, "loss": b} for i, (a, b) in enumerate(zip(train, valid, strict=True))]

    alarm = overfitting(points([1, 0.5, 0.3, 0.1], [0.6, 0.5, 0.6, 0.7]))
    assert alarm is not None and alarm["since_step"] == 10
    assert overfitting(points([1, 0.5, 0.3, 0.1], [0.6, 0.5, 0.51, 0.5])) is None
    assert overfitting(points([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])) is None  # training loss rises too: something else
