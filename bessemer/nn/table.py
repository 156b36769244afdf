"""Networks for tables: encoded numbers and categories through an MLP of one or many members, dense or sparse from birth.

Sources: TabM (Gorishniy et al. 2024), BatchEnsemble (Wen et al. 2020), On Embeddings for Numerical Features (Gorishniy et al. 2022).

Legend: B rows, M members, F numbers, K code columns, D encoded width, H hidden width, O outputs.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.checkpoint import read_config, read_weights
from bessemer.nn.members import ByteDropout, MemberHeads, MemberLinear, MemberNorm, scales
from bessemer.nn.number_embeddings import LinearNumbers, PeriodicNumbers, PiecewiseNumbers
from bessemer.nn.sparse import Pattern, SparseLinear

MODEL_TYPE = "bessemer-table"
# Columns of at most so many codes are one-hot.
ONE_HOT = 8
Activation = Literal["relu", "gelu", "silu"]
Adapters = Literal["full", "mini", "none"]
NumberEmbedding = Literal["none", "linear", "piecewise", "periodic"]
_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


@dataclass(frozen=True)
class TableConfig:
    """The architecture of a TableNetwork; JSON-able, the content of its config.json.

    Attributes:
        num_numbers: F, float features.
        cardinalities: number of codes of each code column; its codes are 0..cardinality-1.
        num_outputs: O, raw outputs, the heads of all targets one after another.
        hidden_sizes: width of each hidden layer; empty is a linear model.
        dropout: part of the hidden units that is dropped in training, in steps of 1/256 (see ByteDropout).
        activation: of the hidden layers.
        batch_norm: normalise before each activation; with full adapters each member by its own statistics.
        residual: hidden layers of equal width in and out add their input.
        linear_skip: add an affine map, which all members share, from the encoded inputs to the outputs.
        members: M, sub-networks that share their weights; 1 is a plain MLP whatever `adapters` says.
        adapters: what each member has of its own: `full` r, s and b in each layer (TabM), `mini` the first r only (TabM-mini), `none`
            only with one member. Heads are always a member's own.
        member_features: part of the features (whole columns) that each member sees, a random subset drawn when the network is built.
        number_embedding: how numbers are embedded; `none` passes them on.
        number_embedding_size: width of a number's embedding.
        frequency_scale: standard deviation of the initial frequencies of periodic embeddings.
        category_embedding_size: columns of more than 8 codes are embedded in min(this, ceil(cardinality / 2)) dimensions, others one-hot.
        sparsity: part of the weights of the hidden layers that do not exist, from birth; heads and embeddings are dense.
        used_numbers: the numbers that are read, by their places, rising; None: all. Those left out have no weights.
        used_codes: the code columns that are read.
        sparse_pattern: which weights exist, see SparseLinear. `block` takes tiles of the largest power of 2 up to 16 that divides the
            widths in and out, `group` as many equal groups, at most 8, as leave room for the connections of a neuron.
    """

    num_numbers: int
    cardinalities: tuple[int, ...]
    num_outputs: int
    hidden_sizes: tuple[int, ...] = (192, 192)
    dropout: float = 0.1
    activation: Activation = "relu"
    batch_norm: bool = False
    residual: bool = False
    linear_skip: bool = False
    members: int = 1
    adapters: Adapters = "full"
    member_features: float = 1.0
    number_embedding: NumberEmbedding = "none"
    number_embedding_size: int = 16
    frequency_scale: float = 0.02
    category_embedding_size: int = 16
    sparsity: float = 0.0
    sparse_pattern: Pattern = "random"
    used_numbers: tuple[int, ...] | None = None
    used_codes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values; a bad one is a UserError."""
        object.__setattr__(self, "cardinalities", tuple(self.cardinalities))
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        for name, count in (("used_numbers", self.num_numbers), ("used_codes", len(self.cardinalities))):
            used = getattr(self, name)
            if used is not None:
                object.__setattr__(self, name, tuple(used))
                _expect(list(used) == sorted(set(used) & set(range(count))), self, name, f"rising places below {count}")
        whole = (("num_numbers", 0), ("num_outputs", 1), ("members", 1), ("number_embedding_size", 1), ("category_embedding_size", 1))
        for name, least in whole:
            _expect(isinstance(getattr(self, name), int) and getattr(self, name) >= least, self, name, f"a whole number of {least} or more")
        for name in ("cardinalities", "hidden_sizes"):
            _expect(all(isinstance(item, int) and item >= 1 for item in getattr(self, name)), self, name, "whole numbers of 1 or more")
        for name, kinds in (("activation", Activation), ("adapters", Adapters), ("number_embedding", NumberEmbedding),
                            ("sparse_pattern", Pattern)):
            _expect(getattr(self, name) in get_args(kinds), self, name, f"one of {', '.join(get_args(kinds))}")
        _expect(0 <= self.dropout < 1, self, "dropout", "a number from 0 to below 1")
        _expect(0 <= self.sparsity < 1, self, "sparsity", "a number from 0 to below 1")
        _expect(0 < self.member_features <= 1, self, "member_features", "a number above 0 and up to 1")
        _expect(self.frequency_scale > 0, self, "frequency_scale", "a number above 0")
        _expect(self.num_numbers + len(self.cardinalities) > 0, self, "num_numbers", "1 or more where there is no code column")
        _expect(self.used_numbers != () or self.used_codes != (), self, "used_numbers", "a number or a code column that is read")
        _expect(self.adapters != "none" or self.members == 1, self, "adapters", "full or mini for several members")
        _expect(bool(self.hidden_sizes) or self.members == 1, self, "hidden_sizes", "a hidden layer or more for several members")

    def read(self) -> TableConfig:
        """Return the architecture of what comes after the choice of inputs: one that reads all that it is given."""
        numbers = self.num_numbers if self.used_numbers is None else len(self.used_numbers)
        codes = self.cardinalities if self.used_codes is None else tuple(self.cardinalities[code] for code in self.used_codes)
        return dataclasses.replace(self, num_numbers=numbers, cardinalities=codes, used_numbers=None, used_codes=None)


