"""Quantisation-aware training: the network learns with the rounding that its int8 form will have.

What it writes has weights that are whole multiples of their scales, so int8 stores them without loss; what is left of the loss is the
rounding of activations, which training has seen (Jacob et al. 2018, https://arxiv.org/abs/1712.05877).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bessemer.adapt._layers import linear_layers, put
from bessemer.core.adaptation import Adaptation
from bessemer.core.config import Config
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch


class Qat(Config):
    """What is rounded while the network learns; the same settings as those of the int8 method that follows."""

    activations: Literal["batch", "row", "none"] = "batch"
    """How inputs of projections are rounded while training: one scale for a batch (static_int8 and dynamic_int8), one a token
    (dynamic_int8 with scales: row), or not at all (weight_only). Validation scores are those of rounded weights alone."""
    reduce_range: bool = True
    """Use 7 of the 8 bits of a weight; see dynamic_int8."""
    embeddings: bool = True
    """Round embeddings too."""


@register("adapt", "qat")
def qat(config: Qat) -> Adaptation:
    """Return the adaptation: every parameter is trained; merged weights are those that the last step has seen rounded."""

    def apply(network: torch.nn.Module) -> None:
        from torch import nn

        from bessemer.nn.quantized import RoundedEmbedding, RoundedLinear

        for name, layer in linear_layers(network, None, "qat").items():
            put(network, name, RoundedLinear(layer, 64 if config.reduce_range else 127, config.activations))
        tables = [(name, module) for name, module in network.named_modules() if type(module) is nn.Embedding]
        for name, table in tables if config.embeddings else ():
            put(network, name, RoundedEmbedding(table))
        network.requires_grad_(True)

    def merge(network: torch.nn.Module) -> None:
        from bessemer.nn.quantized import RoundedEmbedding, RoundedLinear

        for name, module in list(network.named_modules()):
            if isinstance(module, (RoundedLinear, RoundedEmbedding)):
                put(network, name, module.folded())
        network.requires_grad_(True)

    return Adaptation(apply, merge)
