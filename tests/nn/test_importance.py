"""Taylor importance is the derivative that finite differences give; what is cut of a table's network was not used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bessemer.core.errors import UserError
from bessemer.nn.importance import Losses, bert_sites, input_moments, table_sites, taylor
from bessemer.nn.slim_bert import SlimBert, from_bert
from bessemer.nn.slim_edit import dense_layers
from bessemer.nn.table import TableConfig, TableNetwork
from bessemer.nn.table_edit import KeepTable, cut_table, layout, whole_table
from bessemer.testing import rows

torch.set_num_threads(1)
TARGETS = torch.arange(6) % 3
STEP = 1e-5


def slim() -> SlimBert:
    return from_bert(rows.network(("classification",))).double()


def batch() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in rows.batch_of(6, 9).items()}


def losses(network: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of each row, [6]."""
    return torch.nn.functional.cross_entropy(network(**inputs), TARGETS, reduction="none")


def one_batch(network: torch.nn.Module) -> Losses:
    inputs = batch()
    yield 6, lambda: losses(network, inputs).mean()


@torch.no_grad()
def scaled(weights: list[torch.Tensor], network: torch.nn.Module) -> np.ndarray:
    """|d loss / d factor| of each row, summed over the rows' absolute values, where these weights are multiplied by a factor."""
    found = []
    for factor in (1 + STEP, (1 - 2 * STEP + STEP**2) / (1 + STEP)):  # up, then down to about 1 - 2 steps of that
        for weight in weights:
            weight.mul_(factor if factor > 1 else (1 - STEP) / (1 + STEP))
        found.append(losses(network, batch()))
    for weight in weights:
        weight.mul_(1 / (1 - STEP))
    return ((found[0] - found[1]) / (2 * STEP)).abs().mean().numpy()


def test_importance_is_the_derivative() -> None:
    """A head's, a unit's and a channel's importance equal central differences of its outgoing weights, row by row."""
    network = slim()
    found = taylor(network, bert_sites(network), one_batch(network))
    block, size = network.bert.encoder.layer[1], network.config.head_size
    for head in (0, 1):
        expected = scaled([block.attention.output.dense.weight[:, head * size:(head + 1) * size]], network)
        np.testing.assert_allclose(found["heads.1"][head], expected, rtol=1e-5)
    for unit in (0, 7, 15):
        np.testing.assert_allclose(found["units.1"][unit], scaled([block.output.dense.weight[:, unit:unit + 1]], network), rtol=1e-5)
    norms = [module for name, module in network.named_modules() if name.endswith("LayerNorm")]
    for channel in (0, 9):
        places = [parameter[channel:channel + 1] for norm in norms for parameter in (norm.weight, norm.bias)]
        np.testing.assert_allclose(found["hidden"][channel], scaled(places, network), rtol=1e-5)
    for unit in (2, 5):
        np.testing.assert_allclose(found["pooled"][unit], scaled([network.classifier.weight[:, unit:unit + 1]], network), rtol=1e-5)


def test_it_is_the_same_whatever_the_batches_and_leaves_no_trace() -> None:
    network = slim()
    inputs = batch()

    def in_parts() -> Iterator[tuple[int, object]]:
        for part in (slice(0, 4), slice(4, 6)):
            given = {name: tensor[part] for name, tensor in inputs.items()}
            yield part.stop - part.start, lambda given=given, part=part: torch.nn.functional.cross_entropy(network(**given), TARGETS[part])

    before = network(**inputs)
    whole = taylor(network, bert_sites(network), one_batch(network))
    parts = taylor(network, bert_sites(network), in_parts())  # type: ignore[arg-type]
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-5, atol=1e-8) for name in whole)
    assert torch.equal(network(**inputs), before) and all(parameter.grad is None for parameter in network.parameters())


@torch.no_grad()
def test_what_does_nothing_has_no_importance() -> None:
    network = slim()
    network.bert.encoder.layer[0].output.dense.weight[:, 3] = 0.0
    network.bert.encoder.layer[1].attention.output.dense.weight[:, :8] = 0.0
    network.classifier.weight[:, 4] = 0.0
    with torch.enable_grad():
        found = taylor(network, bert_sites(network), one_batch(network))
    assert found["units.0"][3] == found["heads.1"][0] == found["pooled"][4] == 0.0
    assert found["units.0"][4] > 0 and found["heads.1"][1] > 0


def test_input_moments_are_those_of_the_real_tokens() -> None:
    network = slim()
    inputs = batch()
    name = "bert.encoder.layer.0.attention.self.query"
    found = input_moments(network, [name], [(lambda: network(**inputs), inputs["attention_mask"].bool())])[name]
    with torch.inference_mode():
        x = network.bert.embeddings(inputs["input_ids"], inputs["token_type_ids"])[inputs["attention_mask"].bool()]
    np.testing.assert_allclose(found.mean_I, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance_II, np.cov(x.T.numpy(), bias=True), rtol=1e-4, atol=1e-8)
    assert name in dense_layers(network)


TABLES: list[dict[str, object]] = [
    {"members": 4, "number_embedding": "piecewise"},
    {"members": 4, "adapters": "mini", "linear_skip": True},
    {"members": 4, "batch_norm": True, "residual": True, "hidden_sizes": (8, 8)},
    {"members": 1, "number_embedding": "periodic", "number_embedding_size": 4},
    {"members": 4, "member_features": 0.5, "number_embedding": "linear"},
]


