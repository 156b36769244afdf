"""Low-rank adaptation (Hu et al. 2021): a frozen trunk, small trained updates of chosen layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic import Field

from bessemer.adapt._layers import linear_layers, put
from bessemer.core.adaptation import Adaptation
from bessemer.core.config import Config
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch

    from bessemer.nn.network import Network


class Lora(Config):
    """Rank, scale and place of the updates; names as in peft."""

    r: int = Field(8, ge=1)
    """Rank of each update."""
    lora_alpha: float = Field(16.0, gt=0)
    """Updates are scaled by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the updates' inputs."""
    target_modules: tuple[str, ...] = Field(("query", "value"), min_length=1)
    """Linear layers that get an update, by the end of their dotted name."""


@register("adapt", "lora")
def lora(config: Lora) -> Adaptation:
    """Return the adaptation; merged and trained networks give the same outputs within rounding."""

    def apply(network: torch.nn.Module) -> None:
        from bessemer.nn.lora import LoraLinear

        chosen = linear_layers(network, config.target_modules, "lora")
        heads = tuple(f"{name}." for name in cast("Network", network).head_names())
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(heads))
        for name, layer in chosen.items():
            put(network, name, LoraLinear(layer, config.r, config.lora_alpha, config.lora_dropout))

    def merge(network: torch.nn.Module) -> None:
        from bessemer.nn.lora import LoraLinear

        for name, module in list(network.named_modules()):
            if isinstance(module, LoraLinear):
                put(network, name, module.folded())
        network.requires_grad_(True)

    return Adaptation(apply, merge)
