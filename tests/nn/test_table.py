"""Table networks equal their references, survive the disk bit for bit, export to ONNX and refuse what is damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.number_embeddings import LinearNumbers, PeriodicNumbers, PiecewiseNumbers
from bessemer.nn.table import TableConfig, TableNetwork, is_table_network, load_table_network, save_table_network

torch.set_num_threads(1)
EDGES = [torch.tensor(edge) for edge in ([-1.0, 1.0], [-1.0, 0.0, 0.5, 2.0], [0.0, 0.25, 1.0], [-2.0, -1.0, 0.0, 1.0])]
SMALL = TableConfig(4, (3, 8, 9, 40), 2, hidden_sizes=(24, 24))
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "members and bins": {"members": 4, "number_embedding": "piecewise", "number_embedding_size": 5},
    "mini": {"members": 3, "adapters": "mini", "number_embedding": "linear", "batch_norm": True},
    "periodic": {"number_embedding": "periodic", "number_embedding_size": 6, "activation": "gelu"},
    "batch norm": {"batch_norm": True, "residual": True, "members": 2, "activation": "silu"},
    "skip": {"linear_skip": True, "member_features": 0.5, "members": 2},
    "linear": {"hidden_sizes": ()},
    "sparse": {"sparsity": 0.8},
    "sparse blocks": {"sparsity": 0.7, "sparse_pattern": "block", "members": 2},
    "sparse groups": {"sparsity": 0.8, "sparse_pattern": "group"},
}


def network_of(name: str, scale: float = 0.2) -> TableNetwork:
    """A seeded network in evaluation mode whose weights, and running statistics, are far from initial ones."""
    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, **VARIANTS[name])
    network = TableNetwork(config, EDGES if config.number_embedding == "piecewise" else None)
    with torch.no_grad():
        for tensor in (*network.parameters(), *(part for key, part in network.named_buffers() if "running" in key)):
            tensor.add_(torch.rand(tensor.shape), alpha=scale)
    return network.eval()


def rows_of(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = [torch.randint(0, size, (count,), generator=generator) for size in SMALL.cardinalities]
    return torch.randn(count, 4, generator=generator), torch.stack(codes, 1)


def test_one_member_equals_a_plain_mlp() -> None:
    """Numbers through Linear, ReLU, Linear, ReLU, Linear: the same outputs and gradients, and as many parameters."""
    torch.manual_seed(0)
    ours = TableNetwork(TableConfig(5, (), 3, hidden_sizes=(16, 12), dropout=0.0))
    plain = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        for layer, target in zip(ours.layers, (plain[0], plain[2]), strict=True):
            target.weight.copy_(layer.linear.weight)
            target.bias.copy_(layer.linear.bias)
        plain[4].weight.copy_(ours.head.weight[0].T)
        plain[4].bias.copy_(ours.head.bias[0])
    x, codes = torch.randn(9, 5), torch.zeros(9, 0, dtype=torch.int64)
    found, expected = ours(x, codes)[:, 0], plain(x)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.layers[0].linear.weight.grad, plain[0].weight.grad, atol=1e-5, rtol=1e-5)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("name", ["piecewise", "linear", "periodic"])
def test_number_embeddings_equal_the_authors(name: str) -> None:
    """With the same weights, the three embeddings equal rtdl_num_embeddings', outside the edges too."""
    rtdl = pytest.importorskip("rtdl_num_embeddings")
    torch.manual_seed(0)
    x = torch.randn(50, 4) * 3
    if name == "linear":
        theirs, ours = rtdl.LinearReLUEmbeddings(4, 6), LinearNumbers(4, 6)
        pairs = [(ours.weight, theirs.linear.weight), (ours.bias, theirs.linear.bias)]
    elif name == "periodic":
        theirs, ours = rtdl.PeriodicEmbeddings(4, 6, n_frequencies=12, lite=False), PeriodicNumbers(4, 6, 0.1)
        pairs = [(ours.frequencies, theirs.periodic.weight), (ours.weight, theirs.linear.weight), (ours.bias, theirs.linear.bias)]
    else:
        with pytest.warns(UserWarning, match="two bin edges"):
            theirs = rtdl.PiecewiseLinearEmbeddings(EDGES, 6, activation=False, version="B")
        ours = PiecewiseNumbers(EDGES, 6)
        with torch.no_grad():
            theirs.linear.weight.normal_()
            for feature, edge in enumerate(EDGES):  # they keep a feature's last bin in the last place
                theirs_there = [*range(len(edge) - 2), theirs.linear.weight.shape[1] - 1]
                ours.bins[feature, :len(edge) - 1] = theirs.linear.weight[feature, theirs_there]
        pairs = [(ours.weight, theirs.linear0.weight), (ours.bias, theirs.linear0.bias)]
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_piecewise_encoding_is_the_papers() -> None:
    """Equation 1 by hand: 1 below the bin of x, a part in it, 0 above; beyond the ends it goes on."""
    encoding = PiecewiseNumbers([torch.tensor([0.0, 1.0, 3.0, 4.0])], 2).encode(torch.tensor([[2.0], [-1.0], [6.0], [0.5]]))
    assert encoding[:, 0].tolist() == [[1, 0.5, 0], [-1, 0, 0], [1, 1, 3], [0.5, 0, 0]]


