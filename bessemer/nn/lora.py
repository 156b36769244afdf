"""Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685): W x + s B A x, W frozen; and its form that learns the length
of each row of the weight apart from its direction (DoRA, Liu et al. 2024, https://arxiv.org/abs/2402.09353): m V / |V| x, V = W + s B A.

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
        scale: s, by which the update is multiplied.
        lora_dropout: dropout on the update's input.
        use_dora: learn the length m of each row of the weight, [O].
    """

    def __init__(self, base: nn.Linear, r: int, scale: float, lora_dropout: float, use_dora: bool = False) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = scale
        self.dropout = Dropout(lora_dropout)
        self.lora_A = nn.Parameter(base.weight.new_empty(r, base.in_features))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self.magnitude = nn.Parameter(base.weight.norm(dim=1)) if use_dora else None
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O]."""
        update = F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B)
        if self.magnitude is None:
            plain: Tensor = self.base(x) + self.scale * update
            return plain
        with torch.no_grad():  # the paper's 4.3: the length in the denominator is taken as a constant
            length = self._direction().norm(dim=1)
        result = (F.linear(x, self.base.weight) + self.scale * update) * (self.magnitude / self._nonzero(length))
        return result if self.base.bias is None else result + self.base.bias

    def _direction(self) -> Tensor:
        """Return V, [O, I]."""
        return self.base.weight + self.scale * (self.lora_B @ self.lora_A)

    @staticmethod
    def _nonzero(length: Tensor) -> Tensor:
        """Return the rows' lengths, [O]; one instead of nothing, as a pruned row stays nothing."""
        return torch.where(length > 0, length, torch.ones_like(length))

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """Return the layer with the update in its weight."""
        weight = self._direction()
        if self.magnitude is not None:
            weight = weight * (self.magnitude / self._nonzero(weight.norm(dim=1)))[:, None]
        self.base.weight.copy_(weight)
        return self.base.requires_grad_(True)
