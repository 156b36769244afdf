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
