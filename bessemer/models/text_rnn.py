"""LSTM or GRU over word vectors, read both ways, with one dropout mask through time (Gal & Ghahramani 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model
from bessemer.models._words import Share, Words, given, shape, start

if TYPE_CHECKING:
    import torch


class TextRnn(Words):
    """The shape of a recurrent network."""

    cell: Literal["lstm", "gru"] = "lstm"
    """Long short-term memory (Hochreiter & Schmidhuber 1997) or gated recurrent unit (Cho et al. 2014)."""
    hidden_size: Annotated[int, Field(ge=1)] = 128
    """Units of one direction."""
    num_layers: Annotated[int, Field(ge=1, le=16)] = 1
    """Layers above each other."""
    bidirectional: bool = True
    """Read the text from both ends."""
    pooling: Annotated[tuple[Literal["max", "mean", "last"], ...], Field(min_length=1)] = ("max",)
    """What is kept of the states over the text: their largest, their mean, those at the end of each direction."""
    recurrent_dropout: Share = 0.0
    """Dropout on the state that goes round, one mask a row through time (Gal & Ghahramani 2016); training then takes step after step."""
    bigrams: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Buckets of hashed pairs of neighbouring tokens, whose vectors are read beside the token's own: of characters they tell words apart
    sooner; 50000 for a newspaper. 0 for none."""
    bigram_size: Annotated[int, Field(ge=1)] = 32
    """Width of a pair's vector."""


@register("models", "text_rnn", revision=2)
def text_rnn(config: TextRnn) -> Model:
    """Return the architecture; its input may have any length."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.text_rnn import TextRnn as Network
        from bessemer.nn.text_rnn import TextRnnConfig

        if "tags" in spec.heads and config.pooling != ("max",):
            raise UserError("model.pooling has no effect on tags, each of which is told by the state at its own token; remove it")
        found = given(config, spec)
        fields, token_map = shape(config, spec, found)
        made = Network(TextRnnConfig(**fields, cell=config.cell, hidden_size=config.hidden_size, num_layers=config.num_layers,
                                     bidirectional=config.bidirectional, pooling=config.pooling,
                                     recurrent_dropout=config.recurrent_dropout, bigrams=config.bigrams,
                                     bigram_size=config.bigram_size, spread=True), spec.heads, spec.labels)
        if token_map is not None and made.rows.token_map is not None:
            made.rows.token_map.copy_(token_map)
        start(found, spec, made.words.weight, token_map)
        return made

    return Model(build=build)
