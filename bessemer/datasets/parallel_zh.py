"""Sentences in English and Chinese."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._help import pairs


class ParallelZh(Config):
    """The pairs; they have no settings."""


@register("datasets", "parallel-zh")
def parallel_zh(config: ParallelZh) -> DataSet:
    """Return where they are and how they are read: columns en, zh, page."""
    return pairs("zh-cn", ("db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee",
                         "991511fe5157c33a881df42fca6284002a362efc94f96f5ba9a675c54d0289a2"),
                 "Paragraphs of LibreOffice's help in English and Chinese: 37,292 pairs that are translated; many are short and come again",
                 r"\p{Han}")
