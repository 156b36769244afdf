"""Sentences in English and French."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._help import pairs


class ParallelFr(Config):
    """The pairs; they have no settings."""


@register("datasets", "parallel-fr")
def parallel_fr(config: ParallelFr) -> DataSet:
    """Return where they are and how they are read: columns en, fr, page."""
    return pairs("fr", ("c796530d3e95af1ea4d054076682efc8aad2b569ae9513f3d4a776b2df3fd206",
                         "4c49166cfb869d1c20bc31dfa800bb50cbb365c61eda825fe284e6ce76eb907e"),
                 "Paragraphs of LibreOffice's help in English and French: 50,774 pairs that are translated; many are short and come again")
