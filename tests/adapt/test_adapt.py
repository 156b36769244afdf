"""What is trained, and that merging keeps the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bessemer.core import registry
from bessemer.core.adaptation import Adaptation
from bessemer.core.errors import UserError
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import save_network

torch.set_num_threads(1)
BATCH = (torch.tensor([[2, 7, 8, 3]]), torch.ones(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64))


def network() -> Bert:
    """A seeded classifier without dropout."""
    torch.manual_seed(0)
    shape = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                       max_position_embeddings=8, initializer_range=0.3)
    return Bert(shape, ("classification",), 2).eval()


def adaptation(name: str, **settings: Any) -> Adaptation:
    """Build a registered adaptation."""
    chosen = registry.plugin("adapt", name)
    found: Adaptation = chosen.function(chosen.config(**settings))
    return found


def train(net: Bert, steps: int = 5) -> None:
    """A few large steps on the parameters that are trained."""
    optimiser = torch.optim.SGD([item for item in net.parameters() if item.requires_grad], lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(*BATCH), torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def trained_names(net: Bert) -> set[str]:
    """The parameters that are trained."""
    return {name for name, item in net.named_parameters() if item.requires_grad}


def test_head() -> None:
    """The classifier alone, or with the pooler."""
    net = network()
    adaptation("head").apply(net)
    assert trained_names(net) == {"classifier.weight", "classifier.bias"}
    adaptation("head", pooler=True).apply(net)
    assert trained_names(net) == {"classifier.weight", "classifier.bias", "bert.pooler.dense.weight",
                                  "bert.pooler.dense.bias"}


def test_lora_places() -> None:
    """Updates sit where they are asked for, of the asked rank, and change the merged weight there alone."""
    net, base = network(), network()
    chosen = adaptation("lora", r=3, lora_alpha=9.0, target_modules=("value", "intermediate.dense"))
    chosen.apply(net)
    layer = "bert.encoder.layer.1"
    assert {name for name in trained_names(net) if name.startswith(layer)} == {
        f"{layer}.attention.self.value.lora_A", f"{layer}.attention.self.value.lora_B",
        f"{layer}.intermediate.dense.lora_A", f"{layer}.intermediate.dense.lora_B"}
    assert net.get_parameter(f"{layer}.attention.self.value.lora_A").shape == (3, 16)
    with pytest.raises(ValueError, match="merge the adaptation before saving"):
        save_network(net, Path("nowhere"))
    train(net)
    chosen.merge(net)
    changed = {name for name, item in net.named_parameters() if not torch.equal(item, base.get_parameter(name))}
    expected = {f"bert.encoder.layer.{index}.{part}.weight" for index in (0, 1)
                for part in ("attention.self.value", "intermediate.dense")}
    assert changed == expected | {"classifier.weight", "classifier.bias"}


def test_lora_unknown_module() -> None:
    """A name that fits nothing lists those that do."""
    with pytest.raises(UserError, match="ends with 'q_proj'; known are: .*self.query, self.value"):
        adaptation("lora", target_modules=("q_proj",)).apply(network())


def test_dora_is_the_papers_formula() -> None:
    """Step 0 is the layer itself; a trained one gives m (W + s B A) / |W + s B A| x + b, the length a constant in its slope."""
    from torch import nn

    from bessemer.nn.lora import LoraLinear

    torch.manual_seed(0)
    base = nn.Linear(5, 4)
    layer, x = LoraLinear(base, 2, 3.0, 0.0, use_dora=True), torch.randn(7, 5)
    assert layer.magnitude is not None
    assert torch.allclose(layer(x), base(x), atol=1e-6)
    with torch.no_grad():
        layer.lora_B.normal_()
        layer.magnitude.mul_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    turned = base.weight + 3.0 * layer.lora_B @ layer.lora_A
    wanted = x @ (layer.magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True).detach()).T + base.bias
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    slopes = [torch.autograd.grad(found.pow(2).sum(), [layer.lora_A, layer.lora_B, layer.magnitude]) for found in (layer(x), wanted)]
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(*slopes, strict=True))
    before = layer(x).detach()
    assert torch.allclose(layer.folded()(x), before, atol=1e-5)


def test_dora_and_rank_stabilised_merge() -> None:
    """Rows' lengths are trained beside the updates; alpha / sqrt(r) scales them; the merged network answers as the trained one."""
    net = network()
    chosen = adaptation("lora", r=4, lora_alpha=8.0, target_modules=("query",), use_dora=True, use_rslora=True)
    chosen.apply(net)
    layer = "bert.encoder.layer.0.attention.self.query"
    assert {name for name in trained_names(net) if name.startswith(layer)} == {f"{layer}.{part}" for part in
                                                                                 ("lora_A", "lora_B", "magnitude")}
    assert net.get_submodule(layer).scale == 4.0
    train(net)
    trained = net(*BATCH)
    chosen.merge(net)
    assert torch.allclose(net(*BATCH), trained, atol=1e-5)


@pytest.mark.parametrize(("bias", "expected"), [
    ("lora_only", {"bert.encoder.layer.0.attention.self.query.base.bias", "bert.encoder.layer.1.attention.self.query.base.bias",
                   "classifier.bias"}),
    ("all", {name if "query" not in name else name.replace("query.", "query.base.")
             for name, _ in network().named_parameters() if name.endswith("bias")})])
def test_lora_biases(bias: str, expected: set[str]) -> None:
    """Those of the layers with an update, or all of them; merging keeps what they learnt."""
    net = network()
    chosen = adaptation("lora", target_modules=("query",), bias=bias)
    chosen.apply(net)
    assert {name for name in trained_names(net) if name.endswith("bias")} == expected
    train(net)
    trained = net(*BATCH)
    chosen.merge(net)
    assert torch.allclose(net(*BATCH), trained, atol=1e-5)
