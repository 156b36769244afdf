"""The contract of a task: what a row teaches depends on the row, the seed and the epoch, never on its batch.

Legend: B rows, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import torch

from bessemer.core.heads import part_of
from bessemer.core.task_spec import TableSpec, TaskSpec
from bessemer.core.types import Batch, Task
from bessemer.nn.network import Network
from bessemer.testing import rows
from bessemer.testing.plugin import PluginContract

POSITIONS = np.array([3, 1, 20, 11, 38, 5, 7])


def equal(first: Batch, second: Batch) -> bool:
    """Return whether two batches hold the same tensors, bit for bit."""
    def tensors(batch: Batch) -> dict[str, torch.Tensor | None]:
        inputs = {f"inputs.{column}.{name}": item for column, found in batch.inputs.items() for name, item in found.items()}
        targets = {f"targets.{name}": item for name, item in batch.targets.items()}
        present = {f"present.{name}": item for name, item in batch.present.items()}
        return {**inputs, **targets, **present, "weights": batch.weights, "row_ids": batch.row_ids, "task_ids": batch.task_ids}

    one, two = tensors(first), tensors(second)
    return one.keys() == two.keys() and all(
        item is None and two[name] is None
        or item is not None and item.numpy().tobytes() == cast("torch.Tensor", two[name]).numpy().tobytes()
        for name, item in one.items())


class TaskContract(PluginContract):
    """The contract of a plug-in of `tasks`, tried on `rows.split_of()`."""

    folder: ClassVar[str] = "tasks"

    def spec(self) -> TaskSpec | TableSpec:
        """Return the split that it is tried on."""
        return rows.split_of()

    def network(self, task: Task) -> torch.nn.Module:
        """Return a network that has what the task needs."""
        return rows.network(task.heads)

    def task(self, folder: Path, full: bool = False) -> Task:
        """Return the task, by a config that names every default where `full` is true."""
        config = self.full(folder) if full else self.config(folder)
        found: Task = self.plugin(config).function(config, self.spec())
        return found

    def test_batches_repeat(self, tmp_path: Path) -> None:
        """The same rows and epoch give the same bits, validation (epoch -1) too, from a task made anew with every default named as well."""
        task, other = self.task(tmp_path), self.task(tmp_path, full=True)
        for epoch in (-1, 0, 2):
            first = task.batch(POSITIONS, epoch)
            assert first.row_ids is not None and first.row_ids.tolist() == (POSITIONS * 7 + 100).tolist()
            task.batch(POSITIONS[:2], epoch + 1)
            assert equal(first, task.batch(POSITIONS, epoch)) and equal(first, other.batch(POSITIONS, epoch))

    def test_costs_are_the_tokens_of_rows(self, tmp_path: Path) -> None:
        """int64 [N], no less than a batch of the row alone has tokens, no more than the longest input; None where all are alike."""
        task, spec = self.task(tmp_path), self.spec()
        assert task.count == spec.count
        if task.costs is None or isinstance(spec, TableSpec):
            return
        assert task.costs.shape == (spec.count,) and task.costs.dtype == np.int64
        assert task.costs.min() >= 1 and task.costs.max() <= spec.max_length

    def test_neighbours_and_order_play_no_part(self, tmp_path: Path) -> None:
        """A row has the same tokens and the same loss (within 1e-5) alone, among others and in another order."""
        task, net = self.task(tmp_path), self.network(self.task(tmp_path))
        order = np.random.default_rng(0).permutation(len(POSITIONS))
        for epoch in (-1, 1):
            whole, moved = task.batch(POSITIONS, epoch), task.batch(POSITIONS[order], epoch)
            losses, shuffled = task.loss(net, whole).per_row, task.loss(net, moved).per_row
            assert losses is not None and shuffled is not None
            torch.testing.assert_close(shuffled, losses[torch.from_numpy(order)], atol=1e-5, rtol=1e-5)
            for place, position in enumerate(POSITIONS):
                alone = task.batch(np.array([position]), epoch)
                per_row = task.loss(net, alone).per_row
                assert per_row is not None
                torch.testing.assert_close(per_row[0], losses[place], atol=1e-5, rtol=1e-5)
                for column, inputs in whole.inputs.items():
                    if "attention_mask" not in inputs:
                        continue
                    real = inputs["attention_mask"][place].bool()
                    mine = alone.inputs[column]["attention_mask"][0].bool()
                    assert torch.equal(inputs["input_ids"][place][real], alone.inputs[column]["input_ids"][0][mine])

    def test_loss_is_finite_and_reaches_what_is_trained(self, tmp_path: Path) -> None:
        """A scalar with a graph; every head that the task declares, and the trunk, get a gradient; per_row is [B]."""
        task = self.task(tmp_path)
        net = cast("Network", self.network(task))
        loss = task.loss(net, task.batch(POSITIONS, 0))
        assert loss.total.shape == () and loss.total.isfinite()
        assert loss.per_row is not None and loss.per_row.shape == POSITIONS.shape and loss.per_row.isfinite().all()
        assert not loss.per_row.requires_grad
        torch.autograd.backward(loss.total)
        reached = [name for name, item in net.named_parameters() if item.grad is not None and bool(item.grad.any())]
        for head in net.head_names():
            assert any(name.startswith(f"{head}.") for name in reached), f"no gradient reaches the head '{head}'"
        assert any(not name.startswith(tuple(f"{head}." for head in net.head_names())) for name in reached)
        assert all(item.grad is None or bool(item.grad.isfinite().all()) for item in net.parameters())

    def test_sums_of_parts_add_up(self, tmp_path: Path) -> None:
        """(sum, count) of two half batches add up to those of the whole; counts are above 0."""
        task, net = self.task(tmp_path), self.network(self.task(tmp_path))
        positions = np.arange(24)
        with torch.no_grad():
            whole, first, second = (task.loss(net, task.batch(part, -1)).sums for part in (positions, positions[:10], positions[10:]))
        assert whole and whole.keys() == first.keys() == second.keys()
        for name in whole:
            for index in (0, 1):
                parts = float(first[name][index]) + float(second[name][index])
                np.testing.assert_allclose(parts, float(whole[name][index]), rtol=1e-4, err_msg=name)
            assert float(whole[name][1]) > 0, name

    def test_loss_falls(self, tmp_path: Path) -> None:
        """Ten steps on one batch lower its loss."""
        task, net = self.task(tmp_path), self.network(self.task(tmp_path))
        batch = task.batch(POSITIONS, 0)
        optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
        start = task.loss(net, batch).total.item()
        for _ in range(10):
            optimiser.zero_grad()
            torch.autograd.backward(task.loss(net, batch).total)
            optimiser.step()
        assert task.loss(net, batch).total.item() < start

    def test_predictions_are_answers(self, tmp_path: Path) -> None:
        """An answer a target, in the order of the rows; probabilities are float32 [B, C] that sum to 1; for a task that predicts."""
        task = self.task(tmp_path)
        if task.predict is None:
            return
        net = self.network(task)
        found, backwards = task.predict(net, task.batch(POSITIONS, -1)), task.predict(net, task.batch(POSITIONS[::-1].copy(), -1))
        for target, answer in found.items():
            if answer.offsets is not None:
                assert len(answer.offsets) == len(POSITIONS) + 1
                turned = part_of(backwards[target], np.arange(len(POSITIONS))[::-1])
                np.testing.assert_allclose(turned.values, answer.values, atol=1e-5)
                np.testing.assert_allclose(answer.values.sum(1), 1, atol=1e-6)
                continue
            assert len(answer.values) == len(POSITIONS)
            np.testing.assert_allclose(backwards[target].values[::-1], answer.values, atol=1e-5)
            if answer.kind == "label":
                assert answer.values.dtype == np.float32 and answer.values.shape[1] == len(answer.labels)
                np.testing.assert_allclose(answer.values.sum(1), 1, atol=1e-6)


class TableTaskContract(TaskContract):
    """The contract of a task over tables, tried on `rows.table_of()`: a label, a number and flags, some of them missing."""

    def spec(self) -> TaskSpec | TableSpec:
        """Return the split that it is tried on."""
        return rows.table_of()

    def network(self, task: Task) -> torch.nn.Module:
        """Return a network that has what the task needs."""
        return rows.table_network(sum(head.width for head in task.outputs))
