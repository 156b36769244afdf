"""Summaries of Spanish Wikipedia articles with their topics."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._wiki import wiki


class WikiEs(Config):
    """Spanish articles; it has no settings."""


@register("datasets", "wiki-es")
def wiki_es(config: WikiEs) -> DataSet:
    """Return where it is and how it is read: columns text, label, title."""
    return wiki("es-es", "1657dd6aff552394924ad4910b3c7104432f35a76b4cc1864b26301fa6a25b5d",
                "Spanish Wikipedia: the beginnings of 6,239 articles of 8 topics")
