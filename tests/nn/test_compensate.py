"""What a layer can guess of the values that went it still says: parts that repeat others go almost without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from bessemer.nn.compensate import cut_compensated
from bessemer.nn.importance import Runs
from bessemer.nn.slim_bert import SlimBert, from_bert
from bessemer.nn.slim_edit import Keep, all_of, cut, dense_layers, with_low_rank
from bessemer.testing import rows

torch.set_num_threads(1)


def slim() -> SlimBert:
    network = from_bert(rows.network(("classification",)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return network


def runs(network: SlimBert, count: int = 40) -> Runs:
    def each() -> Iterator[tuple[object, torch.Tensor]]:
        for seed in range(count):
            given = [torch.from_numpy(item) for item in rows.batch_of(8, 12, seed).values()]
            yield lambda given=given: network.pool(network.encode(*given)), given[1].bool()

    return each()  # type: ignore[return-value]


def error(smaller: SlimBert, whole: SlimBert) -> float:
    """The mean gap of the logits on rows that were not seen."""
    batches = [rows.batch_of(8, 12, seed) for seed in range(100, 106)]
    gaps = [rows.logits_of(smaller, batch) - rows.logits_of(whole, batch) for batch in batches]
    return float(np.abs(np.concatenate(gaps)).mean())


def errors(network: SlimBert, keep: Keep) -> tuple[float, float]:
    """The gaps without and with what stays taking over."""
    return error(cut(network, keep), network), error(cut_compensated(network, keep, lambda: runs(network)), network)


@torch.no_grad()
def test_what_repeats_another_part_is_cut_almost_without_a_trace() -> None:
    """A unit that is another one's double, and a head that is another head's."""
    network = slim()
    first, second = network.bert.encoder.layer
    for tensor in (first.intermediate.dense.weight, first.intermediate.dense.bias):
        tensor[5] = tensor[3]
    for part in (second.attention.self.query, second.attention.self.key, second.attention.self.value):
        part.weight[8:], part.bias[8:] = part.weight[:8].clone(), part.bias[:8].clone()
    whole = all_of(network)
    units = [unit for unit in range(16) if unit != 5]
    for keep in (replace(whole, units=(units, range(16))), replace(whole, heads=((0, 1), (0,)))):
        plain, compensated = errors(network, keep)
        assert compensated < 0.05 * plain


@pytest.mark.parametrize("low_rank", [False, True])
def test_a_narrower_network_is_nearer_to_the_whole(low_rank: bool) -> None:
    """Of channels, units and heads taken out together, whatever the layers are made of; the rows were not those that are asked."""
    network = slim()
    if low_rank:
        network = with_low_rank(network, {name: 12 for name in dense_layers(network)})
    keep = Keep((0, 1), ((0,), (0, 1)), (range(0, 16, 2), range(12)), [0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14], range(16))
    plain, compensated = errors(network, keep)
    assert compensated < 0.95 * plain
    inner = replace(all_of(network), units=(range(4, 16), range(12)))
    plain, compensated = errors(network, inner)
    assert compensated < 0.8 * plain


@torch.no_grad()
def test_means_stay_what_they_were() -> None:
    """The output of a layer that lost inputs has the mean that it had."""
    network = slim()
    keep = replace(all_of(network), units=(range(9), range(16)))
    smaller = cut_compensated(network, keep, lambda: runs(network))
    means = []
    for one in (network, smaller):
        out: list[torch.Tensor] = []
        seen: list[torch.Tensor] = []
        handle = one.bert.encoder.layer[0].output.dense.register_forward_hook(lambda _m, _i, given, out=out: out.append(given))
        for forward, mask in runs(one):
            forward()
            seen.append(out[-1][mask])
        handle.remove()
        means.append(torch.cat(seen).mean(0))
    torch.testing.assert_close(means[0], means[1], atol=1e-5, rtol=1e-4)


def test_nothing_taken_out_is_the_same_network() -> None:
    network = slim()
    assert error(cut_compensated(network, all_of(network), lambda: runs(network)), network) == 0.0
