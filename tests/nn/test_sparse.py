"""Sparse layers equal masked dense ones, hold O(weights) only, and regrow without losing or repeating a connection."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bessemer.core.errors import UserError
from bessemer.nn.distinct import distinct
from bessemer.nn.sparse import Pattern, Shape, SparseLinear

torch.set_num_threads(1)
CASES: list[tuple[Pattern, Shape, float]] = [("random", None, 0.9), ("random", None, 0.3), ("block", 8, 0.9), ("group", 4, 0.9),
                                             ("group", (16, 30, 50), 0.9)]


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operator returns."""

    elements = 0

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = call(*args, **(kwargs or {}))
        for item in result if isinstance(result, tuple | list) else (result,):
            if isinstance(item, Tensor):
                self.elements = max(self.elements, item.values().numel() if item.layout is torch.sparse_csr else item.numel())
        return result


def layer_of(case: tuple[Pattern, Shape, float], inputs: int = 96, neurons: int = 64) -> SparseLinear:
    torch.manual_seed(0)
    return SparseLinear(inputs, neurons, case[2], case[0], True, case[1])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("rows", [5, 700])
def test_five_adam_steps_equal_a_masked_dense_layer(case: tuple[Pattern, Shape, float], rows: int) -> None:
    """Outputs, all gradients and the weights after 5 steps of Adam; 700 rows take more than one chunk of a batch."""
    ours = layer_of(case)
    dense = ours.dense()
    mask = (ours.dense_weight() != 0).float()
    assert int(mask.sum()) == ours.values.numel()
    at = ours.element_columns().long()
    optimizers = [torch.optim.Adam(module.parameters(), lr=0.01) for module in (ours, dense)]
    for step in range(5):
        x = torch.randn(rows, 96, generator=torch.Generator().manual_seed(step))
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        found, expected = ours(mine), nn.functional.linear(theirs, dense.weight * mask, dense.bias)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        for optimizer, output in zip(optimizers, (found, expected), strict=True):
            optimizer.zero_grad()
            (output - 1).square().mean().backward()
        assert dense.weight.grad is not None and ours.values.grad is not None and mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(ours.values.grad.view(at.shape), dense.weight.grad.gather(1, at), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(ours.bias.grad, dense.bias.grad, atol=1e-6, rtol=1e-5)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours.dense_weight(), dense.weight * mask, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_patterns_are_what_they_say(case: tuple[Pattern, Shape, float]) -> None:
    """Equal connections a neuron, none twice; tiles are whole; a group's neurons read that group only."""
    layer = layer_of(case)
    ordered = layer.element_columns().sort(1).values
    assert bool((ordered.diff(dim=1) > 0).all()) and int(ordered.min()) >= 0 and int(ordered.max()) < 96
    assert math.isclose(1 - layer.values.numel() / (96 * 64), case[2], abs_tol=0.05)
    if case[0] == "block":
        tiles = (layer.dense_weight() != 0).view(8, 8, 12, 8).sum((1, 3))
        assert set(tiles.unique().tolist()) == {0, 64}
    if case[0] == "group":
        ends = torch.tensor(layer.groups).cumsum(0)
        group = torch.searchsorted(ends, ordered.long(), right=True)
        assert bool((group == group[:, :1]).all())
        assert bool((group[:, 0].diff() >= 0).all()) and group[:, 0].unique().tolist() == list(range(len(ends)))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("by_gradient", [False, True])
def test_regrowing_keeps_the_count(case: tuple[Pattern, Shape, float], by_gradient: bool) -> None:
    """The weakest go, as many come with weight 0, none twice, and the answer equals the new dense weights; by gradients one may stay."""
    layer = layer_of(case)
    x, grad = torch.randn(9, 96), torch.randn(9, 64)
    layer(x.requires_grad_()).sum().backward()  # so that the plan of the old structure exists
    before, old, columns = layer.dense_weight() != 0, layer.values.detach().clone(), layer.columns.clone()
    fresh = layer.regrow(0.25, torch.Generator().manual_seed(1), (x.detach(), grad) if by_gradient else None)
    replaced = (layer.columns != columns).sum(1)
    wanted = max(1, round(0.25 * columns.shape[1]))
    assert bool((replaced <= wanted).all()) and int(replaced.sum()) > 0 and (by_gradient or bool((replaced == wanted).all()))
    assert len(fresh) == int(replaced.sum()) * layer.edge**2 and bool((layer.values[fresh] == 0).all())
    kept = torch.ones(len(old), dtype=torch.bool).scatter_(0, fresh, False)
    assert torch.equal(layer.values[kept], old[kept])
    sizes = old.view(len(columns), layer.edge, -1, layer.edge).abs().sum((1, 3))
    gone = layer.columns != columns
    assert by_gradient or bool((torch.where(gone, sizes, 0).amax(1) <= torch.where(gone, torch.inf, sizes).amin(1)).all())
    assert bool((layer.element_columns().sort(1).values.diff(dim=1) > 0).all())
    with torch.no_grad():
        layer.values[fresh] = 1.0
    after = layer.dense_weight() != 0
    assert int((after & ~before).sum()) == len(fresh)
    new_x = torch.randn(3, 96, requires_grad=True)
    layer(new_x).sum().backward()
    torch.testing.assert_close(layer(new_x), new_x @ layer.dense_weight().T + layer.bias, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(new_x.grad, layer.dense_weight().sum(0).expand(3, 96), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_regrowing_by_gradients_is_rigls_rule(case: tuple[Pattern, Shape, float]) -> None:
    """Evci et al. 2020, algorithm 1, for each row of tiles: of all but what is kept, the largest |gradients|; what comes back stays."""
    layer = layer_of(case)
    x, grad = torch.randn(20, 96), torch.randn(20, 64)
    old, columns, edge = layer.values.detach().clone(), layer.columns.clone(), layer.edge
    gradient = (grad.T @ x).abs().view(64 // edge, edge, 96 // edge, edge).sum((1, 3))
    offset, room = layer._room()
    fresh = layer.regrow(0.3, gradients=(x, grad))
    weights = old.view(len(columns), edge, -1, edge).abs().sum((1, 3))
    count = min(max(1, round(0.3 * columns.shape[1])), int(room.min()) - columns.shape[1])
    came_back = 0
    for row in range(len(columns)):
        active = dict(zip(columns[row].tolist(), weights[row].tolist(), strict=True))
        dropped = sorted(active, key=lambda tile: active[tile])[:count]
        group = range(int(offset[row]), int(offset[row] + room[row]))
        free = [tile for tile in group if tile not in active or tile in dropped]
        grown = sorted(free, key=lambda tile: -float(gradient[row, tile]))[:count]
        assert set(layer.columns[row].tolist()) == (set(active) - set(dropped)) | set(grown)
        came_back += len(set(dropped) & set(grown))
    assert (came_back > 0 or edge > 1) and len(fresh) == (count * len(columns) - came_back) * edge**2
    stays = torch.ones(len(old), dtype=torch.bool).scatter_(0, fresh, False)
    assert torch.equal(layer.values[stays], old[stays]) and bool((layer.values[fresh] == 0).all())


def test_a_layer_too_large_for_dense_gradients_looks_at_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four times as many candidates as are wanted, which are all that are free here, the largest gradient is taken."""
    torch.manual_seed(0)
    monkeypatch.setattr("bessemer.nn.sparse._DENSE_LIMIT", 10)
    layer = SparseLinear(8, 16, 6)
    x, grad = torch.randn(20, 8), torch.randn(20, 16)
    taken = torch.zeros(16, 8).scatter(1, layer.columns.long(), 1.0) > 0
    expected = torch.where(taken, -1.0, (grad.T @ x).abs()).argmax(1)
    before = layer.columns.clone()
    layer.regrow(1 / 6, gradients=(x, grad))
    assert torch.equal(layer.columns[layer.columns != before].long(), expected)


def test_a_full_layer_has_nothing_to_regrow() -> None:
    """Without a free place nothing is replaced."""
    layer = SparseLinear(8, 4, 0.0)
    before = layer.values.detach().clone()
    assert len(layer.regrow(0.5)) == 0 and torch.equal(layer.values, before)


def test_no_dense_tensor_is_ever_made() -> None:
    """A layer of 4 * 10^10 places is built, trained, regrown and written with tensors of O(weights + rows * width) elements."""
    with Largest() as seen:
        layer = SparseLinear(200_000, 200_000, 4)
        optimizer = torch.optim.Adam(layer.parameters())
        x = torch.randn(2, 200_000, requires_grad=True)
        layer(x).square().mean().backward()
        optimizer.step()
        layer.regrow(0.5)
        layer(x).square().mean().backward()
        optimizer.step()
    assert layer.values.numel() == 800_000 and seen.elements <= 5_000_000
    state = layer.state_dict()
    assert sum(tensor.numel() * tensor.element_size() for tensor in state.values()) == 4 * (2 * 800_000 + 200_000)
    with pytest.raises(UserError, match="200000 inputs and 200000 neurons is too large to become dense"):
        layer.dense_weight()


def test_state_gives_the_same_layer_even_after_use() -> None:
    """Loading other columns into a layer that has answered before takes effect."""
    torch.manual_seed(0)
    first, second = SparseLinear(40, 30, 0.9), SparseLinear(40, 30, 0.9)
    x = torch.randn(4, 40)
    second(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_same_seed_same_layer() -> None:
    """Structure, weights and regrown structure are functions of the seed."""
    layers = []
    for _ in range(2):
        torch.manual_seed(3)
        layer = SparseLinear(300, 200, 0.98)
        layer.regrow(0.3, torch.Generator().manual_seed(1))
        layers.append(layer)
    assert torch.equal(layers[0].columns, layers[1].columns) and torch.equal(layers[0].values, layers[1].values)


@pytest.mark.parametrize("count", [3, 7])
def test_draws_are_even(count: int) -> None:
    """Each free number is drawn equally often (5 standard deviations), by rejection (3 of 40) and by scores (7 of 20)."""
    size = 40 if count == 3 else 20
    rows = 30_000
    taken = torch.tensor([[1, 5]], dtype=torch.int32).expand(rows, 2)
    found = distinct(count, torch.full((rows,), size), taken, torch.Generator().manual_seed(0))
    times = found.flatten().bincount(minlength=size).float()
    assert times[1] == times[5] == 0
    expected = rows * count / (size - 2)
    assert float((times[times > 0] - expected).abs().max()) < 5 * math.sqrt(expected)
    assert bool((found.sort(1).values.diff(dim=1) > 0).all())


@pytest.mark.parametrize(("arguments", "message"), [
    ((10, 10, 1.0), "sparsity 1.0 would have 1 tiles or connections"),
    ((10, 10, 11), "sparsity 11 would have 11 tiles or connections a neuron out of 10"),
    ((30, 32, 0.5, "block"), "has no whole tiles of 16 x 16"),
    ((30, 32, 0.5, "group", True, (10, 10)), r"the groups \(10, 10\) of a sparse layer have 20 inputs; expected .* add up to 30"),
    ((30, 32, 0.5, "group", True, 31), "cannot have 31 groups; expected from 1 to 30"),
])
def test_impossible_layers(arguments: tuple[Any, ...], message: str) -> None:
    """What cannot be built says why."""
    with pytest.raises(UserError, match=message):
        SparseLinear(*arguments)


def test_bad_part_to_regrow() -> None:
    """A part outside (0, 1] is refused."""
    with pytest.raises(UserError, match="the part of the connections to replace is 0"):
        SparseLinear(10, 10, 0.5).regrow(0)


def test_a_layer_that_has_learnt_can_be_copied() -> None:
    layer = SparseLinear(64, 32, 0.9)
    x = torch.randn(4, 64, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(copy.deepcopy(layer)(x), layer(x))
