"""How much of the loss hangs on a part of a network: first-order Taylor importance.

A part is a group of values inside the network (an attention head's, a unit's, a channel's). It is multiplied by a gate of 1; the loss
would change by about |dL/dgate| if the part were gone (Molchanov et al. 2019, equation 9; Michel et al. 2019, equation 2, for heads).
Each row has gates of its own, so absolute values are taken row by row and summed. Nothing is random.

Legend: B rows, G groups of a site, F features of a site, I inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bessemer.nn.slim_bert import SlimBert
from bessemer.nn.slim_edit import Moments
from bessemer.nn.table import TableNetwork
from bessemer.nn.table_edit import chains, layout

Losses = Iterable[tuple[int, Callable[[], Tensor]]]
"""(rows B, () -> the mean loss of these rows), batch by batch."""
Runs = Iterable[tuple[Callable[[], Any], Tensor]]
"""(() -> a forward pass, bool [B, L] of the positions that count), batch by batch."""


@dataclass(frozen=True)
class Site:
    """Where gates stand.

    Attributes:
        modules: dotted names; one part may pass several places, all of which one gate closes.
        place: at a module's input, at its output, at what a block adds to its input (branch), or at what each member says.
        groups: int64 [F], the group of each feature; for a branch the one group, for members one each.
    """

    modules: tuple[str, ...]
    place: Literal["input", "output", "branch", "members"]
    groups: Tensor

    @property
    def count(self) -> int:
        """Return G."""
        return int(self.groups.max()) + 1


def taylor(network: nn.Module, sites: Mapping[str, Site], losses: Losses) -> dict[str, Tensor]:
    """Return the importance of each group of each site, float64 [G], the mean over the rows.

    Args:
        network: in evaluation mode; it is left as it was.
        sites: name -> where.
        losses: see Losses; called while the gates are in place.
    """
    totals = {name: torch.zeros(site.count, dtype=torch.float64) for name, site in sites.items()}
    gates: dict[str, Tensor] = {}
    handles = [_hook(network.get_submodule(module), site, partial(gates.__getitem__, name))
               for name, site in sites.items() for module in site.modules]
    seen = 0
    try:
        for rows, loss in losses:
            gates.update({name: torch.ones(rows, site.count, requires_grad=True) for name, site in sites.items()})
            found = torch.autograd.grad(loss(), list(gates.values()), allow_unused=True)
            for name, grad_BG in zip(gates, found, strict=True):
                if grad_BG is None:  # the loss does not read it: a pooler without a head on it
                    continue
                change_BG = -rows * grad_BG.double()  # of a row's own loss, were the group gone
                totals[name] += change_BG.sum(0) if sites[name].place == "members" else change_BG.abs().sum(0)
            seen += rows
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / max(1, seen) for name, total in totals.items()}


def _hook(module: nn.Module, site: Site, gate: Callable[[], Tensor]) -> RemovableHandle:
    def spread(like: Tensor) -> Tensor:
        gate_BF = gate()[:, site.groups]
        return gate_BF.view(len(gate_BF), *[1] * (like.ndim - 2), gate_BF.shape[1])

    def before(_module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return given[0] * spread(given[0]), *given[1:]

    def after(_module: nn.Module, given: tuple[Any, ...], out: Tensor) -> Tensor:
        if site.place == "branch":
            return given[0] + spread(out) * (out - given[0])
        return out * spread(out)

    def averaged(_module: nn.Module, _given: Any, out_BMO: Tensor) -> Tensor:
        gate_BM = gate()
        return ((out_BMO * gate_BM[:, :, None]).sum(1) / gate_BM.sum(1, keepdim=True))[:, None]

    if site.place == "input":
        return module.register_forward_pre_hook(before)
    return module.register_forward_hook(averaged if site.place == "members" else after)


def bert_sites(network: SlimBert) -> dict[str, Site]:
    """Return the sites of a BERT: `layer.i`, `heads.i`, `units.i` of each block, `hidden` and `pooled`."""
    config, found = network.config, dict[str, Site]()
    norms = ["bert.embeddings.LayerNorm"]
    for index, (heads, units) in enumerate(zip(config.num_attention_heads, config.intermediate_size, strict=True)):
        block = f"bert.encoder.layer.{index}"
        found[f"layer.{index}"] = Site((block,), "branch", torch.zeros(1, dtype=torch.int64))
        each = torch.arange(heads).repeat_interleave(config.head_size)
        found[f"heads.{index}"] = Site((f"{block}.attention.output.dense",), "input", each)
        found[f"units.{index}"] = Site((f"{block}.output.dense",), "input", torch.arange(units))
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
    found["hidden"] = Site(tuple(norms), "output", torch.arange(config.hidden_size))
    found["pooled"] = Site(("bert.pooler",), "output", torch.arange(config.pooler_size))
    return found


def table_sites(network: TableNetwork, columns: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Site]:
    """Return the sites of a network for tables: `columns`, `units.i` of each chain of hidden layers, and `members` where there are any.

    Args:
        network: whose inputs' places are counted in the columns that it reads.
        columns: of each column its numbers and its codes, by their places among those that the network reads.
    """
    firsts = ["layers.0" if len(network.layers) else "head", *(["skip"] if network.skip is not None else [])]
    places, count = layout(network), network.inputs.num_numbers
    group_F = torch.zeros(sum(len(place) for place in places), dtype=torch.int64)
    for group, (numbers, codes) in enumerate(columns):
        for feature in [*numbers, *(count + code for code in codes)]:
            group_F[places[feature]] = group
    found = {"columns": Site(tuple(firsts), "input", group_F)}
    for index, chain in enumerate(chains(network.config)):
        readers = tuple("head" if layer + 1 == len(network.layers) else f"layers.{layer + 1}" for layer in chain)
        found[f"units.{index}"] = Site(readers, "input", torch.arange(network.config.hidden_sizes[chain[0]]))
    if network.config.members > 1:
        found["members"] = Site(("",), "members", torch.arange(network.config.members))
    return found


def input_moments(network: nn.Module, names: Iterable[str], runs: Runs) -> dict[str, Moments]:
    """Return what the inputs of linear layers are like.

    Args:
        network: in evaluation mode.
        names: of the layers; one that reads a vector a row counts every row.
        runs: see Runs.
    """
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    mask = torch.empty(0)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            x_NI = given[0][mask] if given[0].ndim == 3 else given[0]
            counts[name] = counts.get(name, 0) + len(x_NI)
            size = x_NI.shape[1]
            sums[name] = sums.get(name, torch.zeros(size, dtype=torch.float64)) + x_NI.double().sum(0)
            squares[name] = squares.get(name, torch.zeros(size, size, dtype=torch.float64)) + (x_NI.T @ x_NI).double()

        return hook

    handles = [network.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        with torch.inference_mode():
            for forward, mask in runs:  # noqa: B007  the hooks read it
                forward()
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for name, total in sums.items():
        mean_I = total / counts[name]
        found[name] = Moments(mean_I.clone(), (squares[name] / counts[name] - mean_I[:, None] * mean_I).clone(), counts[name])
    return found
