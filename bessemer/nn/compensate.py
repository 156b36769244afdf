"""Cutting a BERT so that what stays takes over: without any training, from what activations on some rows look like.

A layer that reads fewer values reads, in their place, the best linear guess of those that went: its weights become W A, where A is the
least-squares map from the values that stay to all of them (as optimal brain surgery does for single weights: Hassibi & Stork 1993), and
its bias takes the rest of the mean. A normalisation over fewer channels has other statistics; its scale and shift undo the difference.

Legend: D width, I inputs and O outputs of a layer, S inputs that stay, N positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bessemer.nn.importance import Runs, input_moments
from bessemer.nn.low_rank import LowRank
from bessemer.nn.slim_bert import SlimBert
from bessemer.nn.slim_edit import Keep, Moments, cut

# Added to the diagonal of a covariance, in parts of its mean; the second for each value that stays, by the positions that were seen: what
# few rows cannot tell is not believed.
RIDGE, DOUBT = 1e-3, 0.1
_READERS = {"hidden": ("attention.self.query", "attention.self.key", "attention.self.value", "intermediate.dense"),
            "heads": ("attention.output.dense",), "units": ("output.dense",)}


@torch.no_grad()
def cut_compensated(network: SlimBert, keep: Keep, runs: Callable[[], Runs]) -> SlimBert:
    """Return the network with only what `keep` names of its heads, units and channels, its layers adjusted to that.

    Args:
        network: in evaluation mode; all its layers stay.
        keep: see Keep; `layers` names all of them.
        runs: () -> forward passes up to the pooled vector over some rows, twice.
    """
    places = _places(network, keep)
    if not places:
        return cut(network, keep)
    found = cut(network, keep)
    # Queries, keys and values read the same: one of them is watched.
    watched = {name: name.replace("self.key", "self.query").replace("self.value", "self.query") for name in places}
    moments = input_moments(network, set(watched.values()), runs())
    for name, stays in places.items():
        _adjust(network.get_submodule(name), found.get_submodule(name), stays, moments[watched[name]], _rows(network, keep, name))
    if len(keep.hidden) < network.config.hidden_size:
        _match_norms(network, found, torch.tensor(list(keep.hidden)), runs())
    return found


def _places(network: SlimBert, keep: Keep) -> dict[str, Tensor]:
    """Return the layers that read fewer values, and which of them stay, int64 [S]."""
    config, found = network.config, dict[str, Tensor]()
    hidden = torch.tensor(list(keep.hidden))
    for index, (heads, units) in enumerate(zip(keep.heads, keep.units, strict=True)):
        stays = {"hidden": (hidden, config.hidden_size),
                 "heads": (_values(heads, config.head_size), config.num_attention_heads[index] * config.head_size),
                 "units": (torch.tensor(list(units)), config.intermediate_size[index])}
        for axis, (places, whole) in stays.items():
            if len(places) < whole:
                found.update({f"bert.encoder.layer.{index}.{name}": places for name in _READERS[axis]})
    if len(hidden) < config.hidden_size:
        found["bert.pooler.dense"] = hidden
    return found


def _values(heads: Iterable[int], head_size: int) -> Tensor:
    return (torch.tensor(list(heads))[:, None] * head_size + torch.arange(head_size)).flatten()


def _rows(network: SlimBert, keep: Keep, name: str) -> Tensor:
    """Return which outputs of a layer stay."""
    if name == "bert.pooler.dense":
        return torch.tensor(list(keep.pooled))
    index = int(name.split(".")[3])
    if ".self." in name:
        return _values(keep.heads[index], network.config.head_size)
    return torch.tensor(list(keep.units[index] if name.endswith("intermediate.dense") else keep.hidden))


def _adjust(old: nn.Module, new: nn.Module, stays_S: Tensor, seen: Moments, rows_O: Tensor) -> None:
    """Set the weights and bias of a layer that reads fewer values, in place."""
    inside = seen.covariance_II[stays_S][:, stays_S]
    ridge = (RIDGE + DOUBT * len(stays_S) / max(1, seen.count)) * float(inside.diagonal().mean()) + 1e-12
    guess_IS = torch.linalg.solve(inside + ridge * torch.eye(len(stays_S), dtype=torch.float64), seen.covariance_II[stays_S]).T
    if isinstance(old, LowRank) and isinstance(new, LowRank):
        weight, lifted = old.down.weight.double(), old.up.weight[rows_O].double()
        target, bias, old_bias = new.down.weight, new.up.bias, old.up.bias
    else:
        assert isinstance(old, nn.Linear) and isinstance(new, nn.Linear)
        weight, lifted = old.weight[rows_O].double(), None
        target, bias, old_bias = new.weight, new.bias, old.bias
    adjusted = weight @ guess_IS
    shift = weight @ seen.mean_I - adjusted @ seen.mean_I[stays_S]
    target.copy_(adjusted)
    bias.copy_(old_bias[rows_O].double() + (shift if lifted is None else lifted @ shift))


def _match_norms(network: SlimBert, found: SlimBert, hidden_D: Tensor, runs: Runs) -> None:
    """Scale and shift each normalisation of the new network so that its channels are what they were on average, in place."""
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.LayerNorm) and name.startswith("bert.")]
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in norms}
    mask: list[Tensor] = []

    def watch(name: str) -> RemovableHandle:
        def hook(_module: nn.Module, given: tuple[Any, ...]) -> None:
            x_ND = given[0][mask[-1]].double()
            part_ND = x_ND[:, hidden_D]
            spread_N = x_ND.std(1, correction=0)
            scale = (part_ND.std(1, correction=0) / spread_N).sum()
            sums[name] += torch.stack([scale, ((part_ND.mean(1) - x_ND.mean(1)) / spread_N).sum(), torch.tensor(float(len(x_ND)))])

        return network.get_submodule(name).register_forward_pre_hook(hook)

    handles = [watch(name) for name in norms]
    try:
        for forward, positions in runs:
            mask.append(positions)
            forward()
    finally:
        for handle in handles:
            handle.remove()
    for name, (scale, shift, count) in sums.items():
        norm = found.get_submodule(name)
        assert isinstance(norm, nn.LayerNorm)
        norm.bias.add_(norm.weight * (shift / count).float())
        norm.weight.mul_((scale / count).float())
