"""A linear layer that holds only the weights that exist, from birth, in its gradients, its optimiser and its file.

Each neuron has the same number of connections, so that none is left without and the structure is one array of columns. Sources: SET
(Mocanu et al. 2018), RigL (Evci et al. 2020); a fixed fan-in as in SRigL (Lasby et al. 2023).

Products run over feature-major (transposed) activations: y = W x is a weighted sum of rows of x^T, which `embedding_bag` does three to
four times faster on CPUs than a product with a CSR matrix (benchmarks/sparse.py).

Legend: N rows, I inputs, O neurons, T tiles a row of tiles (connections where a tile is one weight), R rows of tiles, Z weights = O T edge,
C candidates, G tiles that are replaced.
"""

from __future__ import annotations

import copy
import functools
import threading
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as func
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bessemer.core.errors import UserError
from bessemer.nn.distinct import CHUNK, distinct

Pattern = Literal["random", "block", "group"]
Shape = int | tuple[int, ...] | None
# A dense copy of more weights than this is refused (256 MiB).
_DENSE_LIMIT = 1 << 26
# Rows of a batch that are multiplied at once: their transpose stays in the second-level cache.
_ROWS = 256
# Weights that are worked on at once where a copy of them is needed.
_WEIGHTS = 1 << 22
_MAKING = threading.Lock()


@dataclass(frozen=True)
class Structure:
    """Where the weights of a layer are.

    Attributes:
        columns_Z: int32, the input of each weight; the weights of one neuron lie together.
        starts_O: int32 [O + 1], where each neuron begins.
        num_inputs: I.
    """

    columns_Z: Tensor
    starts_O: Tensor
    num_inputs: int

    def transposed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return, ordered by input: the weight's index int32 [Z], its neuron int32 [Z], where each input begins int32 [I + 1].

        A counting sort by chunks: no 64-bit array of Z values is made.
        """
        num_weights, fan_in = len(self.columns_Z), int(self.starts_O[1])
        chunks = self.columns_Z.split(_WEIGHTS)
        count_I = torch.zeros(self.num_inputs, dtype=torch.int64, device=self.columns_Z.device)
        for chunk in chunks:
            count_I += chunk.bincount(minlength=self.num_inputs)
        end_I = count_I.cumsum(0)
        starts_I = func.pad(end_I, (1, 0)).int()
        next_I = end_I - count_I
        index_Z, neuron_Z = (torch.empty(num_weights, dtype=torch.int32, device=next_I.device) for _ in range(2))
        begin = 0
        for chunk in chunks:
            column, order = chunk.sort(stable=True)
            count_I = chunk.bincount(minlength=self.num_inputs)
            place = (next_I - count_I.cumsum(0) + count_I)[column] + torch.arange(len(chunk), device=column.device)
            order += begin
            index_Z[place] = order.int()
            neuron_Z[place] = order.div_(fan_in, rounding_mode="floor").int()
            next_I += count_I
            begin += len(chunk)
        return index_Z, neuron_Z, starts_I


@functools.cache
def _accept_csr() -> None:
    """Let torch say once, to nobody, that its CSR tensors are in beta; only `sampled_addmm` is used of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        torch.sparse_csr_tensor(torch.tensor([0, 0]), torch.empty(0, dtype=torch.int64), torch.empty(0), (1, 1), check_invariants=False)


def _sums(rows_RN: Tensor, index_Z: Tensor, starts: Tensor, values_Z: Tensor) -> Tensor:
    """Return for each run of weights the sum of the rows that it names times its values, [runs, N].

    `torch.nn.functional.embedding_bag` without its checks, which take as long as the sums of a small layer.
    """
    found: Tensor = torch.embedding_bag(rows_RN, index_Z, starts, False, 0, False, values_Z, True)[0]
    return found


