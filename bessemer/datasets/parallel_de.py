"""Sentences in English and German."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._help import pairs


class ParallelDe(Config):
    """The pairs; they have no settings."""


@register("datasets", "parallel-de")
def parallel_de(config: ParallelDe) -> DataSet:
    """Return where they are and how they are read: columns en, de, page."""
    return pairs("de", ("00490b63c509ac96f7f212d6a6e40452d3e0d1f97ccf4b824dd5ec4c01e8277f",
                         "6a18c4705d7d7ad7dc68bb6e03aa845ae5f409375c125fbbfbe8d3ea8d998f0e"),
                 "Paragraphs of LibreOffice's help in English and German: 52,809 pairs that are translated; many are short and come again")
