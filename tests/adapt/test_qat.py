"""Quantisation-aware training: rounding as in the exported graph, weights that int8 holds exactly, and less error for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from bessemer.compress._graph import FULL, REDUCED, int8_of
from bessemer.nn.bert import Bert
from bessemer.nn.quantized import RoundedLinear, rounded
from bessemer.testing import rows
from tests.adapt.test_adapt import adaptation
from tests.compress.conftest import learnt, rows_of
from tests.compress.test_methods import answers
from tests.export.test_onnx import export


@pytest.mark.parametrize("largest", [REDUCED, FULL])
def test_rounding_is_that_of_the_exported_integers(largest: int) -> None:
    weight = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    weight[3] = 0
    codes, scale = int8_of(weight.T, largest)
    found = rounded(torch.from_numpy(weight), largest).numpy()
    np.testing.assert_array_equal(found, (codes * scale).T)
    again, scale_again = int8_of(found.T, largest)  # rounded weights lose nothing more
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_allclose(scale_again, scale, rtol=1e-6)


def test_the_gradient_passes_through_the_rounding() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(8, 4), torch.randn(3, 8)
    for activations in ("none", "batch", "row"):
        plain, seen = torch.nn.Linear(8, 4), RoundedLinear(torch.nn.Linear(8, 4), 64, activations)
        plain.load_state_dict(layer.state_dict())
        seen.base.load_state_dict(layer.state_dict())
        for module in (plain, seen):
            torch.autograd.backward(module(x).sum())
        gap = (seen.base.weight.grad - plain.weight.grad).abs().max()
        assert gap == 0 if activations == "none" else 0 < gap < 0.1  # the gradient of a weight is what the layer read, rounded or not
        assert (seen(x) - plain(x)).abs().max() < 0.05 and not torch.equal(seen(x), plain(x))


def tuned(qat: bool) -> Bert:
    """The small classifier trained on, with or without rounding."""
    network = learnt(40)
    chosen = adaptation("qat" if qat else "full")
    chosen.apply(network)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(30):
        feeds, label = rows_of(32, step + 5000)
        loss = torch.nn.functional.cross_entropy(network(**{name: torch.from_numpy(array) for name, array in feeds.items()}),
                                                 torch.from_numpy(label))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    chosen.merge(network)
    return network.eval()


def test_its_weights_survive_int8(tmp_path: Path) -> None:
    from bessemer.core.pick import make
    from bessemer.core.registry import plugin_of
    from bessemer.core.types import Calibration

    rows_for = Calibration(64, lambda: (rows_of(16, seed)[0] for seed in range(4)))
    feeds, label = rows_of(300, 9)
    lost, right = {}, {}
    for name, qat in (("plain", False), ("qat", True)):
        export(tuned(qat), tmp_path / f"{name}.onnx")
        config = make("compress", "static_int8")
        plugin_of("compress", config).function(config)(tmp_path / f"{name}.onnx", tmp_path / f"{name}-int8.onnx", rows_for)
        before, after = (answers(tmp_path / file, feeds) for file in (f"{name}.onnx", f"{name}-int8.onnx"))
        right[name] = (after.argmax(1) == label).mean()
        assert right[name] > 0.9
        whole = {item.name: numpy_helper.to_array(item) for item in onnx.load(str(tmp_path / f"{name}-int8.onnx")).graph.initializer}
        floats = {item.name: numpy_helper.to_array(item) for item in onnx.load(str(tmp_path / f"{name}.onnx")).graph.initializer}
        gaps = []
        for key, codes in whole.items():
            if key.endswith("_int8") and codes.ndim == 2 and "classifier" not in key:
                source = floats[key[:-5]]
                stored = codes * whole[f"{key[:-5]}_scale"]
                both = [np.abs(stored - item).max() for item in (source, source.T) if item.shape == stored.shape]  # Gemm may transpose
                gaps.append(min(both) / np.abs(source).max())
        lost[name] = (max(gaps), float(np.abs(before - after).mean()))
    assert lost["qat"][0] < 1e-5 < 1e-3 < lost["plain"][0]
    assert lost["qat"][1] < lost["plain"][1]


def test_merged_weights_are_those_that_were_seen() -> None:
    network, chosen = rows.network(("classification",)), adaptation("qat")
    chosen.apply(network)
    arrays = rows.batch_of(5, 8)
    seen = rows.logits_of(network.eval(), arrays)
    chosen.merge(network)
    assert rows.logits_of(network, arrays).tobytes() == seen.tobytes()
    assert not [name for name, _ in network.named_parameters() if ".base." in name]