class _Plan:
    """A structure and, from the first input gradient on, its transpose; of a small one, from the first weight gradient on, its CSR form."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._transposed: tuple[Tensor, Tensor, Tensor] | None = None
        self._pattern: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Plan:
        """Return a plan of the copied structure; torch copies no CSR tensor, and what was made of the structure is made again."""
        return _Plan(copy.deepcopy(self.structure, memo))

    def forward(self, x_IN: Tensor, values_Z: Tensor) -> Tensor:
        """Return W x, [O, N]."""
        return _sums(x_IN, self.structure.columns_Z, self.structure.starts_O, values_Z)

    def input_gradient(self, grad_ON: Tensor, values_Z: Tensor) -> Tensor:
        """Return W^T g, [I, N], chunk by chunk, because the weights in the order of the inputs are a copy."""
        with _MAKING:  # threads that compute parts of a batch make it once
            if self._transposed is None:
                self._transposed = self.structure.transposed()
        index_Z, neuron_Z, starts_I = self._transposed
        if len(index_Z) <= _WEIGHTS:
            return _sums(grad_ON, neuron_Z, starts_I, values_Z.index_select(0, index_Z))
        num_inputs = self.structure.num_inputs
        step = max(1, num_inputs * _WEIGHTS // len(index_Z))
        parts = []
        for begin in range(0, num_inputs, step):
            starts = starts_I[begin:begin + step + 1]
            first, last = int(starts[0]), int(starts[-1])
            parts.append(_sums(grad_ON, neuron_Z[first:last], starts - first, values_Z.index_select(0, index_Z[first:last])))
        return torch.cat(parts)

    def weight_gradient(self, grad_ON: Tensor, x_IN: Tensor, values_Z: Tensor) -> Tensor:
        """Return g x^T at the weights that exist, [Z]."""
        structure, num_neurons = self.structure, len(grad_ON)
        if len(values_Z) <= _WEIGHTS:
            if self._pattern is None:
                _accept_csr()
                # Its values are multiplied by 0: they need only be finite.
                self._pattern = torch.sparse_csr_tensor(structure.starts_O, structure.columns_Z, torch.zeros_like(values_Z),
                                                        (num_neurons, structure.num_inputs), check_invariants=False)
            whole: Tensor = torch.sparse.sampled_addmm(self._pattern, grad_ON, x_IN.t(), beta=0.0).values()
            return whole
        _accept_csr()
        fan_in = len(values_Z) // num_neurons
        step = max(1, _WEIGHTS // fan_in)
        found_Z = torch.empty_like(values_Z)
        for begin in range(0, num_neurons, step):
            grad = grad_ON[begin:begin + step]
            span = slice(begin * fan_in, (begin + len(grad)) * fan_in)
            pattern = torch.sparse_csr_tensor(structure.starts_O[:len(grad) + 1], structure.columns_Z[span], values_Z[span],
                                              (len(grad), structure.num_inputs), check_invariants=False)
            found_Z[span] = torch.sparse.sampled_addmm(pattern, grad, x_IN.t(), beta=0.0).values()
        return found_Z


def _chunks(rows_NW: Tensor) -> list[Tensor]:
    """Return some rows at a time, feature-major: [W, rows of the chunk]."""
    if len(rows_NW) <= _ROWS:
        return [rows_NW.t().contiguous()]
    return [chunk.t().contiguous() for chunk in rows_NW.split(_ROWS)]


class _Product(torch.autograd.Function):
    """x, values, bias -> x W^T + bias, with gradients of the existing weights only."""

    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, values_Z: Tensor, bias_O: Tensor | None, plan: _Plan) -> Tensor:
        chunks = _chunks(x_NI)
        ctx.plan, ctx.has_bias = plan, bias_O is not None
        ctx.save_for_backward(values_Z, *chunks)
        parts = []
        for x_IN in chunks:
            y_ON = plan.forward(x_IN, values_Z)
            parts.append(y_ON.t() if bias_O is None else y_ON.add_(bias_O.unsqueeze(1)).t())
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NO: Tensor) -> tuple[Tensor | None, ...]:
        values_Z, *chunks = ctx.saved_tensors
        grads = _chunks(grad_NO)
        grad_x = grad_values = grad_bias = None
        if ctx.needs_input_grad[0]:
            parts = [ctx.plan.input_gradient(grad_ON, values_Z).t() for grad_ON in grads]
            grad_x = parts[0] if len(parts) == 1 else torch.cat(parts)
        if ctx.needs_input_grad[1]:
            for grad_ON, x_IN in zip(grads, chunks, strict=True):
                found = ctx.plan.weight_gradient(grad_ON, x_IN, values_Z)
                grad_values = found if grad_values is None else grad_values.add_(found)
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad_NO.sum(0)
        return grad_x, grad_values, grad_bias, None


class SparseLinear(nn.Module):
    """y = x W^T + b, [..., I] -> [..., O], where only some weights of W exist.

    The output of one call with at most 256 rows is laid out feature-major (a transposed view), which a next sparse layer needs.

    Args:
        in_features: I.
        out_features: O.
        sparsity: a float in [0, 1) is the part of the weights that do not exist; a whole number is the connections of each neuron.
        pattern: `random`: any inputs, chosen for each neuron; `block`: whole tiles of weights; `group`: each neuron's inputs lie in one
            group of inputs (neurons in order, as many a group as its part of the inputs).
        bias: whether there is b.
        shape: the edge of a tile (16 by default) for `block`; for `group` the sizes of the groups, which add up to I, or the number of
            equal groups (4 by default).

    Attributes:
        values: float32 [Z], the weights, neuron after neuron.
        columns: int32 [O / edge, T], the inputs (in tiles) of each row of tiles.
        bias: float32 [O] or None.
    """

    columns: Tensor

    def __init__(self, in_features: int, out_features: int, sparsity: float | int = 0.9, pattern: Pattern = "random", bias: bool = True,
                 shape: Shape = None) -> None:
        super().__init__()
        self.in_features, self.out_features, self.pattern = in_features, out_features, pattern
        self.edge = (shape if isinstance(shape, int) else 16) if pattern == "block" else 1
        if in_features % self.edge or out_features % self.edge:
            raise UserError(f"a sparse layer of {in_features} inputs and {out_features} neurons has no whole tiles of {self.edge} x "
                            f"{self.edge}; give a width that both are multiples of")
        self.groups = _groups(in_features, out_features, shape) if pattern == "group" else ()
        tiles = in_features // self.edge
        whole = isinstance(sparsity, int) and sparsity > 0
        wanted = sparsity / self.edge if whole else tiles * (1 - sparsity)
        count = max(1, round(wanted))
        offset_R, size_R = self._room()
        if not (whole or 0 <= sparsity < 1) or count > int(size_R.min()):
            raise UserError(f"a sparse layer with sparsity {sparsity} would have {count} tiles or connections a neuron out of "
                            f"{int(size_R.min())}; expected a part from 0 to below 1 that leaves at least one and fits a group")
        if count * self.edge * out_features >= 1 << 31:
            raise UserError(f"a sparse layer of {count * self.edge * out_features} weights is too large; at most 2^31 - 1 are possible")
        none_taken = torch.empty(len(size_R), 0, dtype=torch.int32)
        self.register_buffer("columns", distinct(count, size_R, none_taken).add_(offset_R[:, None].int()))
        bound = (count * self.edge) ** -0.5
        self.values = nn.Parameter(torch.empty(out_features * count * self.edge).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None
        self._plan: tuple[Tensor, int, _Plan] | None = None

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        return f"{self.in_features}, {self.out_features}, weights={self.values.numel()}, pattern={self.pattern}"

    def _room(self) -> tuple[Tensor, Tensor]:
        """Return the first tile of each row of tiles' group and the number of tiles in it, int64 [R]."""
        rows, tiles = self.out_features // self.edge, self.in_features // self.edge
        sizes = torch.tensor(self.groups or (tiles,), dtype=torch.int64)
        ends = (sizes.cumsum(0) * rows).div(tiles, rounding_mode="floor")
        group_R = torch.searchsorted(ends, torch.arange(rows), right=True)
        return (sizes.cumsum(0) - sizes)[group_R], sizes[group_R]

    def element_columns(self) -> Tensor:
        """Return the input of each weight, int32 [O, connections], in the order of `values`; duplicates never occur in a row."""
        if self.edge == 1:
            return self.columns
        inside = torch.arange(self.edge, dtype=torch.int32, device=self.columns.device)
        wide = (self.columns[:, :, None] * self.edge + inside).flatten(1)
        return wide.repeat_interleave(self.edge, 0)

    def _planned(self) -> _Plan:
        """Return the plan of the present columns; loading, moving and regrowing make a new one."""
        columns = self.columns
        if self._plan is None or self._plan[0] is not columns or self._plan[1] != columns._version:
            columns_OT = self.element_columns()
            fan_in = columns_OT.shape[1]
            starts_O = torch.arange(0, columns_OT.numel() + 1, fan_in, dtype=torch.int32, device=columns_OT.device)
            plan = _Plan(Structure(columns_OT.flatten(), starts_O, self.in_features))
            self._plan = (columns, columns._version, plan)
        return self._plan[2]

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] of [..., I]. While a graph is exported it is a dense product, for layers up to 2^26 weights."""
        if torch.compiler.is_exporting():
            return func.linear(x, self.dense_weight(), self.bias)
        values_Z = self.values
        flat_NI = x if x.ndim == 2 else x.reshape(-1, self.in_features)
        y_NO: Tensor = _Product.apply(flat_NI.to(values_Z.dtype), values_Z, self.bias, self._planned())
        return y_NO if x.ndim == 2 else y_NO.reshape(*x.shape[:-1], self.out_features)

    def dense_weight(self) -> Tensor:
        """Return W as a dense [O, I] tensor, for export and for checks; a layer of more than 2^26 places is a UserError."""
        if self.in_features * self.out_features > _DENSE_LIMIT:
            raise UserError(f"a sparse layer of {self.in_features} inputs and {self.out_features} neurons is too large to become dense "
                            f"(more than {_DENSE_LIMIT} weights); export forms of it need dense weights, so keep it as a torch network")
        columns_OT = self.element_columns().long()
        empty = torch.zeros(self.out_features, self.in_features, dtype=self.values.dtype, device=self.values.device)
        return empty.scatter(1, columns_OT, self.values.view(columns_OT.shape))

    def dense(self) -> nn.Linear:
        """Return an ordinary layer with the same weights."""
        found = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device=self.values.device)
        with torch.no_grad():
            found.weight.copy_(self.dense_weight())
            if self.bias is not None:
                found.bias.copy_(self.bias)
        return found

    @torch.no_grad()
    def regrow(self, fraction: float, generator: torch.Generator | None = None,
               gradients: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Replace the weakest connections of every neuron (tiles of every row of tiles) by new ones of weight 0.

        The number of connections stays and none occurs twice.

        Args:
            fraction: part of the connections that is replaced, at least one where there is room.
            generator: of the random choice (on the CPU); None is torch's own.
            gradients: None: new connections are random (SET), and a dropped one is not among them. The layer's inputs [N, I] and the
                loss's gradient by its outputs [N, O] of a batch: those with the largest gradients are taken (RigL, algorithm 1, for each
                neuron), a dropped one too, which then stays as it is. Of a layer of more than 2^26 places only four times as many random
                candidates as are wanted are looked at, and a dropped one is not among them.

        Returns:
            The positions in `values` that are new, int64 rising: set the optimiser's state to zero there.
        """
        if not 0 < fraction <= 1:
            raise UserError(f"the part of the connections to replace is {fraction}; expected a number above 0 and up to 1")
        rows, num_tiles = self.columns.shape
        offset_R, size_R = self._room()
        room = int(size_R.min()) - num_tiles
        replaced = min(max(1, round(fraction * num_tiles)), room)
        if replaced == 0:
            return torch.empty(0, dtype=torch.int64)
        tiles = self.values.view(rows, self.edge, num_tiles, self.edge)
        dropped_RG = tiles.abs().sum((1, 3)).topk(replaced, 1, largest=False).indices
        fresh_RG = torch.ones_like(dropped_RG, dtype=torch.bool)
        if gradients is not None and self.in_features * self.out_features <= _DENSE_LIMIT:
            dropped_RG, new_RG, fresh_RG = self._strongest(dropped_RG, *gradients)
        else:
            drawn = replaced if gradients is None else min(4 * replaced, room)
            taken_RT = self.columns.cpu() - offset_R[:, None].int()
            new_RG = (distinct(drawn, size_R, taken_RT, generator) + offset_R[:, None].int()).to(self.columns.device)
            if gradients is not None:
                new_RG = new_RG.gather(1, self._gradient_sizes(new_RG, *gradients).topk(replaced, 1).indices)
        self.columns.scatter_(1, dropped_RG, new_RG)
        fresh_RT = torch.zeros(rows, num_tiles, dtype=torch.bool, device=self.values.device).scatter_(1, dropped_RG, fresh_RG)
        fresh = fresh_RT[:, None, :, None].expand(tiles.shape).flatten()
        self.values.masked_fill_(fresh, 0.0)
        return fresh.nonzero().flatten()

    def _strongest(self, dropped_RG: Tensor, x_NI: Tensor, grad_NO: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the dropped tiles' places, the tiles of the largest gradients for them int32, and which of these were not there, [R, G].

        Dense gradients are made of some rows of tiles at a time.
        """
        columns_RT, num_tiles = self.columns.long(), self.in_features // self.edge
        offset_R, size_R = (item.to(self.columns.device)[:, None] for item in self._room())
        place_C = torch.arange(num_tiles, device=self.columns.device)
        step = max(1, 4 * CHUNK // (self.edge * self.in_features))
        parts = []
        for begin in range(0, len(columns_RT), step):
            span = slice(begin, begin + step)
            dropped, columns, start = dropped_RG[span], columns_RT[span], offset_R[span]
            size_RC = (grad_NO[:, begin * self.edge:(begin + len(dropped)) * self.edge].t() @ x_NI).abs()
            if self.edge > 1:
                size_RC = size_RC.view(len(dropped), self.edge, num_tiles, self.edge).sum((1, 3))
            size_RC.masked_fill_((place_C < start) | (place_C >= start + size_R[span]), -1.0)
            kept = torch.ones_like(columns, dtype=torch.bool).scatter_(1, dropped, False)
            size_RC.scatter_(1, columns, size_RC.gather(1, columns).masked_fill_(kept, -1.0))
            new, old = size_RC.topk(dropped.shape[1], 1).indices, columns.gather(1, dropped)
            is_old, is_new = (torch.zeros_like(size_RC, dtype=torch.bool).scatter_(1, item, True) for item in (old, new))
            # Those that are taken back come first in both, in the order of the inputs, so that each meets its own place.
            fresh_new, fresh_old = ~is_old.gather(1, new), ~is_new.gather(1, old)
            new = new.gather(1, (new + num_tiles * fresh_new).argsort(1))
            order = (old + num_tiles * fresh_old).argsort(1)
            parts.append((dropped.gather(1, order), new.int(), fresh_old.gather(1, order)))
        places, tiles, fresh = (torch.cat(item) for item in zip(*parts, strict=True))
        return places, tiles, fresh

    def _gradient_sizes(self, tiles_RC: Tensor, x_NI: Tensor, grad_NO: Tensor) -> Tensor:
        """Return the summed |gradient| of each candidate tile, [R, C]."""
        x_TEN = x_NI.t().reshape(-1, self.edge, len(x_NI))
        grad_REN = grad_NO.t().reshape(-1, self.edge, len(grad_NO))
        step = max(1, 4 * CHUNK // (tiles_RC.shape[1] * self.edge * len(x_NI)))
        found = [torch.einsum("ren,rcfn->rcef", grad, x_TEN[tiles]).abs().sum((2, 3))
                 for grad, tiles in zip(grad_REN.split(step), tiles_RC.split(step), strict=True)]
        return torch.cat(found)


def _groups(in_features: int, out_features: int, shape: Shape) -> tuple[int, ...]:
    """Return the sizes of the groups of inputs."""
    if isinstance(shape, tuple):
        if sum(shape) != in_features or min(shape) < 1:
            raise UserError(f"the groups {shape} of a sparse layer have {sum(shape)} inputs; expected sizes of 1 or more that add up to "
                            f"{in_features}")
        return shape
    count = 4 if shape is None else shape
    if not 1 <= count <= min(in_features, out_features):
        raise UserError(f"a sparse layer of {in_features} inputs and {out_features} neurons cannot have {count} groups; expected from 1 "
                        f"to {min(in_features, out_features)}")
    return tuple((part + 1) * in_features // count - part * in_features // count for part in range(count))
