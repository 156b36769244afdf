"""Smaller networks from larger ones: layers, heads, units and channels taken out, vocabulary trimmed, matrices factorised.

Every function takes a SlimBert and returns a new one; the old one stays as it is.

Legend: D width, E embedding size, V vocabulary, T rows of the embedding table, I inputs and O outputs of a linear layer, R rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.low_rank import LowRank
from bessemer.nn.slim_bert import SlimBert, SlimConfig

Index = Sequence[int]
WORDS, TYPES = "bert.embeddings.word_embeddings.", "bert.embeddings.token_type_embeddings.weight"
_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")
# End of a linear layer's name -> what its outputs and its inputs are.
_AXES = {"self.query": ("heads", "hidden"), "self.key": ("heads", "hidden"), "self.value": ("heads", "hidden"),
         "attention.output.dense": ("hidden", "heads"), "intermediate.dense": ("units", "hidden"), "output.dense": ("hidden", "units"),
         "pooler.dense": ("pooled", "hidden"), "transform.dense": ("hidden", "hidden"), "word_embeddings.projection": ("hidden", "all"),
         "position_embeddings": ("all", "hidden"), "token_type_embeddings": ("all", "hidden"), "classifier": ("all", "pooled"),
         "seq_relationship": ("all", "pooled"), "LayerNorm": ("hidden", "all"), "predictions": ("all", "all")}


@dataclass(frozen=True)
class Keep:
    """What stays of a network, by the old one's numbers, rising.

    Attributes:
        layers: blocks.
        heads: of each block that stays, its attention heads.
        units: of each block that stays, its feed-forward units.
        hidden: channels of the residual stream.
        pooled: units of the pooled vector.
    """

    layers: tuple[int, ...]
    heads: tuple[Index, ...]
    units: tuple[Index, ...]
    hidden: Index
    pooled: Index


def all_of(network: SlimBert) -> Keep:
    """Return what keeps a network whole."""
    config = network.config
    return Keep(tuple(range(len(config.num_attention_heads))), tuple(range(count) for count in config.num_attention_heads),
                tuple(range(count) for count in config.intermediate_size), range(config.hidden_size), range(config.pooler_size))


def layers_only(network: SlimBert, layers: Sequence[int]) -> SlimBert:
    """Return the network with some of its layers."""
    whole = all_of(network)
    return cut(network, replace(whole, layers=tuple(layers), heads=tuple(whole.heads[layer] for layer in layers),
                                units=tuple(whole.units[layer] for layer in layers)))


def cut(network: SlimBert, keep: Keep) -> SlimBert:
    """Return the network with only what `keep` names; everything else is as it was."""
    old = network.config
    number = {before: after for after, before in enumerate(keep.layers)}

    def renamed(name: str) -> str | None:
        found = _LAYER.match(f"{name}.")
        if found is None:
            return name
        after = number.get(int(found[1]))
        return None if after is None else f"bert.encoder.layer.{after}.{name[found.end():]}"

    ranks = {new: rank for name, rank in old.ranks.items() if (new := renamed(name)) is not None}
    config = replace(old, num_attention_heads=tuple(len(heads) for heads in keep.heads),
                     intermediate_size=tuple(len(units) for units in keep.units), hidden_size=len(keep.hidden),
                     pooler_size=len(keep.pooled), ranks=ranks)
    found: dict[str, Tensor] = {}
    for name, tensor in network.tensors().items():
        new = renamed(name)
        if new is not None:
            layer = _LAYER.match(name)
            found[new] = _chosen(name, tensor, _indices(keep, None if layer is None else number[int(layer[1])], old))
    return _filled(network, config, found)


def _indices(keep: Keep, layer: int | None, old: SlimConfig) -> dict[str, Tensor | None]:
    """Return the places that stay of each kind of axis; None: all of them."""
    found: dict[str, Tensor | None] = {"all": None, "hidden": torch.tensor(list(keep.hidden)), "pooled": torch.tensor(list(keep.pooled))}
    # The table is as wide as the residual stream where nothing projects it.
    found["words"] = found["hidden"] if old.embedding_size is None else None
    if layer is not None:
        heads_H = torch.tensor(list(keep.heads[layer]))
        found["heads"] = (heads_H[:, None] * old.head_size + torch.arange(old.head_size)).flatten()
        found["units"] = torch.tensor(list(keep.units[layer]))
    return found


def _chosen(name: str, tensor: Tensor, places: Mapping[str, Tensor | None]) -> Tensor:
    """Return the part of one tensor that stays."""
    module, _, last = name.rpartition(".")
    if module == WORDS[:-1]:
        columns = places["words"] if last == "weight" else None
        return tensor if columns is None else tensor.index_select(1, columns)
    module, _, factor = module.rpartition(".") if module.endswith((".down", ".up")) else (module, "", "")
    rows_of, columns_of = next(axes for end, axes in _AXES.items() if module.endswith(end))
    rows, columns = (None if factor == "down" else places[rows_of]), (None if factor == "up" else places[columns_of])
    if rows is not None:
        tensor = tensor.index_select(0, rows)
    return tensor.index_select(1, columns) if columns is not None and tensor.ndim == 2 else tensor


@torch.no_grad()
def _filled(network: SlimBert, config: SlimConfig, tensors: Mapping[str, Tensor]) -> SlimBert:
    """Return a network of another shape with these tensors."""
    found = SlimBert(config, network.heads, network.labels)
    for name, target in found.tensors().items():
        target.copy_(tensors[name])
    return found.train(network.training)


def with_positions(network: SlimBert, count: int) -> SlimBert:
    """Return the network with the first `count` positions: it reads no longer input, and answers shorter ones alike."""
    if count >= network.config.max_position_embeddings:
        return network
    tensors = network.tensors()
    name = "bert.embeddings.position_embeddings.weight"
    return _filled(network, replace(network.config, max_position_embeddings=count), {**tensors, name: tensors[name][:count]})


def with_vocabulary(network: SlimBert, kept: Sequence[int], unknown: int) -> SlimBert:
    """Return the network with embeddings of some tokens; the others are read as the unknown token.

    Args:
        network: its embeddings are not hashed; they may be trimmed already.
        kept: rising ids, the unknown token's among them.
        unknown: that id.
    """
    if network.config.hash_buckets is not None:
        raise UserError("hashed embeddings have no row of their own for each token; leave out 'vocabulary'")
    ids_T = torch.tensor(list(kept))
    tensors = network.tensors()
    words = network.bert.embeddings.word_embeddings
    rows_T = words.token_map[ids_T].long() if words.trimmed else ids_T
    rows, place_T = rows_T.unique(return_inverse=True)
    token_map_V = torch.full((network.config.vocab_size,), int(place_T[list(kept).index(unknown)]), dtype=torch.int32)
    token_map_V[ids_T] = place_T.int()
    changed = {f"{WORDS}weight": words.weight[rows], f"{WORDS}token_map": token_map_V}
    return _filled(network, replace(network.config, vocab_kept=len(rows)), {**tensors, **changed})


@torch.no_grad()
def with_narrow_embeddings(network: SlimBert, size: int, counts_V: Tensor | None = None) -> SlimBert:
    """Return the network with its word embeddings factorised to E dimensions (Lan et al. 2020), by a weighted SVD around their mean.

    The mean goes to the segments' embeddings, of which every input adds one.

    Args:
        network: whose embedding may be factorised already.
        size: E, at most what it is; with that nothing is lost.
        counts_V: how often each token occurs, which weighs its error; None: all alike.
    """
    words, config = network.bert.embeddings.word_embeddings, network.config
    most = config.embedding_size or config.hidden_size
    if not 1 <= size <= most:
        raise UserError(f"embedding_size {size}: expected 1 to {most}, which it is now")
    table_TD = words.weight.double() if words.projection is None else words.weight.double() @ words.projection.weight.double().T
    weight_T = torch.ones(len(table_TD), dtype=torch.float64)
    if counts_V is not None and not words.hashed:
        counts_T = counts_V.double()
        if words.trimmed:
            counts_T = torch.zeros_like(weight_T).index_add_(0, words.token_map.long(), counts_T)
        weight_T = counts_T + 1.0  # a token that training never saw still has a say
    weight_T = weight_T / weight_T.sum()
    mean_D = (weight_T[:, None] * table_TD).sum(0) if not words.hashed else torch.zeros(config.hidden_size, dtype=torch.float64)
    centred_TD = table_TD - mean_D
    axes_DE = torch.linalg.eigh(centred_TD.T @ (weight_T[:, None] * centred_TD)).eigenvectors[:, -size:].flip(1)
    tensors = network.tensors()
    changed = {f"{WORDS}weight": (centred_TD @ axes_DE).float(), f"{WORDS}projection.weight": axes_DE.float(),
               TYPES: (tensors[TYPES].double() + mean_D).float()}
    return _filled(network, replace(config, embedding_size=size), {**tensors, **changed})


@dataclass(frozen=True)
class Moments:
    """What a linear layer's inputs are like: their mean [I] and covariance [I, I], float64, over `count` positions."""

    mean_I: Tensor
    covariance_II: Tensor
    count: int = 0


