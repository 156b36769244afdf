"""Linear layers with weights that are switched off while they train: by magnitude or by movement, in a pattern.

Sources: Zhu & Gupta 2017 (magnitude, the cubic schedule), Sanh et al. 2020 (movement: weights that training moves away from zero stay),
Mishra et al. 2021 (2:4).

Legend: I inputs, O outputs, G groups of four weights, T tiles.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as func
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bessemer.core.errors import UserError

Pattern = Literal["unstructured", "2:4", "block"]


class _Moved(torch.autograd.Function):
    """weight x mask, whose backward pass also adds up -gradient x weight for every weight, those that are off included."""

    @staticmethod
    def forward(ctx: Any, weight_OI: Tensor, mask_OI: Tensor, scores_OI: Tensor) -> Tensor:
        """Return [O, I]."""
        ctx.save_for_backward(weight_OI, mask_OI)
        ctx.scores = scores_OI
        return weight_OI * mask_OI

    @staticmethod
    @once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, grad_OI: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the weights that are on."""
        weight_OI, mask_OI = ctx.saved_tensors
        ctx.scores.addcmul_(grad_OI, weight_OI, value=-1.0)
        return grad_OI * mask_OI, None, None


class PrunedLinear(nn.Module):
    """A linear layer and which of its weights are on; at first all are, so that it is the layer itself.

    Args:
        base: the layer, [O, I].
        movement: keep the score of each weight by its movement; else its score is its magnitude.
    """

    mask: Tensor
    scores: Tensor

    def __init__(self, base: nn.Linear, movement: bool) -> None:
        super().__init__()
        self.base, self.movement = base, movement
        self.in_features, self.out_features = base.in_features, base.out_features
        self.register_buffer("mask", torch.ones_like(base.weight, dtype=torch.bool))
        if movement:
            self.register_buffer("scores", torch.zeros_like(base.weight, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] of [..., I]."""
        weight = self.base.weight
        weight = _Moved.apply(weight, self.mask, self.scores) if self.movement and torch.is_grad_enabled() else weight * self.mask
        return func.linear(x, weight, self.base.bias)

    @torch.no_grad()
    def prune(self, sparsity: float, pattern: Pattern, edge: int) -> None:
        """Switch weights off anew, so that exactly a part `sparsity` of what the pattern counts is off."""
        strength = self.scores if self.movement else self.base.weight.abs()
        self.mask.copy_(mask_of(strength, sparsity, pattern, edge))

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """Return the layer, its weights that are off exactly zero."""
        self.base.weight.mul_(self.mask)
        return self.base


def mask_of(strength_OI: Tensor, sparsity: float, pattern: Pattern, edge: int) -> Tensor:
    """Return which weights are on, bool [O, I]: the weakest are off, of equal ones the first.

    Args:
        strength_OI: of each weight.
        sparsity: the part that is off, a whole number of weights, groups or tiles.
        pattern: any weights; 2 of each 4 neighbours along the inputs (below a sparsity of a half, in the groups where they are weakest);
            whole tiles.
        edge: of a tile.
    """
    rows, columns = strength_OI.shape
    if pattern == "2:4":
        if columns % 4:
            raise UserError(f"a layer of {columns} inputs has no whole groups of four; leave it out of target_modules, or choose another "
                            "pattern")
        strength_G4 = strength_OI.reshape(-1, 4)
        weakest_G2 = strength_G4.argsort(dim=1, stable=True)[:, :2]
        off_G = ~_strongest(strength_G4.gather(1, weakest_G2).sum(1), 2 * sparsity)
        return torch.ones_like(strength_G4, dtype=torch.bool).scatter_(1, weakest_G2, ~off_G[:, None].expand(-1, 2)).view(rows, columns)
    if pattern == "block":
        if rows % edge or columns % edge:
            raise UserError(f"a layer of {columns} inputs and {rows} outputs has no whole tiles of {edge} x {edge}; give another "
                            "block_size, or leave the layer out of target_modules")
        strength_T = strength_OI.view(rows // edge, edge, columns // edge, edge).sum((1, 3))
        on_T = _strongest(strength_T.flatten(), sparsity).view(strength_T.shape)
        return on_T.repeat_interleave(edge, 0).repeat_interleave(edge, 1)
    return _strongest(strength_OI.flatten(), sparsity).view(rows, columns)


def _strongest(strength_N: Tensor, sparsity: float) -> Tensor:
    """Return bool [N]: all but exactly round(sparsity N), the weakest, of equal ones the first."""
    count = round(sparsity * len(strength_N))
    if count == 0:
        return torch.ones_like(strength_N, dtype=torch.bool)
    limit = strength_N.kthvalue(count).values
    on_N = strength_N > limit
    equal = (strength_N == limit).nonzero().flatten()
    on_N[equal[count - int((strength_N < limit).sum()):]] = True
    return on_N


def cubic(step: int, begin: int, end: int, goal: float) -> float:
    """Return the sparsity at a step: 0 before `begin`, `goal` from `end` on, between them quick at first (Zhu & Gupta 2017, equation 1).

    >>> [round(cubic(step, 10, 30, 0.8), 3) for step in (0, 10, 20, 30, 40)]
    [0.0, 0.0, 0.7, 0.8, 0.8]
    """
    if step <= begin and step < end:
        return 0.0
    return goal if step >= end else goal * (1 - (1 - (step - begin) / (end - begin)) ** 3)
