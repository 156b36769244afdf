"""Only the head is trained: a linear probe of what the trunk knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bessemer.core.adaptation import Adaptation
from bessemer.core.config import Config
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch

    from bessemer.nn.network import Network


class Head(Config):
    """What is trained beside the head."""

    pooler: bool = False
    """Train the trunk's pooler too, where it has one."""


@register("adapt", "head")
def head(config: Head) -> Adaptation:
    """Return the adaptation that freezes the trunk."""

    def apply(network: torch.nn.Module) -> None:
        heads = tuple(f"{name}." for name in cast("Network", network).head_names())
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(heads) or (config.pooler and ".pooler." in name))

    def merge(network: torch.nn.Module) -> None:
        network.requires_grad_(True)

    return Adaptation(apply, merge)
