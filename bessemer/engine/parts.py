"""A batch of texts in parts, one a thread: each thread does the forward and the backward pass of its rows by itself.

Within an operator the framework's threads wait for one another some thousand times a step; here they meet once. Each part is a batch of
its own, padded to its own longest row, with a generator of its own for dropout. The gradient of the whole batch is the mean of its parts'
gradients, weighed by what the task's mean is over (rows, masked tokens); they are added up in the order of the rows, so the same bits come
out however the threads took turns. `engine/split.py` does the same for tables, where the loss is computed over all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine import guards
from bessemer.nn.bert import Bert
from bessemer.nn.dropout import drawing
from bessemer.nn.slim_bert import SlimBert

Seed = Callable[[int], int]
_OWN = tuple(f"bessemer.nn.{name}" for name in ("bert", "slim_bert", "low_rank", "dropout", "lora"))
_PLAIN = (nn.Linear, nn.Embedding, nn.LayerNorm, nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.Identity, nn.ModuleList, nn.ModuleDict)


class Parts:
    """The threads, and how a batch is cut for them.

    Args:
        network: a BERT; one that cannot be computed in parts is a UserError.
        task: what is learned; one whose loss is no mean over known masses is a UserError.
        threads: how many, 2 or more; the calling thread is one of them.
    """

    def __init__(self, network: nn.Module, task: Task, threads: int) -> None:
        _check(network, task, threads)
        self.network, self.task, self.threads = network, task, threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="gradients")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def cut(self) -> Task:
        """Return the task with batches that hold their parts."""
        task, costs = self.task, self.task.costs
        assert costs is not None

        def batch(positions: np.ndarray, epoch: int) -> Batch:
            whole = [task.batch(part, epoch) for part in runs(costs[positions], positions, self.threads)]
            return Batch({}, row_ids=torch.cat([item.row_ids for item in whole if item.row_ids is not None]), parts=tuple(whole))

        return replace(task, batch=batch)

    def gradients(self, batch: Batch, share: float, seed: Seed, step: int) -> Loss:
        """Add the gradients of `share` of a batch's mean loss to the parameters and return that loss.

        Args:
            batch: of the task that `cut` gave.
            share: of the step's loss.
            seed: (part) -> the seed of its dropout.
            step: for errors.
        """
        assert self.task.mass is not None
        trained = [value for value in self.network.parameters() if value.requires_grad]
        masses = [self.task.mass(part) for part in batch.parts]
        whole = sum(masses)
        shares = [mass / whole if whole else 1 / len(masses) for mass in masses]

        def compute(place: int) -> tuple[Loss, tuple[Tensor | None, ...]]:
            with drawing(torch.Generator().manual_seed(seed(place))):
                loss = self.task.loss(self.network, batch.parts[place])
                guards.check_finite(loss, batch.parts[place], step)
                scaled = loss.total * (share * shares[place])
                return _detached(loss), torch.autograd.grad(scaled, trained, allow_unused=True)

        waiting = [self._pool.submit(compute, place) for place in range(1, len(batch.parts))]
        found = [compute(0), *(item.result() for item in waiting)]
        for value, *gradients in zip(trained, *(item[1] for item in found), strict=True):
            for gradient in gradients:
                if gradient is not None:
                    value.grad = gradient.contiguous() if value.grad is None else value.grad.add_(gradient)
        return _joined([item[0] for item in found], shares)


def runs(costs: np.ndarray, positions: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut rows into at most `count` runs of about the same cost; none is empty.

    >>> [part.tolist() for part in runs(np.array([1, 1, 2, 4]), np.arange(4), 2)]
    [[0, 1, 2], [3]]
    """
    done = np.cumsum(costs)
    ends = np.searchsorted(done, done[-1] * np.arange(1, count) / count, side="left") + 1
    return [part for part in np.split(positions, np.minimum(ends, len(positions))) if len(part)]


def _detached(loss: Loss) -> Loss:
    return Loss(loss.total.detach(), loss.sums, loss.per_row)


def _joined(losses: list[Loss], shares: list[float]) -> Loss:
    """Return the loss of the whole batch: the weighed mean of its parts', and sums added up."""
    sums: dict[str, tuple[Any, Any]] = {}
    for loss in losses:
        for name, (total, count) in loss.sums.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = (before[0] + total, before[1] + count)
    total = torch.stack([loss.total * share for loss, share in zip(losses, shares, strict=True)]).sum()
    return Loss(total, sums)


def _check(network: nn.Module, task: Task, threads: int) -> None:
    """Refuse what cannot be computed in parts, or not with the same bits each time."""
    said, out = f"gradient_threads is {threads}, but ", "set gradient_threads: 1 and give the recipe 'threads'"
    if not isinstance(network, (Bert, SlimBert)):
        raise UserError(f"{said}of the networks of text only BERT is computed in parts; {out}")
    if task.mass is None or task.costs is None:
        known = "classification, distillation without relations and mlm are"
        raise UserError(f"{said}the task '{task.name}' is not computed in parts ({known}); {out}")
    # what is known to compute rows alone, without changing itself, and with no random number that is not the thread's own
    other = next((item for item in network.modules() if type(item) not in _PLAIN and type(item).__module__ not in _OWN), None)
    if other is not None:
        raise UserError(f"{said}the network holds a {type(other).__name__}, which may not be computed in parts; {out}")