@torch.no_grad()
def with_low_rank(network: SlimBert, ranks: Mapping[str, int], moments: Mapping[str, Moments] | None = None) -> SlimBert:
    """Return the network with linear layers as products of two.

    With the moments of a layer's inputs the outputs' principal components stay (Chen et al. 2021, DRONE) and the bias takes the mean of
    what is lost; without them it is the matrix's truncated SVD (Eckart & Young 1936).

    Args:
        network: its layers named in `ranks` are not factorised yet.
        ranks: dotted name -> R.
        moments: of the inputs of each of these layers.
    """
    tensors = dict(network.tensors())
    for name, rank in ranks.items():
        layer = network.get_submodule(name)
        if not isinstance(layer, nn.Linear):
            raise UserError(f"rank: '{name}' is factorised already; leave out 'rank'")
        weight_OI = tensors.pop(f"{name}.weight").double()
        bias_O = tensors.pop(f"{name}.bias").double()
        if moments is None:
            spread_OO, mean_O = weight_OI @ weight_OI.T, torch.zeros_like(bias_O)
        else:
            spread_OO = weight_OI @ moments[name].covariance_II @ weight_OI.T
            mean_O = weight_OI @ moments[name].mean_I
        axes_OR = torch.linalg.eigh(spread_OO).eigenvectors[:, -rank:].flip(1)
        tensors[f"{name}.down.weight"] = (axes_OR.T @ weight_OI).float()
        tensors[f"{name}.up.weight"] = axes_OR.float()
        tensors[f"{name}.up.bias"] = (bias_O + mean_O - axes_OR @ (axes_OR.T @ mean_O)).float()
    return _filled(network, replace(network.config, ranks={**network.config.ranks, **ranks}), tensors)


def dense_layers(network: SlimBert) -> dict[str, nn.Linear]:
    """Return the linear layers of the blocks that are not factorised, by name."""
    prefixes = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, LowRank))
    return {name: module for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and name.startswith("bert.encoder.") and not name.startswith(prefixes)}
