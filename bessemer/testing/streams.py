"""The contract of a stream: any block, at any time, from any thread, gives the same rows under the same numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np

from bessemer.core.types import Chunk, RowStream
from bessemer.data.streams import Place
from bessemer.testing.plugin import PluginContract


class StreamContract(PluginContract):
    """The contract of a plug-in of `data/streams`; `config` names a stream of several blocks."""

    folder: ClassVar[str] = "data/streams"

    def stream(self, folder: Path) -> RowStream:
        """Open the stream; what it copies is kept in a folder below."""
        config = self.config(folder)
        found: RowStream = self.plugin(config).function(config, Place(folder / "copy"))
        return found

    def test_blocks_have_the_rows_that_they_say(self, tmp_path: Path) -> None:
        """`starts` rises from 0; a block has as many rows, rejected ones among them; numbers are unique in their file."""
        stream = self.stream(tmp_path)
        assert stream.name.strip() and len(stream.starts) > 2 and stream.starts.dtype == np.int64
        assert stream.starts[0] == 0 and (np.diff(stream.starts) >= 0).all()
        seen: set[tuple[str, int]] = set()
        for block in range(len(stream.starts) - 1):
            chunk = stream.read(block, None)
            bad = [] if chunk.rejected is None else chunk.rejected.to_pylist()
            assert stream.rejected is None or stream.rejected[block] == len(bad)
            assert len(chunk.table) == len(chunk.numbers) and chunk.numbers.dtype == np.int64
            assert len(chunk.table) + len(bad) == stream.starts[block + 1] - stream.starts[block]
            place = stream.place(block) if stream.place is not None else stream.name
            numbers = {(place, number) for number in [*chunk.numbers.tolist(), *(row["row"] for row in bad)]}
            assert len(numbers) == len(chunk.table) + len(bad) and not numbers & seen
            assert not len(chunk.table) or set(chunk.table.column_names) == set(stream.columns)
            seen |= numbers
        assert len(seen) == stream.starts[-1]

    def test_any_order_and_any_thread_give_the_same_rows(self, tmp_path: Path) -> None:
        """Blocks read backwards, twice, by two threads, and by another opening of the stream are equal."""
        config = self.config(tmp_path)
        stream, again = (self.plugin(config).function(config, Place(tmp_path / "copy")) for _ in range(2))
        blocks = range(len(stream.starts) - 1)
        with ThreadPoolExecutor(2) as pool:
            backwards = list(pool.map(lambda block: stream.read(block, None), [*reversed(blocks), *reversed(blocks)]))
        for block, *found in zip(reversed(blocks), backwards, backwards[len(blocks):], strict=False):
            for chunk in found:
                assert _same(again.read(block, None), chunk)

    def test_columns_are_chosen(self, tmp_path: Path) -> None:
        """Only the columns that are asked for are read, and they are the same."""
        stream = self.stream(tmp_path)
        whole = stream.read(0, None).table
        for name in stream.columns:
            assert stream.read(0, (name,)).table.equals(whole.select([name]))
        assert stream.read(0, tuple(reversed(stream.columns))).table.column_names == list(reversed(stream.columns))


def _same(first: Chunk, second: Chunk) -> bool:
    bad = [chunk.rejected.to_pylist() if chunk.rejected is not None else [] for chunk in (first, second)]
    return first.table.equals(second.table) and np.array_equal(first.numbers, second.numbers) and bad[0] == bad[1]
