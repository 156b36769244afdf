"""Smaller networks for tables: hidden units, members and input columns taken out.

Legend: M members, H units, F features of the encoded inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bessemer.core.errors import UserError
from bessemer.nn.sparse import SparseLinear
from bessemer.nn.table import TableConfig, TableNetwork


@dataclass(frozen=True)
class KeepTable:
    """What stays of a network for tables, by the old one's places, rising.

    Attributes:
        numbers: of the numbers that it reads.
        codes: of the code columns that it reads.
        units: of each hidden layer.
        members: of its members.
    """

    numbers: Sequence[int]
    codes: Sequence[int]
    units: tuple[Sequence[int], ...]
    members: Sequence[int]


def whole_table(network: TableNetwork) -> KeepTable:
    """Return what keeps a network whole."""
    reads = network.inputs
    return KeepTable(range(reads.num_numbers), range(len(reads.cardinalities)), tuple(range(size) for size in reads.hidden_sizes),
                     range(reads.members))


def layout(network: TableNetwork) -> list[Tensor]:
    """Return where each number, then each code column, lies in the encoded inputs: int64 places among F."""
    reads, categories = network.inputs, network.categories
    width = 1 if network.numbers is None else reads.number_embedding_size
    widths = [width] * reads.num_numbers + list(categories.widths)
    starts = torch.tensor([0, *widths]).cumsum(0).tolist()
    places = [torch.arange(start, start + size) for start, size in zip(starts, widths, strict=False)]
    numbers, laid = places[:reads.num_numbers], places[reads.num_numbers:]
    codes = dict(zip([*categories.few, *categories.many], laid, strict=True))  # one-hot columns stand before the others
    return numbers + [codes[column] for column in range(len(reads.cardinalities))]


def chains(config: TableConfig) -> list[list[int]]:
    """Return the hidden layers in runs whose outputs are added up, so that a unit is the same one in all of them."""
    found: list[list[int]] = []
    for layer, size in enumerate(config.hidden_sizes):
        if layer and config.residual and size == config.hidden_sizes[layer - 1]:
            found[-1].append(layer)
        else:
            found.append([layer])
    return found


def cut_table(network: TableNetwork, keep: KeepTable) -> TableNetwork:
    """Return the network with only what `keep` names. One member that is left is a plain MLP: its factors go into the weights."""
    old, whole = network.config, whole_table(network)
    narrowed = any(len(now) < len(before) for now, before in zip((keep.numbers, keep.codes, *keep.units),
                                                                 (whole.numbers, whole.codes, *whole.units), strict=True))
    alone = len(keep.members) == 1 and old.members > 1
    if (narrowed or alone) and any(isinstance(module, SparseLinear) for module in network.modules()):
        raise UserError("a network that is sparse from birth has no unit or column that can be taken out, because each neuron has the same "
                        "number of connections; leave out hidden_size and columns and keep 2 members or more, or raise sparsity instead")
    config = replace(
        old, hidden_sizes=tuple(len(units) for units in keep.units), members=len(keep.members),
        used_numbers=_used(old.used_numbers, keep.numbers, old.num_numbers),
        used_codes=_used(old.used_codes, keep.codes, len(old.cardinalities)))
    tensors = dict(network.state_dict())
    _inputs(network, keep, tensors)
    _layers(network, keep, tensors)
    if alone:
        _fold(network, tensors)
    edges = tensors.get("numbers.edges")
    found = TableNetwork(config, None if edges is None else [edge.unique() for edge in edges])
    found.load_state_dict(tensors)
    return found.train(network.training)


def _used(before: tuple[int, ...] | None, keep: Sequence[int], count: int) -> tuple[int, ...] | None:
    """Return the places of the inputs that stay among all that are given; None where these are all."""
    places = tuple((before or range(count))[place] for place in keep) if before != () else ()
    return None if len(places) == count else places


def _inputs(network: TableNetwork, keep: KeepTable, tensors: dict[str, Tensor]) -> None:
    """Take out what embeds the columns that go."""
    numbers = torch.tensor(list(keep.numbers), dtype=torch.int64)
    for name in [name for name in tensors if name.startswith("numbers.")]:
        tensors[name] = tensors[name][numbers]
        if not len(numbers):
            del tensors[name]
    if "numbers.edges" in tensors:  # features of fewer bins repeat their last edge: the longest that stays may be shorter
        longest = max(len(edge.unique()) for edge in tensors["numbers.edges"])
        tensors["numbers.edges"] = tensors["numbers.edges"][:, :longest]
        tensors["numbers.bins"] = tensors["numbers.bins"][:, :longest - 1]
    tables = {column: tensors.pop(f"categories.embeddings.{place}.weight") for place, column in enumerate(network.categories.many)}
    for place, column in enumerate(column for column in keep.codes if column in tables):
        tensors[f"categories.embeddings.{place}.weight"] = tables[column]


def _layers(network: TableNetwork, keep: KeepTable, tensors: dict[str, Tensor]) -> None:
    """Take out units, members, and the encoded inputs of the columns that go."""
    places, count = layout(network), network.inputs.num_numbers
    kept_columns = [*keep.numbers, *(count + code for code in keep.codes)]
    numbers = [places[column] for column in kept_columns if column < count]
    codes = [column for column in kept_columns if column >= count]
    one_hot = set(network.categories.few)
    codes.sort(key=lambda column: (column - count not in one_hot, column))
    into = torch.cat([*numbers, *(places[column] for column in codes)])
    members = torch.tensor(list(keep.members))
    if "seen" in tensors:
        tensors["seen"] = tensors["seen"][members][:, into]
    if "skip.weight" in tensors:
        tensors["skip.weight"] = tensors["skip.weight"][:, into]
    for layer, units in enumerate(keep.units):
        out = torch.tensor(list(units))
        _cut_layer(tensors, f"layers.{layer}.", into, out, members)
        for name in ("weight", "bias", "running_mean", "running_var"):
            norm = f"norms.{layer}.norm.{name}"
            if norm in tensors:
                by_member = tensors[norm].view(-1, network.inputs.hidden_sizes[layer])
                tensors[norm] = (by_member[members] if len(by_member) > 1 else by_member)[:, out].flatten()
        into = out
    tensors["head.weight"] = tensors["head.weight"][members][:, into]
    tensors["head.bias"] = tensors["head.bias"][members]


def _cut_layer(tensors: dict[str, Tensor], layer: str, into: Tensor, out: Tensor, members: Tensor) -> None:
    """Take out inputs, units and members of one layer."""
    for name, tensor in list(tensors.items()):
        if not name.startswith(layer):
            continue
        last = name.removeprefix(layer)
        if last == "linear.weight":
            tensors[name] = tensor[out][:, into]
        elif last == "linear.bias":
            tensors[name] = tensor[out] if len(out) < len(tensor) else tensor
        elif last in ("r", "s", "b"):
            tensors[name] = tensor[members][:, into if last == "r" else out]


def _fold(network: TableNetwork, tensors: dict[str, Tensor]) -> None:
    """Put the factors of the one member that is left into the weights."""
    for layer in range(len(network.layers)):
        name = f"layers.{layer}."
        weight = f"{name}linear.weight"
        if f"{name}r" in tensors:
            tensors[weight] = tensors[weight] * tensors.pop(f"{name}r")
        if f"{name}s" in tensors:
            tensors[weight] = tensors[weight] * tensors.pop(f"{name}s").T
            tensors[f"{name}linear.bias"] = tensors.pop(f"{name}b")[0]
