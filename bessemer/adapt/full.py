"""Every parameter is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.adaptation import Adaptation
from bessemer.core.config import Config
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch


class Full(Config):
    """Nothing to set."""


@register("adapt", "full")
def full(config: Full) -> Adaptation:
    """Return the adaptation that freezes nothing and changes nothing."""

    def apply(network: torch.nn.Module) -> None:
        network.requires_grad_(True)

    def merge(network: torch.nn.Module) -> None:
        network.requires_grad_(True)

    return Adaptation(apply, merge)
