"""Summaries of French Wikipedia articles with their topics."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._wiki import wiki


class WikiFr(Config):
    """French articles; it has no settings."""


@register("datasets", "wiki-fr")
def wiki_fr(config: WikiFr) -> DataSet:
    """Return where it is and how it is read: columns text, label, title."""
    return wiki("fr-fr", "b0b2b6bbe6e35829d73495a849b915fb36e2e18a474cf58c544a2982f82a1bc4",
                "French Wikipedia: the beginnings of 9,955 articles of 11 topics")
