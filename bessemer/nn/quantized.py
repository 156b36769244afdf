"""Layers that train as if their weights, and what they read, were 8-bit integers (Jacob et al. 2018, section 3).

The forward pass sees rounded values, the gradient passes through the rounding unchanged (straight-through, Bengio et al. 2013). Rounding
is that of the exported integers: symmetric, a scale for each output of a projection and each row of an embedding.

Legend: I inputs, O outputs, V rows, D width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS_LARGEST = 127
"""Largest absolute value of an embedding's integers, which are looked up and never multiplied as integers."""


class _Rounded(torch.autograd.Function):
    """round(w / scale) * scale by rows, exactly; the gradient is that of w."""

    @staticmethod
    def forward(ctx: Any, weight_OI: Tensor, largest: int) -> Tensor:
        peak_O1 = weight_OI.abs().amax(dim=1, keepdim=True)
        scale_O1 = torch.where(peak_O1 > 0, peak_O1, torch.full_like(peak_O1, largest)) / largest
        return (weight_OI / scale_O1).round().clamp(-largest, largest) * scale_O1

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def rounded(weight_OI: Tensor, largest: int) -> Tensor:
    """Return a matrix whose rows are whole multiples of (largest |w| of the row) / `largest`."""
    found: Tensor = _Rounded.apply(weight_OI, largest)  # type: ignore[no-untyped-call]
    return found


class _Noticed(torch.autograd.Function):
    """Rounding of activations to 256 steps; the gradient is that of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: str) -> Tensor:
        if scales == "row":
            step = x.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
            return (x / step).round() * step
        low, high = x.amin().clamp_max(0), x.amax().clamp_min(0)
        step = ((high - low) / 255).clamp_min(1e-12)
        zero = (-low / step).round()
        return ((x / step).round() + zero).clamp(0, 255).sub(zero) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


class RoundedLinear(nn.Module):
    """A linear layer with rounded weights; while it trains, its input is rounded too.

    Args:
        base: the layer, [O, I].
        largest: absolute value of a weight's integer.
        activations: `"batch"` (one scale for all), `"row"` (one a token) or `"none"`.
    """

    def __init__(self, base: nn.Linear, largest: int, activations: str) -> None:
        super().__init__()
        self.base, self.largest, self.activations = base, largest, activations

    @property
    def weight(self) -> Tensor:
        """Return the rounded weights [O, I]."""
        return rounded(self.base.weight, self.largest)

    @property
    def bias(self) -> Tensor | None:
        """Return the bias [O], which is never rounded."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O]."""
        if self.training and self.activations != "none":
            x = _Noticed.apply(x, self.activations)  # type: ignore[no-untyped-call]
        return F.linear(x, self.weight, self.bias)

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """Return the layer with its weights rounded."""
        self.base.weight.copy_(self.weight)
        return self.base


class RoundedEmbedding(nn.Module):
    """An embedding with rounded rows.

    Args:
        base: the embedding, [V, D].
    """

    def __init__(self, base: nn.Embedding) -> None:
        super().__init__()
        self.base = base

    @property
    def weight(self) -> Tensor:
        """Return the rounded rows [V, D]."""
        return rounded(self.base.weight, ROWS_LARGEST)

    def forward(self, codes: Tensor) -> Tensor:
        """Return [..., D]; only the rows that are read are rounded."""
        rows_ND = self.base(codes)
        return rounded(rows_ND.flatten(0, -2), ROWS_LARGEST).view_as(rows_ND)

    @torch.no_grad()
    def folded(self) -> nn.Embedding:
        """Return the embedding with its rows rounded."""
        self.base.weight.copy_(self.weight)
        return self.base