def _expect(good: bool, config: TableConfig, name: str, expected: str) -> None:
    if not good:
        raise UserError(f"the table network's '{name}' is {getattr(config, name)!r}; expected {expected}")


class TableNetwork(nn.Module):
    """Numbers and codes of rows -> raw outputs of every member.

    Args:
        config: the architecture.
        edges: bin edges of each number, for piecewise embeddings only (see PiecewiseNumbers); kept in the state.
    """

    seen: Tensor
    used_numbers: Tensor
    used_codes: Tensor

    def __init__(self, config: TableConfig, edges: Tensor | Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        for name in ("used_numbers", "used_codes"):
            if getattr(config, name) is not None:
                self.register_buffer(name, torch.tensor(getattr(config, name), dtype=torch.int64), persistent=False)
        self.inputs = config = config.read()
        self.numbers = _number_embedding(config, edges)
        number_width = 1 if self.numbers is None else config.number_embedding_size
        self.categories = Categories(config.cardinalities, config.category_embedding_size)
        widths = [number_width] * config.num_numbers + list(self.categories.widths)
        last = sum(widths)
        if config.member_features < 1:
            self.register_buffer("seen", _subsets(config.members, widths, config.member_features))
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for position, width in enumerate(config.hidden_sizes):
            self.layers.append(_layer(config, widths if position == 0 else [last], width, position == 0))
            if config.batch_norm:
                self.norms.append(MemberNorm(width, config.members if config.adapters == "full" else 1))
            last = width
        self.activation = _ACTIVATIONS[config.activation]()
        self.dropout = ByteDropout(config.dropout)
        self.head = MemberHeads(config.members, last, config.num_outputs)
        self.skip = nn.Linear(sum(widths), config.num_outputs) if config.linear_skip else None

    def encode(self, numbers_BF: Tensor, codes_BK: Tensor) -> Tensor:
        """Return what the first layer sees, [B, D]: embedded numbers, one-hot codes, embedded codes."""
        parts = []
        if self.config.used_numbers is not None:
            numbers_BF = numbers_BF[:, self.used_numbers]
        if self.config.used_codes is not None:
            codes_BK = codes_BK[:, self.used_codes]
        if self.inputs.num_numbers:
            parts.append(numbers_BF if self.numbers is None else self.numbers(numbers_BF).flatten(1))
        if self.inputs.cardinalities:
            parts.append(self.categories(codes_BK))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def hidden(self, encoded_BD: Tensor) -> Tensor:
        """Return the last hidden layer [B, M, H] of encoded rows [B, D]."""
        x_BMD = encoded_BD[:, None, :]
        if self.config.member_features < 1:
            x_BMD = x_BMD * self.seen
        for position, layer in enumerate(self.layers):
            y_BMH = layer(x_BMD)
            if self.config.batch_norm:
                y_BMH = self.norms[position](y_BMH)
            y_BMH = self.dropout(self.activation(y_BMH))
            x_BMD = x_BMD + y_BMH if self.config.residual and position and y_BMH.shape[2] == x_BMD.shape[2] else y_BMH
        return x_BMD

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Return raw outputs [B, M, O] of float32 [B, F] and int64 [B, K]; F or K may be 0."""
        encoded_BD = self.encode(numbers, codes)
        outputs_BMO: Tensor = self.head(self.hidden(encoded_BD))
        return outputs_BMO if self.skip is None else outputs_BMO + self.skip(encoded_BD)[:, None, :]

    def head_names(self) -> tuple[str, ...]:
        """Return the names of the submodules that make the outputs; every other parameter is the trunk's."""
        return ("head",) if self.skip is None else ("head", "skip")

    def describe(self) -> dict[str, Any]:
        """Return the content of config.json."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self.config)}

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of model.safetensors."""
        return dict(self.state_dict())

    def dense(self) -> TableNetwork:
        """Return a copy whose sparse layers hold dense weights, for export; a layer too large for that is a UserError."""
        found = copy.deepcopy(self)
        for layer in found.layers:
            if isinstance(layer.linear, SparseLinear):
                layer.linear = layer.linear.dense()
        return found


class Categories(nn.Module):
    """Codes -> one-hot for columns of few codes, then embeddings of the others, each in the order of the columns.

    Attributes:
        widths: the number of dimensions of each column, in the order in which they are laid out.
    """

    level: Tensor
    place: Tensor

    def __init__(self, cardinalities: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.few = [column for column, count in enumerate(cardinalities) if count <= ONE_HOT]
        self.many = [column for column, count in enumerate(cardinalities) if count > ONE_HOT]
        few = torch.tensor([cardinalities[column] for column in self.few], dtype=torch.int64)
        place = torch.tensor(self.few, dtype=torch.int64).repeat_interleave(few)
        level = torch.arange(len(place)) - (few.cumsum(0) - few).repeat_interleave(few)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("level", level, persistent=False)
        counts = [cardinalities[column] for column in self.many]
        self.embeddings = nn.ModuleList(nn.Embedding(count, min(size, math.ceil(count / 2))) for count in counts)
        self.widths = (*few.tolist(), *(min(size, math.ceil(count / 2)) for count in counts))

    def forward(self, codes_BK: Tensor) -> Tensor:
        """Return float32 [B, sum of widths] of int64 [B, K]."""
        parts = [(codes_BK[:, self.place] == self.level).float()] if self.few else []
        parts += [embedding(codes_BK[:, column]) for column, embedding in zip(self.many, self.embeddings, strict=True)]
        return torch.cat(parts, 1)


def _number_embedding(config: TableConfig, edges: Tensor | Sequence[Tensor] | None) -> nn.Module | None:
    kind, size = config.number_embedding, config.number_embedding_size
    if edges is not None and kind != "piecewise":
        raise ValueError(f"bin edges are for piecewise embeddings; number_embedding is '{kind}'")
    if kind == "none" or config.num_numbers == 0:
        return None
    if kind == "linear":
        return LinearNumbers(config.num_numbers, size)
    if kind == "periodic":
        return PeriodicNumbers(config.num_numbers, size, config.frequency_scale)
    if edges is None or len(edges) != config.num_numbers:
        raise ValueError(f"piecewise embeddings of {config.num_numbers} numbers need as many lists of bin edges, not "
                         f"{'none' if edges is None else len(edges)}")
    return PiecewiseNumbers(list(edges), size)


def _subsets(members: int, widths: list[int], part: float) -> Tensor:
    """Return 1 where a member sees a dimension, [M, D]; each member sees whole features, `part` of them and at least one."""
    count = max(1, round(part * len(widths)))
    chosen_MC = torch.rand(members, len(widths)).argsort(1)[:, :count]
    return torch.zeros(members, len(widths)).scatter_(1, chosen_MC, 1.0).repeat_interleave(torch.tensor(widths), 1)


def _layer(config: TableConfig, widths: list[int], width: int, first: bool) -> MemberLinear:
    """Build a hidden layer; only the first one's r begins random (TabM), normal where numbers are embedded and signs else."""
    full = config.members > 1 and config.adapters == "full"
    r = None
    if config.members > 1 and first:
        r = scales(config.members, widths, "signs" if config.number_embedding == "none" else "normal")
    elif full:
        r = scales(config.members, widths, "ones")
    before = sum(widths)
    if config.sparsity == 0:
        return MemberLinear(nn.Linear(before, width, bias=not full), config.members, r, own_output=full)
    sparse = SparseLinear(before, width, sparsity=config.sparsity, pattern=config.sparse_pattern, bias=not full,
                          shape=_parts(config, before, width))
    return MemberLinear(sparse, config.members, r, own_output=full)


def _parts(config: TableConfig, before: int, width: int) -> int | None:
    """Return the tile's edge or the number of groups of a sparse layer; None for the random pattern."""
    if config.sparse_pattern == "block":
        return math.gcd(before, width, 16)
    if config.sparse_pattern == "group":
        connections = max(1, round(before * (1 - config.sparsity)))
        return min(8, before // connections, width)
    return None


def save_table_network(network: TableNetwork, folder: Path) -> None:
    """Write config.json and model.safetensors; the same weights give the same bytes. The caller commits the folder."""
    config = json.dumps(network.describe(), indent=2, ensure_ascii=False, sort_keys=True)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.tensors().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def is_table_network(folder: Path) -> bool:
    """Say whether a folder's config.json is a table network's; a folder without one is none, a broken one a UserError."""
    if not (folder / "config.json").is_file():
        return False
    return read_config(folder).get("model_type") == MODEL_TYPE


def load_table_network(folder: Path) -> TableNetwork:
    """Return the network of a folder; a damaged or foreign folder is a UserError."""
    content = read_config(folder)
    if content.pop("model_type", None) != MODEL_TYPE:
        raise UserError(f"'{folder}' holds no table network; expected \"model_type\": \"{MODEL_TYPE}\" in its config.json")
    if not (folder / "model.safetensors").is_file():
        raise UserError(f"'{folder}' has no model.safetensors; copy the whole folder again")
    names = {item.name for item in dataclasses.fields(TableConfig)}
    odd = (set(content) ^ names) - ({"used_numbers", "used_codes"} - set(content))  # version 0.2 had none of these
    if odd:
        raise UserError(f"'{folder / 'config.json'}': the keys {sorted(odd)} are missing or unknown; copy the folder "
                        f"again")
    state = read_weights(folder)
    try:
        config = TableConfig(**content)
        edges = state.get("numbers.edges")
        network = TableNetwork(config, None if edges is None else [edge.unique() for edge in edges])
        network.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"'{folder}': config.json and model.safetensors do not fit together ({reason}); copy the folder again") from None
    return network
