"""The settings of a search under a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.pick import Pick

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Budget(Config):
    """What the delivered form may cost."""

    size_mb: Positive | None = None
    """Millions of bytes on disk of every file that the form needs to answer: graph, schema, tokenizer or columns."""
    latency_ms: Positive | None = None
    """Milliseconds of one row, raw row in, answer out: the median on this machine."""
    memory_mb: Positive | None = None
    """Millions of bytes that a process holds at its peak when it answers 16 rows; each candidate is measured in a process of its own."""
    accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.01
    """What may be lost on the validation rows against the trained network: accuracy of labels, R² of numbers, micro F1 of flags."""

    @model_validator(mode="after")
    def _limited(self) -> Budget:
        if self.size_mb is None and self.latency_ms is None and self.memory_mb is None:
            raise ValueError("a budget limits size_mb, latency_ms or memory_mb; give one or more")
        return self


class Search(Config):
    """How it is searched."""

    minutes: Positive = 20.0
    """Time for the search. A training whose forecast does not fit into what is left is not started."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Smaller networks that are looked at at most, those that are dropped before training among them."""
    students: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Families of smaller models: of a text slim (cut out of the trained network), text_cnn, text_rnn, ngrams, tfidf_linear (no network:
    fitted to the labels); of a table slim, members, mlp. By default all."""
    distil: bool = True
    """Smaller networks learn what the trained one says as well as the labels."""
    copies: Annotated[int, Field(ge=0, le=50)] = 2
    """Texts that are made new from each training text for that; with distil."""
    unlabelled: tuple[Annotated[Config, Pick("data/sources")], ...] = ()
    """Further rows that the trained network answers for that, with distil: files or data sets of the catalogue, as in prepare. They need
    the input columns alone."""
    effort: Positive = 1.0
    """Factor of the passes over the training rows that each smaller network gets."""
    cascades: bool = True
    """Try pairs: a fast form answers, and a slower one where the first is unsure."""
    low_rank: bool = True
    """Of a text, networks cut out of the trained one may also have their layers as products of two thin ones."""
    qat: bool = True
    """Train a network of text on with the rounding of int8 where its int8 form loses much more than the network itself."""
    early_exits: bool = True
    """Let easy texts leave the most promising network before its end: small classifiers after some of its layers are trained for that."""
    longer: bool = True
    """Where much of the time is gone and nothing meets the budget, train the network on that loses least of those that are small and fast
    enough."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Of the order in which candidates are tried; the recipe's by default."""

    later: ClassVar[Mapping[str, Any]] = {"longer": True}  # a search that has ended by an earlier version is not begun again

    @property
    def lasts(self) -> str:
        """Say how long it may take.

        >>> Search(minutes=1).lasts, Search().lasts, Search(minutes=0.5).lasts
        ('1 minute', '20 minutes', '0.5 minutes')
        """
        return f"{self.minutes:g} minute{'' if self.minutes == 1 else 's'}"
