"""BERT from a configuration: trained from scratch, or from the weights of an earlier stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model

if TYPE_CHECKING:
    import torch

    from bessemer.nn.bert import BertConfig


class Bert(Config):
    """The shape of a BERT (Devlin et al. 2019); names as in Hugging Face's config.json."""

    hidden_size: int = Field(192, ge=1)
    """Width of the hidden states; a multiple of num_attention_heads."""
    num_hidden_layers: int = Field(3, ge=1)
    """Number of encoder blocks."""
    num_attention_heads: int = Field(6, ge=1)
    """Attention heads a block."""
    intermediate_size: int = Field(768, ge=1)
    """Width inside a block's feed-forward part."""
    hidden_act: str = "gelu"
    """Activation: gelu, gelu_new, relu, silu, tanh."""
    hidden_dropout_prob: float = Field(0.1, ge=0, lt=1)
    """Dropout on hidden states, in training."""
    attention_probs_dropout_prob: float = Field(0.1, ge=0, lt=1)
    """Dropout on attention weights, in training."""
    max_position_embeddings: int = Field(512, ge=3)
    """Longest input in tokens."""
    layer_norm_eps: float = Field(1e-12, gt=0)
    """Added to the variance in layer normalisation."""
    initializer_range: float = Field(0.02, gt=0)
    """Standard deviation of the initial weights."""


@register("models", "bert")
def bert(config: Bert) -> Model:
    """Return the architecture; vocabulary size and padding id come from the input column's codec."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.bert import Bert as Network
        from bessemer.nn.bert import BertConfig
        from bessemer.nn.checkpoint import adopt

        shape = BertConfig(vocab_size=spec.info["vocab_size"], pad_token_id=spec.info["pad_token_id"],
                           **config.model_dump())
        if spec.weights is not None:
            _check(shape, spec.weights)
        module = Network(shape, spec.heads, len(spec.labels), spec.labels)
        if spec.weights is not None:
            adopt(module, spec.weights)
        return module

    return Model(build=build, max_length=config.max_position_embeddings)


def _check(shape: BertConfig, folder: Path) -> None:
    """Refuse weights of another vocabulary, or of settings that no tensor's shape would betray."""
    from bessemer.nn.checkpoint import bert_config, read_config

    saved = read_config(folder)
    if saved.get("model_type") != "bert":
        raise UserError(f"'{folder}' holds a model of the family '{saved.get('model_type')}', the recipe asks for "
                        "'bert'; use the model kind 'pretrained'")
    found = bert_config(saved, folder)
    if found.vocab_size != shape.vocab_size:
        raise UserError(f"'{folder}' has a vocabulary of {found.vocab_size} tokens, the prepared data one of "
                        f"{shape.vocab_size}; prepare the data with that model's tokenizer")
    for name in ("num_attention_heads", "hidden_act", "layer_norm_eps", "pad_token_id"):
        if getattr(found, name) != getattr(shape, name):
            raise UserError(f"'{folder}' was made with {name} {getattr(found, name)}, the recipe says "
                            f"{getattr(shape, name)}; make them equal")