def table(**settings: object) -> TableNetwork:
    torch.manual_seed(0)
    config = TableConfig(**{"num_numbers": 4, "cardinalities": (12, 3, 9), "num_outputs": 3, "hidden_sizes": (8, 6), "dropout": 0.0,  # type: ignore[arg-type]
                            **settings})
    edges = [torch.tensor(edge) for edge in ([-1.0, 0.0, 0.5, 1.0], [-1.0, 1.0], [0.0, 0.5, 1.0], [-1.0, 0.0, 1.0])]
    network = TableNetwork(config, edges if settings.get("number_embedding") == "piecewise" else None).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    return network


def table_batch(count: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"numbers": torch.randn(count, 4, generator=generator),
            "codes": torch.stack([torch.randint(0, size, (count,), generator=generator) for size in (12, 3, 9)], 1)}


@pytest.mark.parametrize("settings", TABLES, ids=str)
@torch.no_grad()
def test_unused_parts_of_a_table_are_cut_without_a_trace(settings: dict[str, object]) -> None:
    """Columns whose first weights are zero, units that nothing reads; fewer members answer as those members did."""
    network = table(**settings)
    places = layout(network)
    for reader in [network.layers[0].linear, *([network.skip] if network.skip is not None else [])]:
        reader.weight[:, torch.cat([places[1], places[4], places[5]])] = 0.0  # the second number, the first code and the second
    chained = bool(settings.get("residual"))
    for parameter in (network.layers[1].linear.weight, *([network.head.weight.transpose(1, 2)] if chained else [])):
        parameter[..., 5] = 0.0
    before = network(**table_batch())
    units = tuple([unit for unit in range(size) if unit != 5] if chained or layer == 0 else range(size)
                  for layer, size in enumerate(network.config.hidden_sizes))
    keep = KeepTable([0, 2, 3], [2], units, whole_table(network).members)
    smaller = cut_table(network, keep)
    torch.testing.assert_close(smaller(**table_batch()), before, atol=1e-5, rtol=1e-5)
    assert smaller.config.used_numbers == (0, 2, 3) and smaller.config.used_codes == (2,) and smaller.config.num_numbers == 4
    if network.config.members > 1:
        fewer = cut_table(smaller, KeepTable(range(3), range(1), tuple(range(len(unit)) for unit in units), [1, 3]))
        torch.testing.assert_close(fewer(**table_batch()), before[:, [1, 3]], atol=1e-5, rtol=1e-5)
        if settings.get("batch_norm") is None:
            alone = cut_table(fewer, KeepTable([0, 2], range(1), tuple(range(len(unit)) for unit in units), [1]))
            assert alone.config.members == 1 and alone.config.used_numbers == (0, 3) and alone(**table_batch()).shape == (7, 1, 3)
            whole = cut_table(fewer, KeepTable(range(3), range(1), tuple(range(len(unit)) for unit in units), [1]))
            torch.testing.assert_close(whole(**table_batch()), before[:, [3]], atol=1e-5, rtol=1e-5)


def test_importance_of_a_table() -> None:
    """A column's importance is the central difference of its first weights, a member's the derivative by its weight in the mean."""
    network = table(linear_skip=True, members=4).double()
    inputs = {"numbers": table_batch(6)["numbers"].double(), "codes": table_batch(6)["codes"]}

    def mean_loss() -> torch.Tensor:
        out_BMO = network(**inputs)
        return torch.nn.functional.cross_entropy(out_BMO.mean(1), TARGETS)

    columns = [([0, 1], []), ([2], [0]), ([3], [1, 2])]
    found = taylor(network, table_sites(network, columns), [(6, mean_loss)])
    places = layout(network)
    into = torch.cat([places[2], places[4]])

    @torch.no_grad()
    def at(factor: float) -> torch.Tensor:
        readers = [network.layers[0].linear.weight, network.skip.weight]  # type: ignore[union-attr]
        for weight in readers:
            weight[:, into] *= factor
        value = torch.nn.functional.cross_entropy(network(**inputs).mean(1), TARGETS, reduction="none")
        for weight in readers:
            weight[:, into] /= factor
        return value

    expected = ((at(1 + STEP) - at(1 - STEP)) / (2 * STEP)).abs().mean()
    np.testing.assert_allclose(found["columns"][1], expected, rtol=1e-4)
    out_BMO = network(**inputs).detach()
    mean_BO = out_BMO.mean(1).requires_grad_()
    grad_BO, = torch.autograd.grad(torch.nn.functional.cross_entropy(mean_BO, TARGETS, reduction="sum"), mean_BO)
    expected_M = -((out_BMO - mean_BO[:, None]) / 4 * grad_BO[:, None]).sum((0, 2)) / 6  # of a weighted mean's loss by each weight
    torch.testing.assert_close(found["members"], expected_M.detach(), rtol=1e-4, atol=1e-7)


def test_sparse_from_birth_is_not_narrowed() -> None:
    network = table(sparsity=0.5)
    whole = whole_table(network)
    with pytest.raises(UserError, match="sparse from birth has no unit"):
        cut_table(network, KeepTable(whole.numbers, whole.codes, (range(7), range(6)), whole.members))
