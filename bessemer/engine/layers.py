"""How deep in a network each parameter lies: what layer-wise learning rates and gradual unfreezing go by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from bessemer.core.errors import UserError
from bessemer.nn.network import Network

_STACKS = ("layer", "layers", "block", "blocks", "h", "albert_layer_groups")  # as our networks and Hugging Face's families name them


def depths(network: nn.Module, key: str) -> dict[str, int]:
    """Return the depth of each trainable parameter, counted from the top.

    0 are the heads and what follows the layers (a pooler), 1 is the top layer, n the bottom one of n layers, n + 1 what lies below them
    (embeddings). The layers are the largest list of the trunk that is named as such lists are.

    Args:
        network: of text.
        key: the setting that asks, for the error where a network has no layers.
    """
    stack = _stack(network)
    if stack is None:
        raise UserError(f"{key} goes by the layers of a text network, one above the other, and this network ({type(network).__name__}) has "
                        f"none; remove {key}, or choose bert, transformer, text_rnn or pretrained weights")
    prefix, count = stack
    heads = tuple(f"{name}." for name in network.head_names()) if isinstance(network, Network) else ()
    found, above = {}, False
    for name, value in network.named_parameters():  # in the order in which modules were made: below, layers, above
        inside = name.startswith(prefix)
        above = above or inside
        if inside:
            depth = count - int(name[len(prefix):].partition(".")[0])
        else:
            depth = 0 if above or name.startswith(heads) else count + 1
        if value.requires_grad:
            found[name] = depth
    return found


class Unfreezing:
    """Which parameters are trained at a step: heads first, then one layer more at a time, from the top down.

    What is frozen gets no gradient, so the optimiser neither moves nor decays it, and the backward pass ends above it.

    Args:
        network: of text.
        epochs: passes over the rows after which the next layer is trained too; None: everything is trained from the start.
        steps: in one pass.
    """

    def __init__(self, network: nn.Module, epochs: float | None, steps: int) -> None:
        self._every = 1 if epochs is None else max(1, round(epochs * steps))
        found = {} if epochs is None else depths(network, "gradual_unfreezing")
        self._first = min(found.values(), default=0)  # without heads, the top layer
        self._parameters = [(value, found[name]) for name, value in network.named_parameters() if name in found]

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Freeze, while a gradient is computed, what is not yet trained at a step (counted from 0)."""
        frozen = self._frozen(step)
        for value in frozen:
            value.requires_grad_(False)
        try:
            yield
        finally:
            for value in frozen:
                value.requires_grad_(True)

    def untrained(self, total: int) -> str | None:
        """Return what to tell people where some tensors stay frozen through all of `total` steps."""
        left = len(self._frozen(total - 1))
        if not left:
            return None
        return (f"gradual_unfreezing: {left} of {len(self._parameters)} tensors, the lowest ones, are never trained, because the training "
                "is too short for so many layers; lower gradual_unfreezing, or keep it so to spare them")

    def _frozen(self, step: int) -> list[nn.Parameter]:
        return [value for value, depth in self._parameters if depth > self._first + step // self._every]


def _stack(network: nn.Module) -> tuple[str, int] | None:
    """Return the dotted prefix of the layers and how many there are."""
    if not isinstance(network, Network):
        return None
    heads = tuple(f"{name}." for name in network.head_names())
    lists = [(sum(value.numel() for value in module.parameters()), f"{name}.", len(module)) for name, module in network.named_modules()
             if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in _STACKS and not name.startswith(heads)]
    return max(lists, key=lambda item: item[0])[1:] if lists else None
