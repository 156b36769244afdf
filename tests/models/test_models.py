"""Architectures from a config and from folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from bessemer.core import registry
from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.core.types import BuildSpec, Model
from bessemer.nn.bert import Bert
from bessemer.nn.checkpoint import save_network

torch.set_num_threads(1)
TINY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                        "max_position_embeddings": 16}


def model(name: str, /, **settings: Any) -> Model:
    """Build a registered model."""
    chosen = registry.plugin("models", name)
    found: Model = chosen.function(chosen.config(**settings))
    return found


def spec(heads: tuple[str, ...], weights: Path | None = None, vocab_size: int = 30) -> BuildSpec:
    """What a stage would hand over."""
    return BuildSpec(Schema(columns=()), {"vocab_size": vocab_size, "pad_token_id": 1}, heads,
                     ("a", "b") if "classification" in heads else (), weights)


def build(found: Model, given: BuildSpec) -> Bert:
    """Build and narrow."""
    assert found.build is not None
    network = found.build(given)
    assert isinstance(network, Bert)
    return network


@pytest.mark.parametrize("folder", ["models", "tasks", "adapt"])
def test_plugins_are_light(folder: str) -> None:
    """Listing a folder's plug-ins loads no heavy library."""
    code = (f"import sys; from bessemer.core import registry; assert registry.plugins('{folder}'); "
            "print([name for name in ('torch', 'transformers', 'sklearn', 'numpy', 'pyarrow') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_bert_takes_vocabulary_from_the_data() -> None:
    """Vocabulary and padding come from the codec; the longest input from the config."""
    found = model("bert", **TINY)
    network = build(found, spec(("mlm", "nsp")))
    assert network.config.vocab_size == 30 and network.config.pad_token_id == 1 and found.max_length == 16
    assert not network.bert.embeddings.word_embeddings.weight[1].any()


def test_bert_goes_on_from_an_earlier_stage(tmp_path: Path) -> None:
    """Fine-tuning takes the trunk of pretraining bit for bit; other shapes and vocabularies are refused."""
    torch.manual_seed(0)
    first = build(model("bert", **TINY), spec(("mlm", "nsp")))
    save_network(first, tmp_path)
    second = build(model("bert", **TINY), spec(("classification",), tmp_path))
    trunk = {name: item for name, item in first.tensors().items() if name.startswith("bert.")}
    assert all(torch.equal(item, second.tensors()[name]) for name, item in trunk.items())
    with pytest.raises(UserError, match="has a vocabulary of 30 tokens, the prepared data one of 31"):
        build(model("bert", **TINY), spec(("classification",), tmp_path, 31))
    with pytest.raises(UserError, match="was made with num_attention_heads 2, the recipe says 4"):
        build(model("bert", **{**TINY, "num_attention_heads": 4}), spec(("classification",), tmp_path))
    with pytest.raises(UserError, match=r"embeddings.weight' has shape \[16, 16\] in the weights and \[8, 16\]"):
        build(model("bert", **{**TINY, "max_position_embeddings": 8}), spec(("classification",), tmp_path))


def test_pretrained(tmp_path: Path) -> None:
    """A folder gives its own shape; another tokenizer is refused; exactly one of path and name."""
    first = build(model("bert", **TINY), spec(("mlm",)))
    save_network(first, tmp_path)
    found = model("pretrained", path=str(tmp_path))
    network = build(found, spec(("classification",)))
    assert found.max_length == 16 and network.labels == ("a", "b")
    words = network.bert.embeddings.word_embeddings.weight
    assert torch.equal(words, first.bert.embeddings.word_embeddings.weight)
    again = build(model("pretrained", name="some"), spec(("mlm",), tmp_path))
    assert torch.equal(again.get_parameter("cls.predictions.bias"), first.get_parameter("cls.predictions.bias"))
    with pytest.raises(UserError, match="has a vocabulary of 30 tokens, the prepared data one of 31"):
        build(found, spec(("mlm",), None, 31))
    with pytest.raises(UserError, match="has no config.json"):
        model("pretrained", path=str(tmp_path / "missing"))
    for settings in ({}, {"path": "a", "name": "b"}):
        with pytest.raises(ValidationError, match="give exactly one of 'path'"):
            registry.plugin("models", "pretrained").config.model_validate(settings)
