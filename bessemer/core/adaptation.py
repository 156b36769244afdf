"""How a network is changed before it is trained and folded back afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Adaptation:
    """Which parameters of a network are trained, and by which detour.

    Attributes:
        apply: changes a network in place before training: freezes parameters (`requires_grad`), may put modules in.
        merge: changes a trained network in place back to its own modules with the same outputs; call it before saving.
        before_step: (network, step, steps in all): changes the network while it trains, as a pure function of its parameters and
            buffers and the step.
        settled: (steps in all) -> the steps after which the network is what it will be, so that its weights may be kept as the best.
    """

    apply: Callable[[torch.nn.Module], None]
    merge: Callable[[torch.nn.Module], None]
    before_step: Callable[[torch.nn.Module, int, int], None] | None = None
    settled: Callable[[int], int] | None = None
