"""A small BERT from a configuration: each layer's own widths, factorised or hashed embeddings, low-rank layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model

if TYPE_CHECKING:
    import torch

    from bessemer.nn.slim_bert import SlimConfig

Count = Annotated[int, Field(ge=1)]


class SlimBert(Config):
    """The shape; names as in Hugging Face's config.json where there are any."""

    hidden_size: Count = 128
    """Width between the layers."""
    num_hidden_layers: Count = 2
    """Number of encoder blocks."""
    num_attention_heads: Count | tuple[Count, ...] = 2
    """Attention heads: of every block, or a list of one number a block."""
    head_size: Count = 32
    """Width of a head."""
    intermediate_size: Count | tuple[Count, ...] = 256
    """Width inside a block's feed-forward part: of every block, or a list of one number a block."""
    embedding_size: Count | None = None
    """Words are embedded in so many dimensions and projected to hidden_size (ALBERT: Lan et al. 2020); by default in hidden_size."""
    hash_buckets: Count | None = None
    """Rows of a table that tokens share by hashing (Svenstrup et al. 2017); by default each token has its own row."""
    hash_functions: Annotated[int, Field(ge=1, le=8)] = 2
    """Rows that a token is the weighted sum of; with hash_buckets."""
    rank: Annotated[float, Field(gt=0)] | None = None
    """The blocks' linear layers are products of two thin ones. 1 or more: their rank. Below 1: the part of a layer's weights that its two
    factors have."""
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

    @model_validator(mode="after")
    def _fits(self) -> SlimBert:
        for name in ("num_attention_heads", "intermediate_size"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.num_hidden_layers:
                raise ValueError(f"{name} has {len(value)} numbers for {self.num_hidden_layers} blocks; give one for each, or one for all")
        if self.hash_functions != 2 and self.hash_buckets is None:
            raise ValueError("hash_functions has an effect with hash_buckets alone")
        return self


@register("models", "slim_bert")
def slim_bert(config: SlimBert) -> Model:
    """Return the architecture; vocabulary size and padding id come from the input column's codec."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from dataclasses import replace

        from bessemer.nn.checkpoint import adopt, read_config
        from bessemer.nn.slim_bert import MODEL_TYPE
        from bessemer.nn.slim_bert import SlimBert as Network

        shape = _shape(config, spec)
        if config.rank is not None:
            shape = replace(shape, ranks=_ranks(Network(shape, ()), config.rank))
        network = Network(shape, spec.heads, spec.labels)
        if spec.weights is not None:
            kind = read_config(spec.weights).get("model_type")
            if kind != MODEL_TYPE:
                raise UserError(f"'{spec.weights}' holds a model of the family '{kind}', the recipe asks for '{MODEL_TYPE}'; use the model "
                                "kind 'pretrained', or a stage 'prune' to make it smaller")
            adopt(network, spec.weights)
        return network

    return Model(build=build, max_length=config.max_position_embeddings)


def _shape(config: SlimBert, spec: BuildSpec) -> SlimConfig:
    from bessemer.nn.slim_bert import SlimConfig

    def each(name: str) -> tuple[int, ...]:
        value = getattr(config, name)
        return value if isinstance(value, tuple) else (value,) * config.num_hidden_layers

    plain = config.model_dump(exclude={"num_hidden_layers", "rank", "num_attention_heads", "intermediate_size"})
    return SlimConfig(vocab_size=spec.info["vocab_size"], pad_token_id=spec.info["pad_token_id"], pooler_size=config.hidden_size,
                      num_attention_heads=each("num_attention_heads"), intermediate_size=each("intermediate_size"), **plain)


def _ranks(network: torch.nn.Module, wanted: float) -> dict[str, int]:
    """Return the rank of each layer that becomes smaller by it."""
    from typing import cast

    from bessemer.nn.low_rank import rank_for
    from bessemer.nn.slim_bert import SlimBert as Network
    from bessemer.nn.slim_edit import dense_layers

    found = {name: rank_for(layer.in_features, layer.out_features, wanted) for name, layer in dense_layers(cast(Network, network)).items()}
    ranks = {name: rank for name, rank in found.items() if rank is not None}
    if not ranks:
        raise UserError(f"rank: no layer becomes smaller by two factors of rank {wanted:g}; give a lower rank")
    return ranks
