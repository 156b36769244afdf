"""Weights are switched off step by step while all train, until a given part of them is exactly zero."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from bessemer.adapt._layers import linear_layers, put
from bessemer.core.adaptation import Adaptation
from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch

Part = Annotated[float, Field(ge=0, le=1)]


class Sparse(Config):
    """Which weights go, and when."""

    method: Literal["magnitude", "movement"] = "magnitude"
    """What goes: the smallest weights (Zhu & Gupta 2017), or those that training moves towards zero (Sanh et al. 2020), which is better
    where a pretrained network is tuned and little is to stay."""
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Part of each layer's weights that is zero in the end."""
    pattern: Literal["unstructured", "2:4", "block"] = "unstructured"
    """Any weights; two of each four neighbours, which needs sparsity 0.5; or whole tiles."""
    block_size: Annotated[int, Field(ge=1)] = 16
    """Edge of a tile; with pattern: block."""
    start: Part = 0.1
    """Part of all steps after which the first weights go."""
    end: Part = 0.7
    """Part of all steps after which no more go; only weights from then on can be the best ones that are kept."""
    every: Annotated[int, Field(ge=1)] = 20
    """Steps between two choices of the weights that are off."""
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Linear layers, by the end of their dotted name; by default all of the trunk."""

    @model_validator(mode="after")
    def _effective(self) -> Sparse:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ValueError(f"pattern 2:4 leaves two weights of each four, which is sparsity 0.5, not {self.sparsity}")
        if self.block_size != 16 and self.pattern != "block":
            raise ValueError("block_size has an effect with pattern: block alone")
        if self.end <= self.start:
            raise ValueError(f"end must come after start, not {self.end} after {self.start}")
        return self


@register("adapt", "sparse")
def sparse(config: Sparse) -> Adaptation:
    """Return the adaptation; the masks are buffers of the network, so training resumes exactly."""

    def apply(network: torch.nn.Module) -> None:
        from bessemer.nn.pruned import PrunedLinear, mask_of

        network.requires_grad_(True)
        layers = linear_layers(network, config.target_modules, "sparse")
        if not layers:
            raise UserError("sparse: the network has no dense linear layer whose weights could be switched off: it has no hidden layer, or "
                            "is sparse from birth")
        for name, layer in layers.items():
            mask_of(layer.weight.detach(), config.sparsity, config.pattern, config.block_size)  # says now what does not fit
            put(network, name, PrunedLinear(layer, config.method == "movement"))

    def merge(network: torch.nn.Module) -> None:
        from bessemer.nn.pruned import PrunedLinear

        for name, module in list(network.named_modules()):
            if isinstance(module, PrunedLinear):
                put(network, name, module.folded())
        network.requires_grad_(True)

    def last(total: int) -> int:
        return min(math.ceil(config.end * total), total - 1)

    def before_step(network: torch.nn.Module, step: int, total: int) -> None:
        from bessemer.nn.pruned import PrunedLinear, cubic

        begin, end = math.floor(config.start * total), last(total)
        if step != end and not (begin < step < end and (step - begin) % config.every == 0):
            return
        sparsity = cubic(step, begin, end, config.sparsity)
        for module in network.modules():
            if isinstance(module, PrunedLinear):
                module.prune(sparsity, config.pattern, config.block_size)

    return Adaptation(apply, merge, before_step, lambda total: last(total) + 1)
