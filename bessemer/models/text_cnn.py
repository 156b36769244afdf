"""Convolutions over word vectors (Kim 2014): a small student of a large teacher, or a quick model of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model
from bessemer.models._words import Words, given, shape, start

if TYPE_CHECKING:
    import torch


class TextCnn(Words):
    """The shape of a TextCNN (Kim 2014, https://arxiv.org/abs/1408.5882)."""

    widths: Annotated[tuple[Annotated[int, Field(ge=1, le=20)], ...], Field(min_length=1)] = (2, 3, 4)
    """Tokens that a filter sees, a group of filters each."""
    channels: Annotated[int, Field(ge=1)] = 128
    """Filters of each width."""
    pooling: Annotated[tuple[Literal["max", "mean"], ...], Field(min_length=1)] = ("max",)
    """What is kept of a filter's answers over the text."""
    hidden_size: Annotated[int, Field(ge=0)] = 0
    """Units of a dense layer before the classes; 0 for none."""


@register("models", "text_cnn")
def text_cnn(config: TextCnn) -> Model:
    """Return the architecture; its input may have any length."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.text_cnn import TextCnn as Network
        from bessemer.nn.text_cnn import TextCnnConfig

        found = given(config, spec)
        fields, token_map = shape(config, spec, found)
        made = Network(TextCnnConfig(**fields, widths=config.widths, channels=config.channels, pooling=config.pooling,
                                     hidden_size=config.hidden_size), spec.heads, spec.labels)
        if token_map is not None and made.rows.token_map is not None:
            made.rows.token_map.copy_(token_map)
        start(found, spec, made.words.weight, token_map)
        return made

    return Model(build=build)
