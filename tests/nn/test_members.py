"""Members equal TabM's package and cost little more than one."""

from __future__ import annotations

import pytest
import torch

from bessemer.nn.members import ByteDropout, scales
from bessemer.nn.table import TableConfig, TableNetwork

torch.set_num_threads(1)


def count(config: TableConfig) -> int:
    return sum(parameter.numel() for parameter in TableNetwork(config).parameters())


def test_thirty_two_members_cost_less_than_a_third_more() -> None:
    """50 numbers, three layers of 512: 32 members have 1.27 times the weights of one, their heads included."""
    one = count(TableConfig(50, (), 1, hidden_sizes=(512, 512, 512)))
    many = count(TableConfig(50, (), 1, hidden_sizes=(512, 512, 512), members=32))
    mini = count(TableConfig(50, (), 1, hidden_sizes=(512, 512, 512), members=32, adapters="mini"))
    assert one == 50 * 512 + 2 * 512 * 512 + 3 * 512 + 513
    assert many == one - 3 * 512 - 513 + 32 * (50 + 2 * 512 + 2 * 3 * 512 + 513)
    assert many <= 1.3 * one
    assert mini == one - 513 + 32 * (50 + 513)


@pytest.mark.parametrize("adapters", ["full", "mini"])
def test_equals_the_tabm_package(adapters: str) -> None:
    """With the same weights, numbers and one-hot categories give TabM's outputs and gradients by them."""
    tabm = pytest.importorskip("tabm")
    torch.manual_seed(0)
    theirs = tabm.TabM.make(n_num_features=6, cat_cardinalities=[3, 5], d_out=2, n_blocks=3, d_block=24, dropout=0.0, k=4,
                            arch_type="tabm" if adapters == "full" else "tabm-mini")
    ours = TableNetwork(TableConfig(6, (3, 5), 2, hidden_sizes=(24, 24, 24), dropout=0.0, members=4, adapters=adapters))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.3)
        for position, layer in enumerate(ours.layers):
            source = theirs.backbone.blocks[position][0]
            layer.linear.weight.copy_(source.weight)
            if adapters == "full":
                for own, other in ((layer.r, source.r), (layer.s, source.s), (layer.b, source.bias)):
                    own.copy_(other)
            else:
                layer.linear.bias.copy_(source.bias)
        if adapters == "mini":
            ours.layers[0].r.copy_(theirs.backbone.affine.weight)
        ours.head.weight.copy_(theirs.output.weight)
        ours.head.bias.copy_(theirs.output.bias)
    mine = torch.randn(7, 6, requires_grad=True)
    other = mine.detach().clone().requires_grad_()
    codes = torch.stack([torch.randint(0, 3, (7,)), torch.randint(0, 5, (7,))], 1)
    found, expected = ours(mine, codes), theirs(other, codes)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_first_factors_are_equal_within_a_feature() -> None:
    """Signs are +-1 and normal draws differ, one value for all dimensions of a feature."""
    torch.manual_seed(0)
    signs, normal = scales(40, (1, 3, 4), "signs"), scales(40, (1, 3, 4), "normal")
    assert set(signs.unique().tolist()) == {-1.0, 1.0} and abs(float(signs.mean())) < 0.3
    for factors in (signs, normal):
        assert bool((factors[:, 1:4] == factors[:, 1:2]).all()) and bool((factors[:, 4:] == factors[:, 4:5]).all())
    assert normal.unique().numel() == 3 * 40
    assert torch.equal(scales(2, (2, 1), "ones"), torch.ones(2, 3))


def test_members_begin_apart_and_share_one_matrix() -> None:
    """Members differ at birth by their first r; the gradient of the shared matrix is the sum over members."""
    torch.manual_seed(0)
    network = TableNetwork(TableConfig(5, (), 1, hidden_sizes=(8, 8), dropout=0.0, members=3))
    x, codes = torch.randn(6, 5), torch.zeros(6, 0, dtype=torch.int64)
    outputs = network(x, codes)
    assert bool((outputs[:, 0] != outputs[:, 1]).any())
    parts = [torch.autograd.grad(network(x, codes)[:, member].sum(), network.layers[1].linear.weight)[0] for member in range(3)]
    whole = torch.autograd.grad(outputs.sum(), network.layers[1].linear.weight)[0]
    torch.testing.assert_close(whole, torch.stack(parts).sum(0), atol=1e-5, rtol=1e-5)


def test_a_member_sees_its_features_only() -> None:
    """Half of 6 features: a member's output does not depend on the others, whole features at a time; the subset is in the state."""
    torch.manual_seed(0)
    network = TableNetwork(TableConfig(4, (3, 20), 1, hidden_sizes=(16, 16), dropout=0.0, members=5, member_features=0.5,
                                       number_embedding="linear", number_embedding_size=4))
    widths = torch.tensor([4, 4, 4, 4, 3, 10])
    per_feature = torch.stack([part.mean(1) for part in network.seen.split(widths.tolist(), 1)], 1)
    assert set(per_feature.unique().tolist()) == {0.0, 1.0} and bool((per_feature.sum(1) == 3).all())
    x = torch.randn(2, 4, requires_grad=True)
    codes = torch.tensor([[1, 7], [2, 15]])
    for member in range(5):
        gradient = torch.autograd.grad(network(x, codes)[:, member].sum(), x)[0]
        assert torch.equal((gradient != 0).any(0) & (per_feature[member, :4] == 0), torch.zeros(4, dtype=torch.bool))
    assert "seen" in network.tensors()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.001])
def test_dropout_drops_its_part_and_keeps_the_mean(part: float) -> None:
    """Zeros are the part within 5 standard deviations, the rest is scaled alike, masks follow torch's seed, evaluation passes x on."""
    dropout, x = ByteDropout(part), torch.ones(1001, 999)
    steps = max(1, round(part * 256))
    torch.manual_seed(0)
    found = dropout(x)
    torch.manual_seed(0)
    assert torch.equal(found, dropout(x)) and not torch.equal(found, dropout(x))
    dropped = float((found == 0).double().mean())
    assert abs(dropped - steps / 256) < 5 * (steps / 256 / x.numel()) ** 0.5
    assert found.unique().tolist() == [0.0, pytest.approx(256 / (256 - steps))]
    assert dropout.eval()(x) is x and ByteDropout(0.0)(x) is x
