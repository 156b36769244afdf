"""Attention with dropout on CPUs, a few rows at a time, so that its scores stay in the processor's cache.

The framework's own function has no fast way with dropout: it writes the scores of the whole batch five times. Here a few rows of a batch,
each without its padding, are computed at a time, and the backward pass computes the scores again instead of reading them.

Legend: B rows, L tokens, H heads, K width of a head, G (row, head) pairs that are computed together, E = H K.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

from bessemer.nn.dropout import STEPS, dropped_steps, kept

SCORES = 2**17
"""Scores (of 4 bytes) that are computed at a time at most, where it is more than one row."""


def attend(qkv: tuple[Tensor, Tensor, Tensor], mask_BL: Tensor, num_heads: int, p: float) -> Tensor:
    """Return softmax(q k' / sqrt(K)) with dropout, times v (Vaswani et al. 2017, equation 1; dropout as BERT has it).

    Args:
        qkv: queries, keys and values, float32 [B, L, E] each.
        mask_BL: True where a token may be attended to; each row's last such token ends it, and what is beyond gets zeros.
        num_heads: H.
        p: the part of the attention weights that is dropped, above 0.

    Returns:
        [B, L, E].
    """
    result: Tensor = _Attend.apply(*qkv, (mask_BL, num_heads, p))  # type: ignore[no-untyped-call]
    return result


def _runs(mask_BL: Tensor, num_heads: int) -> list[tuple[slice, int, Tensor | None]]:
    """Return which rows are computed together, to which length, and what is added to their scores [rows, 1, 1, L] (None: nothing)."""
    length = mask_BL.shape[1]
    ends_B = (mask_BL * torch.arange(1, length + 1, device=mask_BL.device)).amax(dim=1)
    ends, counts = ends_B.tolist(), mask_BL.sum(dim=1).tolist()
    found, start = [], 0
    while start < len(ends):
        stop, longest = start + 1, ends[start]
        while stop < len(ends) and num_heads * max(longest, ends[stop]) ** 2 * (stop + 1 - start) <= SCORES:
            longest, stop = max(longest, ends[stop]), stop + 1
        hidden = any(count < longest for count in counts[start:stop])
        bias = torch.zeros(stop - start, 1, 1, longest).masked_fill_(~mask_BL[start:stop, None, None, :longest], -torch.inf)
        found.append((slice(start, stop), longest, bias if hidden else None))
        start = stop
    return found


def _heads(x_BLE: Tensor, rows: slice, length: int, num_heads: int) -> Tensor:
    """Return some rows as [G, length, K]; of one row it is a view."""
    part = x_BLE[rows, :length].unflatten(-1, (num_heads, -1)).transpose(1, 2)
    return part[0] if len(part) == 1 else part.flatten(0, 1)


def _weights(q_GLK: Tensor, k_GLK: Tensor, bias: Tensor | None, scores_GLL: Tensor) -> Tensor:
    """Write the attention weights, before dropout, over `scores_GLL` and return it."""
    heads = len(q_GLK) // (1 if bias is None else len(bias))
    if bias is not None:
        scores_GLL.unflatten(0, (-1, heads)).copy_(bias.expand(-1, heads, q_GLK.shape[1], -1))
    scale = q_GLK.shape[-1] ** -0.5
    scores_GLL.baddbmm_(q_GLK, k_GLK.transpose(1, 2), beta=0 if bias is None else 1, alpha=scale)
    return torch.softmax(scores_GLL, -1, out=scores_GLL)


class _Attend(torch.autograd.Function):
    """Its gradient is that of the formula; dropout's choice is kept as one byte a weight."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, q_BLE: Tensor, k_BLE: Tensor, v_BLE: Tensor, how: tuple[Tensor, int, float]) -> Tensor:
        mask_BL, num_heads, p = how
        runs = _runs(mask_BL, num_heads)
        out_BLE = torch.zeros_like(q_BLE)
        space = _Space(runs, num_heads, q_BLE)
        keeps = []
        for rows, length, bias in runs:
            q_GLK, k_GLK, v_GLK = (_heads(part, rows, length, num_heads) for part in (q_BLE, k_BLE, v_BLE))
            scores_GLL, factor_GLL = space.take(len(q_GLK), length)
            weight_GLL = _weights(q_GLK, k_GLK, bias, scores_GLL)
            keeps.append(kept(weight_GLL.shape, p, q_BLE.device))
            factor_GLL.copy_(keeps[-1])
            found_GLK = torch.bmm(weight_GLL.mul_(factor_GLL), v_GLK)
            _place(out_BLE, rows, length, found_GLK, num_heads)
        out_BLE.mul_(STEPS / (STEPS - dropped_steps(p)))
        ctx.save_for_backward(q_BLE, k_BLE, v_BLE, out_BLE, *keeps)
        ctx.runs, ctx.num_heads, ctx.p = runs, num_heads, p
        return out_BLE

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_BLE, k_BLE, v_BLE, out_BLE, *keeps = ctx.saved_tensors
        num_heads, factor = ctx.num_heads, STEPS / (STEPS - dropped_steps(ctx.p))
        grad_BLE = grads[0].contiguous()
        found = [torch.zeros_like(q_BLE) for _ in range(3)]
        space = _Space(ctx.runs, num_heads, q_BLE, 3)
        for (rows, length, bias), keep_GLL in zip(ctx.runs, keeps, strict=True):
            q_GLK, k_GLK, v_GLK, grad_GLK, out_GLK = (
                _heads(part, rows, length, num_heads) for part in (q_BLE, k_BLE, v_BLE, grad_BLE, out_BLE))
            scores_GLL, dropped_GLL, grad_GLL = space.take(len(q_GLK), length)
            weight_GLL = _weights(q_GLK, k_GLK, bias, scores_GLL)
            dropped_GLL.copy_(keep_GLL).mul_(weight_GLL)  # without `factor`, which comes with the products
            value_GLK = torch.bmm(dropped_GLL.transpose(1, 2), grad_GLK)
            # d scores = dropped * (grad v') - weight * sum of both along a row, which is sum of grad * out
            grad_GLL.baddbmm_(grad_GLK, v_GLK.transpose(1, 2), beta=0, alpha=factor)
            grad_GLL.mul_(dropped_GLL).sub_(weight_GLL.mul_((grad_GLK * out_GLK).sum(-1, keepdim=True)))
            query_GLK, key_GLK = torch.bmm(grad_GLL, k_GLK), torch.bmm(grad_GLL.transpose(1, 2), q_GLK)
            for whole, part in zip(found, (query_GLK, key_GLK, value_GLK), strict=True):
                _place(whole, rows, length, part, num_heads)
        scale = (q_BLE.shape[-1] // num_heads) ** -0.5
        return found[0].mul_(scale), found[1].mul_(scale), found[2].mul_(factor), None


class _Space:
    """Room for scores that every run of rows uses again: fresh memory for each would cost more than what is computed in it."""

    def __init__(self, runs: list[tuple[slice, int, Tensor | None]], num_heads: int, like: Tensor, count: int = 2) -> None:
        largest = max(((rows.stop - rows.start) * num_heads * length**2 for rows, length, _ in runs), default=0)
        self.rooms = [like.new_empty(largest) for _ in range(count)]

    def take(self, pairs: int, length: int) -> Iterator[Tensor]:
        """Return each room as [pairs, length, length]; what was in it is gone."""
        return (room[:pairs * length**2].view(pairs, length, length) for room in self.rooms)


def _place(whole_BLE: Tensor, rows: slice, length: int, part_GLK: Tensor, num_heads: int) -> None:
    """Write [G, length, K] where those rows lie in [B, L, E]."""
    whole_BLE[rows, :length].unflatten(-1, (num_heads, -1)).copy_(part_GLK.unflatten(0, (-1, num_heads)).transpose(1, 2))
