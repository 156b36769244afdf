"""Dropout (Srivastava et al. 2014) that is fast on CPUs and whose random choice may be a thread's own.

The random numbers come from the framework's generator, or from the one that the running thread was given by `drawing`; so threads that
compute parts of one batch draw what a seed says, however they take turns.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

STEPS = 2**16
_own = threading.local()


@contextmanager
def drawing(generator: torch.Generator) -> Iterator[None]:
    """Have this thread's dropout draw from `generator` while the block runs."""
    before = getattr(_own, "generator", None)
    _own.generator = generator
    try:
        yield
    finally:
        _own.generator = before


def dropped_steps(p: float) -> int:
    """Return the part p as the nearest multiple of 1 / 65,536 (not 0 where p is not, and below 1): how many of them."""
    return min(STEPS - 1, max(1, round(p * STEPS))) if p else 0


def kept(shape: torch.Size | tuple[int, ...], p: float, device: torch.device) -> Tensor:
    """Return which values stay where each is dropped with probability p: bool of `shape`.

    Sixteen random bits decide about a value: a sixth of the time that torch's own choice takes.
    """
    count = torch.Size(shape).numel()
    generator = getattr(_own, "generator", None) if device.type == "cpu" else None
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device).random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:count].view(shape) >= dropped_steps(p) - STEPS // 2


class Dropout(nn.Module):
    """Sets a part of the values to zero in training and scales the rest by its exact inverse, as `torch.nn.Dropout` does.

    Args:
        p: the part, from 0, which does nothing, to below 1; in steps of 1 / 65,536.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"p={self.p}"

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a part of it zero while training, x itself else."""
        if not self.training or not self.p:
            return x
        exact = torch.promote_types(x.dtype, torch.float32)  # bfloat16 cannot hold the factor well enough
        return x * kept(x.shape, self.p, x.device).to(exact).mul_(STEPS / (STEPS - dropped_steps(self.p)))
