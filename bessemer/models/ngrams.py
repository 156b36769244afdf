"""A bag of token n-grams (Joulin et al. 2016, fastText): the fastest network here, a few additions and one small product a text, or of tags
a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import BuildSpec, Model
from bessemer.models._words import Words, given, shape, start

if TYPE_CHECKING:
    import torch


class Ngrams(Words):
    """The shape of a bag of n-grams (Joulin et al. 2016, https://arxiv.org/abs/1607.01759)."""

    sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Field(min_length=1)] = (1, 2)
    """Tokens of an n-gram, rising; 1 stands for the tokens themselves."""
    buckets: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """Vectors that all n-grams of two tokens or more share by a hash."""
    pooling: Literal["mean", "attention"] = "mean"
    """The mean of a text's vectors, or one weighted by a learnt number of each n-gram."""
    hidden_size: Annotated[int, Field(ge=0)] = 64
    """Units of the dense layer before the classes; 0 for none."""
    window: Annotated[int, Field(ge=0, le=16)] = 2
    """Of tags: each token knows the n-grams of so many tokens on each side of it, and where they stand. For these sizes: [1, 2, 3] and
    buckets: 1000000 segment a newspaper."""

    @field_validator("sizes")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected rising sizes, each once, such as [1, 2]")
        return value


@register("models", "ngrams", revision=2)
def ngrams(config: Ngrams) -> Model:
    """Return the architecture; its input may have any length."""

    def build(spec: BuildSpec) -> torch.nn.Module:
        from bessemer.nn.ngrams import Ngrams as Network
        from bessemer.nn.ngrams import NgramsConfig

        _effective(config, spec)
        found = given(config, spec)
        fields, token_map = shape(config, spec, found)
        made = Network(NgramsConfig(**fields, sizes=config.sizes, buckets=config.buckets, pooling=config.pooling,
                                    hidden_size=config.hidden_size, window=config.window, spread=True), spec.heads, spec.labels)
        if token_map is not None and made.rows.token_map is not None:
            made.rows.token_map.copy_(token_map)
        start(found, spec, made.words.weight, token_map)
        return made

    return Model(build=build)


def _effective(config: Ngrams, spec: BuildSpec) -> None:
    """Refuse a key that is not at its default and that this task has no use for; a run's own recipe names every default."""
    tags = "tags" in spec.heads
    unused = next((name for name in (("pooling",) if tags else ("window",))
                   if getattr(config, name) != type(config).model_fields[name].default), None)
    if unused:
        what = "tags, whose n-grams are added up" if tags else "a text that is answered as a whole"
        raise UserError(f"model.{unused} has no effect on {what}; remove it")
