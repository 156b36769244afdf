"""Classical Chinese poetry: Tang and Song poems, Song lyrics and Yuan arias, with their poets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource


class PoetryZh(Config):
    """The poems; they have no settings."""


_ROOT = "package/dist"
_KINDS = {"tang": ("quantangshi", "poet.tang.*.json", "title"), "song": ("quantangshi", "poet.song.*.json", "title"),
          "ci": ("songci", "ci.song.*.json", "rhythmic"), "qu": ("yuanqu", "yuanqu.json", "title")}
"""Label -> folder, files, and the field that holds a poem's title (of a lyric the tune)."""


def _files(folder: Path, names: str) -> list[Path]:
    """Return the files of a kind, by the number in their names."""
    return sorted((folder).glob(names), key=lambda file: (int("".join(filter(str.isdigit, file.name)) or 0), file.name))


def _read(folder: Path) -> Iterator[Chunk]:
    """Yield the poems of each kind, file by file; a row's number is its place among all."""
    done = 0
    for label, (part, names, title) in _KINDS.items():
        for file in _files(folder / _ROOT / part, names):
            made, rows = _poems(file, label, title, done)
            done += rows
            yield made


def _poems(file: Path, label: str, title: str, done: int) -> tuple[Chunk, int]:
    """Return the poems of a file, numbered after `done` others, and how many there are; those of which no line is left are refused."""
    import json

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.datasets import chunk

    kind = pa.schema([("paragraphs", pa.list_(pa.string())), ("author", pa.string()), (title, pa.string())])
    found = pa.Table.from_pylist(json.loads(file.read_text(encoding="utf-8")), kind).combine_chunks()
    text = pc.binary_join(found["paragraphs"].combine_chunks(), "\n")
    numbers = pa.array(np.arange(done + 1, done + 1 + len(found)))
    columns = {"text": text, "label": label, "author": found["author"].combine_chunks(), "title": found[title].combine_chunks()}
    return chunk(columns, numbers, pc.equal(text, ""), "the poem has no lines", found[title].combine_chunks()), len(found)


@register("datasets", "poetry-zh")
def poetry_zh(config: PoetryZh) -> DataSet:
    """Return where it is and how it is read: columns text (a line end between lines), label (tang, song, ci or qu), author, title."""
    return DataSet(
        kind="rows",
        about="Classical Chinese verse of four kinds: 57,603 poems of the Tang and 254,225 of the Song, 21,053 lyrics, 10,914 arias",
        licence="MIT (the collection); the poems are in the public domain",
        reference="none measured here: it is for pretraining and for telling the four kinds apart",
        resource=Resource(
            registry="npm",
            package="chinese-poetry",
            version="2.0.1",
            archive="chinese-poetry-2.0.1.tgz",
            sha256="25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
            members={
                f"{_ROOT}/quantangshi/": "b1c0bc0ff6909f751562f6fa360998d2362a6c80ef4e25fb437e6b4e46af104e",
                f"{_ROOT}/songci/": "bb33f84a0d91c6e70afe231a3b326b271ce5366c8d9a3978bbcb8cf71fcf49eb",
                f"{_ROOT}/yuanqu/": "d81fa00e004d9e30634eb3098dc1fc6044f140978e71001e60a2e782b27c336d",
            },
        ),
        read=_read,
    )
