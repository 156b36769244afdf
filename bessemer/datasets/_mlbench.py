"""What the tables of the R package mlbench share: one Debian package, fetched once, and one data frame a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.types import Chunk, DataSet, Resource
from bessemer.datasets._rda import read_rda
from bessemer.datasets._tables import chunks, numbers, with_split

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "usr/lib/R/site-library/mlbench/data"
UCI = "UCI Machine Learning Repository, CC BY 4.0; packaged under GPL-2"


@dataclass(frozen=True)
class Frame:
    """One data frame of the package and how it becomes a table.

    Attributes:
        stem: name of its file without `.rda`; the data frame has the same name.
        sha256: of the file.
        names: readable names of all its columns, in its order.
        numeric: those that the file holds as categories although they are numbers.
        train: how many of its first rows are for training, where a split was published; None where none was.
    """

    stem: str
    sha256: str
    names: Sequence[str]
    numeric: Sequence[str] = ()
    train: int | None = None

    @property
    def member(self) -> str:
        """Return its path inside the package."""
        return f"{FOLDER}/{self.stem}.rda"

    def table(self, folder: Path) -> pa.Table:
        """Return its rows under readable names."""
        import numpy as np
        import pyarrow as pa

        table = numbers(read_rda(folder / self.member)[self.stem].rename_columns(list(self.names)), self.numeric)
        return table if self.train is None else with_split(table, pa.array(np.arange(table.num_rows) < self.train))


def data_set(frame: Frame, about: str, reference: str, licence: str = UCI) -> DataSet:
    """Return the entry of the catalogue for one data frame."""

    def read(folder: Path) -> Iterator[Chunk]:
        yield from chunks(frame.table(folder))

    return DataSet(
        kind="rows",
        about=about,
        licence=licence,
        reference=reference,
        resource=Resource(
            registry="debian",
            package="r-cran-mlbench",
            version="2.1-3-1",
            archive="r-cran-mlbench_2.1-3-1_amd64.deb",
            sha256="2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06",
            members={frame.member: frame.sha256},
        ),
        read=read,
    )
