"""One batch by several threads: each computes its part of the rows, and they meet twice a step instead of in every operator.

On the small networks of tables the framework's own threads wait for one another longer than they compute. Here the rows of a batch are
cut into equal runs; each thread computes the outputs of its run; the loss of all outputs is computed once, by the task as ever; each
thread computes the gradients of its run; and these are added up in the order of the rows. So the gradient is that of the whole batch up
to rounding, and the same bits come out however the threads took turns.

It holds for a network whose output for a row depends on that row alone and on no random number; others are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.members import ByteDropout
from bessemer.nn.table import TableNetwork

T = TypeVar("T")


class Split(nn.Module):
    """Stands in for the network in a task's loss: call it, call backward on the loss, then `collect` the gradients.

    Args:
        network: of tables; one that cannot be split is a UserError.
        threads: how many, 2 or more; the calling thread is one of them.
    """

    def __init__(self, network: nn.Module, threads: int) -> None:
        super().__init__()
        _check(network, threads)
        self.network, self.threads = network, threads
        # the framework's number of threads holds for the thread that set it: in another one, products of small batches would start more
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="gradients", initializer=torch.set_num_threads,
                                        initargs=(torch.get_num_threads(),))
        self._trained = [value for value in network.parameters() if value.requires_grad]
        self._outputs: list[Tensor] = []
        self._whole = torch.empty(0)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return the network's outputs of all rows, as a leaf whose gradient `collect` takes; every input has a row in its first place."""
        rows = len(next(iter(inputs.values())))
        step = -(-rows // self.threads)
        runs = [slice(start, start + step) for start in range(0, rows, step)]

        def compute(run: slice) -> Tensor:
            output: Tensor = self.network(**{name: value[run] for name, value in inputs.items()})
            return output

        self._outputs = self._each([partial(compute, run) for run in runs])
        self._whole = torch.cat([output.detach() for output in self._outputs]).requires_grad_()
        return self._whole

    def collect(self) -> None:
        """Add to the parameters' gradients what comes from the loss through the outputs."""
        grads = self._whole.grad
        if grads is None:
            return
        pairs = zip(self._outputs, grads.split([len(output) for output in self._outputs]), strict=True)
        parts = self._each([partial(self._gradients, output, grad) for output, grad in pairs])
        self._outputs, self._whole = [], torch.empty(0)
        for value, *found in zip(self._trained, *parts, strict=True):
            for gradient in found:
                if gradient is not None:
                    value.grad = gradient.contiguous() if value.grad is None else value.grad.add_(gradient)

    def _gradients(self, output: Tensor, grad: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(output, self._trained, grad, allow_unused=True)

    def _each(self, calls: list[Callable[[], T]]) -> list[T]:
        """Return what the calls give, the first of them called here."""
        waiting = [self._pool.submit(call) for call in calls[1:]]
        return [calls[0](), *(item.result() for item in waiting)]


def _check(network: nn.Module, threads: int) -> None:
    """Refuse a network whose gradient would depend on how its batches are cut."""
    said = f"gradient_threads is {threads}, but "
    if not isinstance(network, TableNetwork):
        raise UserError(f"{said}only networks of tables (mlp, members) can be computed in parts; set gradient_threads: 1 and give the "
                        "recipe 'threads'")
    modules: list[Any] = list(network.modules())
    if any(isinstance(item, ByteDropout) and item.steps or isinstance(item, nn.Dropout) and item.p for item in modules):
        raise UserError(f"{said}the network has dropout, whose random choice would depend on how a batch is cut; set dropout: 0 or "
                        "gradient_threads: 1")
    if any(isinstance(item, nn.BatchNorm1d) for item in modules):
        raise UserError(f"{said}the network has batch normalisation, which needs the whole batch together; set batch_norm: false or "
                        "gradient_threads: 1")
