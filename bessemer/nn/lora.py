"""Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W x + (alpha / r) B A x, W frozen.

Legend: I inputs, O outputs, R rank.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bessemer.nn.dropout import Dropout


class LoraLinear(nn.Module):
    """A frozen linear layer with a trained low-rank update; B = 0 at first, so step 0 is the layer itself.

    Args:
        base: the layer, [O, I]; its parameters are frozen here.
        r: rank R.
        lora_alpha: the update is scaled by lora_alpha / r.
        lora_dropout: dropout on the update's input.
    """

    def __init__(self, base: nn.Linear, r: int, lora_alpha: float, lora_dropout: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = lora_alpha / r
        self.dropout = Dropout(lora_dropout)
        self.lora_A = nn.Parameter(base.weight.new_empty(r, base.in_features))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O]."""
        update = F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)
        result: Tensor = self.base(x) + self.scale * update
        return result

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """Return the layer with the update added to its weight."""
        self.base.weight += self.scale * (self.lora_B @ self.lora_A)
        return self.base.requires_grad_(True)
