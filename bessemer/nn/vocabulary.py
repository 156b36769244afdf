"""The loss over a vocabulary without holding its logits: for some rows at a time they are computed, used for loss and gradient, and
overwritten.

The logits of a few hundred positions over 30,000 tokens are 70 MB, which the plain way writes and reads six times.

Legend: D width, N positions, R positions at a time, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

LOGITS = 2**23
"""Logits (of 4 bytes) that are held at most."""


def vocabulary_loss(hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean cross-entropy of softmax(hidden weight' + bias) (0 where N is 0), that of each position, and which are right.

    Under autocast the products are computed in bfloat16, as those of linear layers are; the rest in float32.
    The first has a gradient, which is computed together with it where one is asked for; the others, [N], have none.
    """
    how = (torch.is_grad_enabled(), torch.is_autocast_enabled(hidden_ND.device.type))
    total, losses_N, correct_N = _VocabularyLoss.apply(hidden_ND, weight_VD, bias_V, targets_N, how)  # type: ignore[no-untyped-call]
    return total, losses_N, correct_N


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor, targets_N: Tensor, how: tuple[bool, bool]
                ) -> tuple[Tensor, Tensor, Tensor]:
        count, size, (learnt, half) = len(hidden_ND), len(weight_VD), how
        needed = [learnt and one for one in ctx.needs_input_grad[:3]]
        grads = [torch.empty_like(hidden_ND) if needed[0] else None, torch.zeros_like(weight_VD) if needed[1] else None,
                 torch.zeros_like(bias_V) if needed[2] else None]
        losses_N, correct_N = hidden_ND.new_empty(count), torch.empty(count, dtype=torch.bool, device=hidden_ND.device)
        factors = (hidden_ND.bfloat16(), weight_VD.bfloat16()) if half else (hidden_ND, weight_VD)
        rows = max(1, min(count, LOGITS // size))
        room_RV = hidden_ND.new_empty(rows, size)
        for start in range(0, count, rows):
            part = slice(start, min(count, start + rows))
            here_R1 = targets_N[part, None]
            logits_RV = room_RV[:part.stop - start]
            if half:
                torch.add(bias_V, factors[0][part] @ factors[1].t(), out=logits_RV)
            else:
                torch.addmm(bias_V, hidden_ND[part], weight_VD.t(), out=logits_RV)
            best_R1, said_R1 = logits_RV.amax(-1, keepdim=True), logits_RV.gather(1, here_R1)
            correct_N[part] = (said_R1 >= best_R1)[:, 0]
            sum_R1 = logits_RV.sub_(best_R1).exp_().sum(-1, keepdim=True)
            losses_N[part] = (sum_R1.log() + best_R1 - said_R1)[:, 0]
            if any(needed):
                _add(grads, part, logits_RV.div_(sum_R1.mul_(count)).scatter_add_(
                    1, here_R1, logits_RV.new_full((1, 1), -1 / count).expand_as(here_R1)), factors)
        ctx.grads = grads
        ctx.mark_non_differentiable(losses_N, correct_N)
        return losses_N.sum() / max(count, 1), losses_N, correct_N

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError("the gradient of vocabulary_loss can be asked for once")
        return *(None if one is None else one.mul_(given[0]) for one in grads), None, None


def _add(grads: list[Tensor | None], part: slice, grad_RV: Tensor, given: tuple[Tensor, Tensor]) -> None:
    """Add to the gradients what comes from the gradient of some positions' logits."""
    (hidden_ND, weight_VD), (of_hidden, of_weight, of_bias) = given, grads
    factor_RV = grad_RV.to(weight_VD.dtype)
    if of_hidden is not None:
        of_hidden[part] = factor_RV @ weight_VD
    if of_weight is not None and weight_VD.dtype == grad_RV.dtype:
        of_weight.addmm_(factor_RV.t(), hidden_ND[part])
    elif of_weight is not None:
        of_weight.add_(factor_RV.t() @ hidden_ND[part])
    if of_bias is not None:
        of_bias.add_(grad_RV.sum(0))
