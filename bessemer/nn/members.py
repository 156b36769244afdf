"""Layers of many members that share one weight matrix (BatchEnsemble, Wen et al. 2020; TabM, Gorishniy et al. 2024).

Member m of a layer computes s_m * (W (r_m * x)) + b_m: only the vectors r, s and b are its own, and the products with W of all members
and rows are one matrix product.

Legend: B rows, M members, D width in, H width out, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bessemer.nn.sparse import SparseLinear

Start = Literal["ones", "signs", "normal"]


def scales(members: int, widths: Sequence[int], start: Start) -> Tensor:
    """Return initial factors [M, sum of widths]: ones, random signs or normal draws.

    Dimensions of one feature (`widths` says how many each has) begin with one value, so that a member sees whole features alike (TabM).
    """
    if start == "ones":
        return torch.ones(members, sum(widths))
    draws = torch.randn(members, len(widths))
    if start == "signs":
        draws = torch.where(draws < 0, -1.0, 1.0)
    return draws.repeat_interleave(torch.tensor(widths), 1)


class MemberLinear(nn.Module):
    """A linear layer of M members around one shared matrix.

    Args:
        linear: the shared layer D -> H, dense or sparse; without a bias where `own_output`.
        members: M.
        first: initial r [M, D]; None: the layer has no r.
        own_output: each member has its own s (ones at first) and b (equal at first).
    """

    def __init__(self, linear: nn.Linear | SparseLinear, members: int, first: Tensor | None, own_output: bool) -> None:
        super().__init__()
        self.linear = linear
        self.r = None if first is None else nn.Parameter(first)
        self.s: nn.Parameter | None = None
        self.b: nn.Parameter | None = None
        if own_output:
            bound = linear.in_features**-0.5
            self.s = nn.Parameter(torch.ones(members, linear.out_features))
            self.b = nn.Parameter(torch.empty(linear.out_features).uniform_(-bound, bound).repeat(members, 1))

    def forward(self, x_BMD: Tensor) -> Tensor:
        """Return [B, M, H] of [B, M, D], or of [B, 1, D] where every member sees the same and the layer has an r."""
        if self.r is not None:
            x_BMD = x_BMD * self.r
        num_members = x_BMD.shape[1]
        y_BMH = self.linear(x_BMD.reshape(-1, x_BMD.shape[2])).reshape(-1, num_members, self.linear.out_features)
        return y_BMH if self.s is None or self.b is None else torch.addcmul(self.b, self.s, y_BMH)


class MemberHeads(nn.Module):
    """M separate linear heads: [B, M, D] -> [B, M, O]."""

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        bound = in_features**-0.5
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, out_features).uniform_(-bound, bound))

    def forward(self, x_BMD: Tensor) -> Tensor:
        """Return [B, M, O] of [B, M, D]."""
        if self.weight.shape[0] == 1:
            return F.linear(x_BMD, self.weight[0].T, self.bias[0])
        return (x_BMD.transpose(0, 1) @ self.weight).transpose(0, 1) + self.bias


class MemberNorm(nn.Module):
    """Batch normalisation of [B, M, H]: each member by its own statistics, or all members by one.

    Args:
        width: H.
        members: M where each member has its own statistics and scales, 1 where they share.
    """

    def __init__(self, width: int, members: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width * members)

    def forward(self, x_BMH: Tensor) -> Tensor:
        """Return the normalised input, in its shape."""
        return self.norm(x_BMH.reshape(-1, self.norm.num_features)).reshape(x_BMH.shape)


class ByteDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose masks are random bytes: on CPUs four times faster than torch's own.

    The part that is dropped is a multiple of 1/256, the nearest to `part` (and not 0); what stays is scaled by exactly its inverse.

    Args:
        part: from 0, which does nothing, to below 1.
    """

    def __init__(self, part: float) -> None:
        super().__init__()
        self.steps = min(255, max(1, round(part * 256))) if part else 0

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.steps}/256"

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a part of it zero while training, x itself else."""
        if not self.training or self.steps == 0:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
        keep = words.view(torch.uint8)[:x.numel()].view(x.shape) >= self.steps
        return x * keep.to(x.dtype).mul_(256 / (256 - self.steps))
