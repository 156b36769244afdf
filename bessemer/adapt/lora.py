"""Low-rank adaptation (Hu et al. 2021; DoRA, Liu et al. 2024): a frozen trunk, small trained updates of chosen layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

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

    later: ClassVar[Mapping[str, Any]] = {"use_rslora": False, "use_dora": False, "bias": "none"}

    r: int = Field(8, ge=1)
    """Rank of each update."""
    lora_alpha: float = Field(16.0, gt=0)
    """Updates are scaled by lora_alpha / r, or by lora_alpha / sqrt(r) with use_rslora."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the updates' inputs."""
    target_modules: tuple[str, ...] = Field(("query", "value"), min_length=1)
    """Linear layers that get an update, by the end of their dotted name."""
    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(r), which keeps large ranks learning (Kalajdzievski 2023)."""
    use_dora: bool = False
    """Learn the length of each row of a weight apart from its direction (Liu et al. 2024); a little slower to train, the same to serve."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Biases trained as they are: none, all of the network, or those of the layers that get an update."""


@register("adapt", "lora")
def lora(config: Lora) -> Adaptation:
    """Return the adaptation; merged and trained networks give the same outputs within rounding."""

    def apply(network: torch.nn.Module) -> None:
        from bessemer.nn.lora import LoraLinear

        chosen = linear_layers(network, config.target_modules, "lora")
        heads = tuple(f"{name}." for name in cast("Network", network).head_names())
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(heads) or config.bias == "all" and name.endswith("bias"))
        scale = config.lora_alpha / (config.r ** 0.5 if config.use_rslora else config.r)
        for name, layer in chosen.items():
            put(network, name, LoraLinear(layer, config.r, scale, config.lora_dropout, config.use_dora))
            if config.bias != "none" and layer.bias is not None:
                layer.bias.requires_grad_(True)

    def merge(network: torch.nn.Module) -> None:
        from bessemer.nn.lora import LoraLinear

        for name, module in list(network.named_modules()):
            if isinstance(module, LoraLinear):
                put(network, name, module.folded())
        network.requires_grad_(True)

    return Adaptation(apply, merge)