def test_categories_are_one_hot_or_embedded() -> None:
    """Up to 8 codes one-hot, else min(16, ceil(codes / 2)) dimensions; the layout is numbers, one-hot, embeddings."""
    network = network_of("plain")
    x, codes = rows_of()
    found = network.encode(x, codes)
    embedded = [table(codes[:, column]) for table, column in zip(network.categories.embeddings, (2, 3), strict=True)]
    assert [part.shape[1] for part in embedded] == [5, 16]
    one_hot = [nn.functional.one_hot(codes[:, column], size).float() for column, size in ((0, 3), (1, 8))]
    assert torch.equal(found, torch.cat([x, *one_hot, *embedded], 1))


def test_residual_and_skip_are_added() -> None:
    """With the second layer's weights at zero a residual network passes the first on; the skip adds an affine map."""
    torch.manual_seed(0)
    config = TableConfig(5, (), 1, hidden_sizes=(8, 8), dropout=0.0, residual=True, linear_skip=True)
    network = TableNetwork(config).eval()
    with torch.no_grad():
        network.layers[1].linear.weight.zero_()
        network.layers[1].linear.bias.zero_()
    x, codes = torch.randn(4, 5), torch.zeros(4, 0, dtype=torch.int64)
    expected = network.head(torch.relu(network.layers[0].linear(x))[:, None]) + network.skip(x)[:, None]
    torch.testing.assert_close(network(x, codes), expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_learns_and_the_loss_falls(name: str) -> None:
    """A gradient reaches every parameter, and Adam more than halves the loss over rows that can be learnt by heart."""
    network = network_of(name, 0.05).train()
    rows = rows_of(32)
    target = torch.randn(32, 1, 2, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        loss = (network(*rows) - target).square().mean()
        loss.backward()
        if step == 0:
            dead = [key for key, item in network.named_parameters() if item.grad is None or not bool(item.grad.any())]
            assert not dead
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < (0.9 if name == "linear" else 0.5) * losses[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_disk_gives_equal_bits(name: str, tmp_path: Path) -> None:
    """A saved folder opens alone: equal config, tensors and outputs; the same weights give the same bytes."""
    network = network_of(name)
    folders = [tmp_path / part for part in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        save_table_network(network, folder)
    assert is_table_network(folders[0])
    for file in ("config.json", "model.safetensors"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()
    found = load_table_network(folders[0]).eval()
    assert found.config == network.config
    assert list(found.tensors()) == list(network.tensors())
    assert all(torch.equal(tensor, network.tensors()[key]) for key, tensor in found.tensors().items())
    assert torch.equal(found(*rows_of()), network(*rows_of()))


@pytest.mark.parametrize("name", VARIANTS)
def test_same_seed_same_network(name: str) -> None:
    """Weights, subsets and structures are functions of torch's seed."""
    first, second = network_of(name).tensors(), network_of(name).tensors()
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.*", "ignore::FutureWarning:copyreg", "ignore:.*LeafSpec:FutureWarning")
@pytest.mark.parametrize("name", ["plain", "members and bins", "periodic", "batch norm",
                                  *(pytest.param(name, marks=pytest.mark.slow) for name in ("mini", "skip", "sparse"))])
def test_onnx_answers_alike(name: str, tmp_path: Path) -> None:
    """ONNX Runtime's outputs are within 1e-5 for batches of other sizes than the traced one, 1 row included."""
    network = network_of(name)
    file = tmp_path / "model.onnx"
    free = {key: {0: torch.export.Dim.DYNAMIC} for key in ("numbers", "codes")}
    numbers, codes = rows_of()
    torch.onnx.export(network, (), kwargs={"numbers": numbers, "codes": codes}, dynamic_shapes=free, input_names=["numbers", "codes"],
                      output_names=["outputs"], opset_version=20, dynamo=True, verbose=False).save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for count in (1, 6, 33):
        rows = rows_of(count)
        found = session.run(None, {"numbers": rows[0].numpy(), "codes": rows[1].numpy()})[0]
        with torch.no_grad():
            np.testing.assert_allclose(found, network(*rows).numpy(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["sparse", "sparse blocks", "sparse groups"])
def test_dense_copy_answers_alike(name: str) -> None:
    """dense() has ordinary layers and the same outputs; the original stays sparse and far smaller."""
    network = network_of(name)
    copy = network.dense()
    torch.testing.assert_close(copy(*rows_of()), network(*rows_of()), atol=1e-5, rtol=1e-5)
    sizes = [sum(tensor.numel() for key, tensor in item.tensors().items() if "linear" in key) for item in (copy, network)]
    assert sizes[1] < 0.75 * sizes[0]


def test_heads_are_named() -> None:
    """What makes the outputs is a head, the rest is the trunk."""
    assert network_of("plain").head_names() == ("head",)
    assert network_of("skip").head_names() == ("head", "skip")


@pytest.mark.parametrize(("changes", "message"), [
    ({"num_numbers": 0, "cardinalities": ()}, "'num_numbers' is 0; expected 1 or more where there is no code column"),
    ({"cardinalities": (3, 0)}, "'cardinalities' is (3, 0); expected whole numbers of 1 or more"),
    ({"dropout": 1.0}, "'dropout' is 1.0; expected a number from 0 to below 1"),
    ({"members": 2, "adapters": "none"}, "'adapters' is 'none'; expected full or mini for several members"),
    ({"activation": "tanh"}, "'activation' is 'tanh'; expected one of relu, gelu, silu"),
    ({"members": 2, "hidden_sizes": ()}, "'hidden_sizes' is (); expected a hidden layer or more for several members"),
    ({"member_features": 0.0}, "'member_features' is 0.0; expected a number above 0 and up to 1"),
])
def test_bad_settings(changes: dict[str, Any], message: str) -> None:
    """The field, its value and what was expected."""
    with pytest.raises(UserError) as caught:
        dataclasses.replace(SMALL, **changes)
    assert str(caught.value) == f"the table network's {message}"


def test_bad_edges() -> None:
    """Edges that do not rise name their feature."""
    with pytest.raises(UserError, match="bin edges of number 1 are no list of 2 or more finite, rising values"):
        PiecewiseNumbers([torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])], 4)


def test_damaged_and_foreign_folders(tmp_path: Path) -> None:
    """Each fault is one sentence that names the folder or file."""
    save_table_network(network_of("plain"), tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    good, content = config.read_text(), json.loads(config.read_text())

    def fails(pattern: str) -> None:
        with pytest.raises(UserError, match=pattern):
            load_table_network(tmp_path)

    config.write_text(json.dumps({**content, "model_type": "bert"}))
    assert not is_table_network(tmp_path)
    fails("holds no table network")
    config.write_text(json.dumps({**content, "wings": 2}))
    fails(r"the keys \['wings'\] are missing or unknown")
    config.write_text(json.dumps({**content, "hidden_sizes": [24, 25]}))
    fails("config.json and model.safetensors do not fit together")
    config.write_text(json.dumps({**content, "hidden_sizes": 24}))
    fails("config.json and model.safetensors do not fit together")
    config.write_text(json.dumps({**content, "number_embedding": "piecewise"}))
    fails("config.json and model.safetensors do not fit together")
    config.write_text(good[:-20])
    fails("is not valid JSON")
    config.write_text(good)
    weights.write_bytes(weights.read_bytes()[:100])
    fails("is damaged")
    weights.unlink()
    fails("has no model.safetensors")
    config.unlink()
    assert not is_table_network(tmp_path)
    fails("has no config.json")
