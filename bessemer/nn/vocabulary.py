"""The loss over a vocabulary without holding its logits: for some rows at a time they are computed, used for loss and gradient, and
overwritten.

The logits of a few hundred positions over 30,000 tokens are 70 MB, which the plain way writes and reads six times.

Legend: D width, N positions, R positions at a time, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LOGITS = 2**23
"""Logits (of 4 bytes) that are held at most."""


def vocabulary_loss(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean cross-entropy of softmax(hidden weight' + bias) (0 where N is 0), that of each position, and which are right.

    The first has a gradient, which is computed together with it where one is asked for; the others, [N], have none.
    """
    learnt = torch.is_grad_enabled()
    total, losses_N, correct_N = _VocabularyLoss.apply(hidden_ND, weight_VD, bias_V, targets_N, learnt)  # type: ignore[no-untyped-call]
    return total, losses_N, correct_N


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, targets_N: Tensor, learnt: bool
                ) -> tuple[Tensor, Tensor, Tensor]:
        count, size = len(hidden_ND), len(weight_VD)
        needed = [learnt and one for one in ctx.needs_input_grad[:3]]
        grads = [torch.empty_like(hidden_ND) if needed[0] else None, torch.zeros_like(weight_VD) if needed[1] else None,
                 torch.zeros_like(bias_V) if needed[2] else None]
        losses_N, correct_N = hidden_ND.new_empty(count), torch.empty(count, dtype=torch.bool, device=hidden_ND.device)
        rows = max(1, min(count, LOGITS // size))
        room_RV = hidden_ND.new_empty(rows, size)
        for start in range(0, count, rows):
            part = slice(start, min(count, start + rows))
            here_R1 = targets_N[part, None]
            logits_RV = torch.addmm(bias_V, hidden_ND[part], weight_VD.t(), out=room_RV[:part.stop - start])
            best_R1, said_R1 = logits_RV.amax(-1, keepdim=True), logits_RV.gather(1, here_R1)
            correct_N[part] = (said_R1 >= best_R1)[:, 0]
            sum_R1 = logits_RV.sub_(best_R1).exp_().sum(-1, keepdim=True)
            losses_N[part] = (sum_R1.log() + best_R1 - said_R1)[:, 0]
            if any(needed):
                _add(grads, part, logits_RV.div_(sum_R1.mul_(count)).scatter_add_(
                    1, here_R1, logits_RV.new_full((1, 1), -1 / count).expand_as(here_R1)), (hidden_ND, weight_VD))
        ctx.grads = grads
        ctx.mark_non_differentiable(losses_N, correct_N)
        return losses_N.sum() / max(count, 1), losses_N, correct_N

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError("the gradient of vocabulary_loss can be asked for once")
        return *(None if one is None else one.mul_(given[0]) for one in grads), None, None


def _add(grads: list[Tensor | None], part: slice, grad_RV: Tensor, given: tuple[Tensor, Tensor]) -> None:
    """Add to the gradients what comes from the gradient of some positions' logits."""
    (hidden_ND, weight_VD), (of_hidden, of_weight, of_bias) = given, grads
    if of_hidden is not None:
        torch.mm(grad_RV, weight_VD, out=of_hidden[part])
    if of_weight is not None:
        of_weight.addmm_(grad_RV.t(), hidden_ND[part])
    if of_bias is not None:
        of_bias.add_(grad_RV.sum(0))
