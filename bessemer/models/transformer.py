"""The Transformer's encoder from a configuration, with the paper's sinusoidal positions (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model

if TYPE_CHECKING:
    import torch


class TransformerEncoder(Config):
    """Its shape; names as in Hugging Face's config.json."""

    hidden_size: int = Field(256, ge=2, multiple_of=2)
    """Width of the hidden states, an even number and a multiple of num_attention_heads."""
    num_hidden_layers: int = Field(4, ge=1)
    """Number of encoder blocks."""
    num_attention_heads: int = Field(4, ge=1)
    """Attention heads a block."""
    intermediate_size: int = Field(1024, ge=1)
    """Width inside a block's feed-forward part."""
    hidden_act: str = "relu"
    """Activation: relu (the paper's), gelu, gelu_new, silu, tanh."""
    hidden_dropout_prob: float = Field(0.1, ge=0, lt=1)
    """Dropout on hidden states, in training."""
    attention_probs_dropout_prob: float = Field(0.0, ge=0, lt=1)
    """Dropout on attention weights, in training."""
    max_position_embeddings: int = Field(512, ge=3)
    """Longest input in tokens; positions are computed, so this costs no weights."""
    layer_norm_eps: float = Field(1e-5, gt=0)
    """Added to the variance in layer normalisation."""


@register("models", "transformer")
def transformer(config: TransformerEncoder) -> Model:
    """Return the architecture; vocabulary size and padding id come from the input column's codec."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.bert import BertConfig
        from bessemer.nn.checkpoint import read_weights
        from bessemer.nn.transformer import Transformer, adopt

        shape = BertConfig(vocab_size=spec.info["vocab_size"], pad_token_id=spec.info["pad_token_id"], **config.model_dump())
        module = Transformer(shape, spec.heads, spec.labels)
        return module if spec.weights is None else adopt(module, read_weights(spec.weights), spec.weights, False)

    return Model(build=build, max_length=config.max_position_embeddings)
