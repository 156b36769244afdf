"""Summaries of English Wikipedia articles with their topics."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._wiki import wiki


class WikiEn(Config):
    """English articles; it has no settings."""


@register("datasets", "wiki-en")
def wiki_en(config: WikiEn) -> DataSet:
    """Return where it is and how it is read: columns text, label, title."""
    return wiki("en-us", "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052",
                "English Wikipedia: the beginnings of 10,033 articles of 11 topics; 1,000 have no topic")
