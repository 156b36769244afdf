"""The contract of a source: every row of the file is read or rejected, once, under its number, every time alike."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from bessemer.core.types import Chunk, Source
from bessemer.testing.plugin import PluginContract


class SourceContract(PluginContract):
    """The contract of a plug-in of `data/sources`; `config` names one file, best one with rows that cannot be read."""

    folder: ClassVar[str] = "data/sources"

    @abstractmethod
    def rows(self) -> int:
        """Return how many rows the config's file holds, those that cannot be read included."""

    def source(self, folder: Path) -> Source:
        """Return the source."""
        found: Source = self.made(folder)
        return found

    def test_every_row_is_read_or_rejected_once(self, tmp_path: Path) -> None:
        """Numbers rise and are unique; with the rejected they are as many as the file has rows."""
        chunks = list(self.source(tmp_path).read())
        for chunk in chunks:
            assert isinstance(chunk.table, pa.Table) and chunk.numbers.dtype == np.int64
            assert chunk.numbers.shape == (chunk.table.num_rows,)
        numbers = np.concatenate([chunk.numbers for chunk in chunks])
        assert len(numbers) and numbers[0] >= 1 and (np.diff(numbers) > 0).all(), "the numbers of rows must rise from 1"
        refused = [row for chunk in chunks if chunk.rejected is not None for row in chunk.rejected.to_pylist()]
        rejected = [row["row"] for row in refused]
        assert len(set(rejected)) == len(rejected) and not set(rejected) & set(numbers.tolist())
        assert len(numbers) + len(rejected) == self.rows()
        assert all(row["reason"] and isinstance(row["content"], str) for row in refused)

    def test_chunks_have_the_same_columns(self, tmp_path: Path) -> None:
        """All chunks stack to one table."""
        tables = [chunk.table for chunk in self.source(tmp_path).read()]
        assert tables[0].num_columns > 0
        assert all(table.schema.equals(tables[0].schema) for table in tables)

    def test_two_reads_are_equal(self, tmp_path: Path) -> None:
        """The same source read twice gives the same chunks."""
        source = self.source(tmp_path)

        def plain(chunk: Chunk) -> tuple[object, ...]:
            rejected = None if chunk.rejected is None else chunk.rejected.to_pylist()
            return chunk.table.to_pylist(), chunk.numbers.tolist(), rejected

        assert [plain(chunk) for chunk in source.read()] == [plain(chunk) for chunk in source.read()]

    def test_files_exist(self, tmp_path: Path) -> None:
        """The source has a name; the files whose bytes are part of the cache key are there."""
        source = self.source(tmp_path)
        assert source.name.strip()
        assert isinstance(source.files, tuple) and all(file.is_file() for file in source.files)
