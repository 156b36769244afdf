"""The linear layers of a network's trunk by the end of their names, and how one is put in place of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import torch

    from bessemer.nn.network import Network


def linear_layers(network: torch.nn.Module, ends: tuple[str, ...] | None, method: str) -> dict[str, torch.nn.Linear]:
    """Return the trunk's linear layers whose dotted name ends so (None: all of them); an end that fits none is a UserError."""
    from torch import nn

    heads = cast("Network", network).head_names()
    linear = {name: module for name, module in network.named_modules()
              if isinstance(module, nn.Linear) and not f"{name}.".startswith(tuple(f"{head}." for head in heads))}
    found: dict[str, nn.Linear] = {}
    for target in ends if ends is not None else ():
        fitting = {name: module for name, module in linear.items() if name == target or name.endswith(f".{target}")}
        if not fitting:
            known = sorted({".".join(name.split(".")[-2:]) for name in linear})
            if not known:
                raise UserError(f"{method}: this model has no linear layers in its trunk, so there is nothing to adapt; leave adaptation "
                                "out to train all of it, or take a model such as 'bert'")
            raise UserError(f"{method}: target_modules: no linear layer's name ends with '{target}'; "
                            f"known are: {', '.join(known)}")
        found.update(fitting)
    return linear if ends is None else found


def put(network: torch.nn.Module, name: str, module: torch.nn.Module) -> None:
    """Put a module in the place of the one with this dotted name."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
