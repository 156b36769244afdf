"""Embeddings of numbers: each float feature becomes a short vector of its own (Gorishniy et al. 2022).

Legend: B rows, F features, N bins or waves, E width of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Return a parameter drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def _each(x_BFN: Tensor, weight_FNE: Tensor) -> Tensor:
    """Multiply every feature's vector by the matrix of that feature: [B, F, E]."""
    return (x_BFN.transpose(0, 1) @ weight_FNE).transpose(0, 1)


class LinearNumbers(nn.Module):
    """relu(weight x + bias), one weight and one bias vector a feature."""

    def __init__(self, num_features: int, size: int) -> None:
        super().__init__()
        self.weight = _uniform(num_features, size, fan_in=size)
        self.bias = _uniform(num_features, size, fan_in=size)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return [B, F, E] of float32 [B, F]."""
        return torch.relu(torch.addcmul(self.bias, self.weight, x_BF[..., None]))


class PiecewiseNumbers(nn.Module):
    """A linear embedding plus a piecewise-linear one that begins at zero (Gorishniy et al. 2022, eq. 1; TabM 2024, appendix).

    The encoding of x in bins with edges e_0 < ... < e_N has the components (x - e_n) / (e_n+1 - e_n), cut to 0..1 except below the first
    bin and above the last. The edges are a buffer, so that a saved network opens alone; features with fewer bins repeat their last edge.

    Args:
        edges: one float tensor [at least 2] a feature, finite and strictly rising, in the unit of the feature.
        size: width of an embedding.
    """

    edges: Tensor

    def __init__(self, edges: Sequence[Tensor], size: int) -> None:
        super().__init__()
        for feature, edge in enumerate(edges):
            if edge.ndim != 1 or len(edge) < 2 or not bool(edge.isfinite().all()) or not bool((edge.diff() > 0).all()):
                raise UserError(f"the bin edges of number {feature} are no list of 2 or more finite, rising values; give other edges "
                                f"or drop the feature")
        longest = max(len(edge) for edge in edges)
        padded = [torch.cat([edge, edge[-1:].expand(longest - len(edge))]) for edge in edges]
        self.register_buffer("edges", torch.stack(padded).float())
        self.weight = _uniform(len(edges), size, fan_in=size)
        self.bias = _uniform(len(edges), size, fan_in=size)
        self.bins = nn.Parameter(torch.zeros(len(edges), longest - 1, size))

    def encode(self, x_BF: Tensor) -> Tensor:
        """Return the piecewise-linear encoding [B, F, N]; bins that a feature lacks are 0."""
        left_FN, width_FN = self.edges[:, :-1], self.edges.diff(dim=1)
        there_FN = width_FN > 0
        slope_FN = torch.where(there_FN, 1 / width_FN, 0.0)
        next_FN = torch.cat([there_FN[:, 1:], torch.zeros_like(there_FN[:, :1])], 1)
        high_FN = torch.where(there_FN & ~next_FN, torch.inf, 1.0)
        low_FN = torch.cat([torch.full_like(left_FN[:, :1], -torch.inf), torch.zeros_like(left_FN[:, 1:])], 1)
        return torch.maximum(torch.minimum((x_BF[..., None] - left_FN) * slope_FN, high_FN), low_FN)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return [B, F, E] of float32 [B, F]."""
        return torch.addcmul(self.bias, self.weight, x_BF[..., None]) + _each(self.encode(x_BF), self.bins)


class PeriodicNumbers(nn.Module):
    """relu(linear(cos(2 pi c x), sin(2 pi c x))) with trained frequencies c ~ N(0, scale), within 3 scales (Gorishniy et al. 2022, 3.3).

    Args:
        num_features: F.
        size: width of an embedding; there are twice as many frequencies a feature.
        scale: standard deviation of the initial frequencies, in periods a unit of x; the setting that matters most.
    """

    def __init__(self, num_features: int, size: int, scale: float) -> None:
        super().__init__()
        num_waves = 2 * size
        self.frequencies = nn.Parameter(torch.empty(num_features, num_waves))
        nn.init.trunc_normal_(self.frequencies, 0.0, scale, -3 * scale, 3 * scale)
        self.weight = _uniform(num_features, 2 * num_waves, size, fan_in=2 * num_waves)
        self.bias = _uniform(num_features, size, fan_in=2 * num_waves)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Return [B, F, E] of float32 [B, F]."""
        angle_BFN = 2 * math.pi * self.frequencies * x_BF[..., None]
        return torch.relu(_each(torch.cat([angle_BFN.cos(), angle_BFN.sin()], -1), self.weight) + self.bias)
