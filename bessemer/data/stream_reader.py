"""Reading a stream: from positions of training rows to rows, and an epoch's batches as they are asked for.

The rows are divided into runs of consecutive rows; whole runs are held out for validation and test by a keyed hash, and the rows
of all others are the training rows, numbered 0 to N - 1 in the stream's order: their positions.

Shuffle `window`: an epoch reads the blocks in a keyed order, W at a time; the rows of such a window are shuffled and cut into
batches. A batch then holds rows of up to W blocks from all over the stream. Shuffle `none`, for rows that are independent as they
are stored: batches are slices of consecutive rows, and no row is moved in memory where a batch lies inside one block.

The k-th batch of an epoch is a pure function of (seed, epoch, k); the rows of a batch are in the order of their positions, so
that a block's rows are read together. Memory: 2 W + 4 decoded blocks at most, and 25 bytes for each block of the stream.

Legend: N training rows, B rows of a batch, W blocks of a window.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, overload

from bessemer.core.errors import UserError
from bessemer.core.keyed import uniform
from bessemer.core.task_spec import TableRows
from bessemer.core.types import Chunk, RowStream
from bessemer.data.gather import Piece, gathered, reordered
from bessemer.data.memory import Memory

if TYPE_CHECKING:
    import numpy as np

RUN = 1024
RUNS = 256
AHEAD = 4
THREADS = 2


@dataclass(frozen=True)
class Division:
    """Which rows of a stream are held out.

    Attributes:
        starts: int64 [blocks + 1], as in RowStream.
        run_rows: rows of a run; the last run of a block may have fewer.
        held: split -> numbers of its runs, rising, counted through the whole stream.
    """

    starts: np.ndarray
    run_rows: int
    held: Mapping[str, np.ndarray]

    def first_runs(self) -> np.ndarray:
        """Return the number of each block's first run, int64 [blocks + 1]."""
        import numpy as np

        return np.concatenate([[0], np.cumsum(-(-np.diff(self.starts) // self.run_rows))])

    def rows(self, runs: np.ndarray) -> list[tuple[int, int, int]]:
        """Return (block, first row, end row) of each run, rows counted in the block."""
        import numpy as np

        first, sizes = self.first_runs(), np.diff(self.starts)
        blocks = np.searchsorted(first, runs, side="right") - 1
        begin = (runs - first[blocks]) * self.run_rows
        end = np.minimum(begin + self.run_rows, sizes[blocks])
        return list(zip(blocks.tolist(), begin.tolist(), end.tolist(), strict=True))


def divide(starts: np.ndarray, counts: Mapping[str, int], seed: int) -> Division:
    """Hold out whole runs until each split has at least its count of rows; the same for equal arguments.

    Args:
        starts: int64 [blocks + 1], as in RowStream.
        counts: split -> rows that it must have.
        seed: of the run.
    """
    import numpy as np

    total = int(starts[-1])
    run_rows = min(RUN, max(1, total // RUNS))
    empty = Division(starts, run_rows, {})
    first, sizes = empty.first_runs(), np.diff(starts)
    if sum(counts.values()) > total // 2:
        raise UserError(f"the stream has {total:,} rows, of which {sum(counts.values()):,} would be held out for "
                        f"{' and '.join(counts)}; expected at most half: lower those counts")
    runs = np.argsort(uniform(seed, 0, np.arange(first[-1]), 1, stream=11)[:, 0], kind="stable")
    blocks = np.searchsorted(first, runs, side="right") - 1
    length = np.minimum(run_rows, sizes[blocks] - (runs - first[blocks]) * run_rows)
    reached = np.cumsum(length)
    held, done, before = {}, 0, 0
    for name, count in counts.items():
        end = done + (int(np.searchsorted(reached[done:], before + count)) + 1 if count else 0)
        held[name] = np.sort(runs[done:end])
        done, before = end, int(reached[end - 1]) if end else 0
    return Division(starts, run_rows, held)


@dataclass(frozen=True)
class Decoded:
    """A block's rows, ready for a network.

    Attributes:
        rows: those that were not rejected; their row ids are set by the reader.
        places: int64 [rows of the block]: where each is in `rows`, -1 for a rejected one; None where all are there, in order.
    """

    rows: TableRows
    places: np.ndarray | None = None


@dataclass(frozen=True)
class Reading:
    """How a stream is read.

    Attributes:
        seed: of the run.
        shuffle: `"window"` or `"none"`.
        window: blocks whose rows are shuffled together.
        columns: the columns that are read, or None for all.
        threads: that read and decode ahead; the rows do not depend on it.
    """

    seed: int
    shuffle: str = "window"
    window: int = 8
    columns: tuple[str, ...] | None = None
    threads: int = THREADS


class StreamReader:
    """The training rows of a stream, by position."""

    def __init__(self, stream: RowStream, division: Division, reading: Reading, decode: Callable[[Chunk], Decoded]) -> None:
        import numpy as np

        self.stream, self.reading, self.decode = stream, reading, decode
        sizes = np.diff(division.starts)
        held: dict[int, list[tuple[int, int]]] = {}
        for block, begin, end in (part for runs in division.held.values() for part in division.rows(runs)):
            held.setdefault(block, []).append((begin, end))
        for block, parts in held.items():
            sizes[block] -= sum(end - begin for begin, end in parts)
        self._held = held
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.count = int(self.starts[-1])
        self._cache: OrderedDict[int, Future[Decoded]] = OrderedDict()
        self._room = 2 * reading.window + AHEAD if reading.shuffle == "window" else 2 * AHEAD
        self._lock = threading.Lock()
        self.left_out = 0
        self._memory = Memory()
        self._pool = ThreadPoolExecutor(reading.threads, thread_name_prefix="stream")
        self._epoch = 0
        self._order = lru_cache(2)(self._make_order)
        self._window = lru_cache(2)(self._make_window)
        self._kept = lru_cache(2 * self._room)(self._make_kept)

    # ---- rows ----

    def read(self, positions: np.ndarray) -> TableRows:
        """Return rows by position (int64 [B]), in that order; rows that cleaning rejects are left out."""
        import numpy as np

        positions = np.asarray(positions, np.int64)
        if len(positions) and not 0 <= positions.min() <= positions.max() < self.count:
            raise IndexError(f"positions must be 0 to {self.count - 1:,}, not {positions.min():,} to {positions.max():,}")
        back = None
        if (np.diff(positions) < 0).any():
            order = np.argsort(positions, kind="stable")
            back, positions = np.argsort(order, kind="stable"), positions[order]
        blocks, parts = self._split(positions)
        waiting = self._ask(blocks)
        found = gathered([self._piece(block, part, waiting[block].result()) for block, part in zip(blocks.tolist(), parts, strict=True)],
                         self._memory)
        if len(found.weights) < len(positions):
            self.left_out += len(positions) - len(found.weights)
            if not len(found.weights):
                raise UserError(f"'{self.stream.name}': every one of {len(positions):,} training rows read together (near row "
                                f"{int(self.stream.starts[blocks[0]]) + 1:,}) was rejected; expected rows like those that were prepared")
            if back is not None:
                back = self._without(positions, blocks, waiting, back)
        return found if back is None else reordered(found, back)

    def _without(self, positions: np.ndarray, blocks: np.ndarray, waiting: Mapping[int, Future[Decoded]],
                 back: np.ndarray) -> np.ndarray:
        """Return `back` where rejected rows are left out of the sorted rows."""
        import numpy as np

        good = np.concatenate([self._places(block, positions[(positions >= self.starts[block]) & (positions < self.starts[block + 1])],
                                            waiting[block].result()) >= 0 for block in blocks.tolist()])
        renumbered = np.cumsum(good) - 1
        kept: np.ndarray = renumbered[back[good[back]]]
        return kept

    def _local(self, block: int, positions: np.ndarray) -> np.ndarray:
        """Return the rows, counted in the block, of rising positions."""
        rows = positions - self.starts[block]
        found: np.ndarray = self._kept(block)[rows] if block in self._held else rows
        return found

    def _make_kept(self, block: int) -> np.ndarray:
        """Return the training rows of a block, counted in it."""
        import numpy as np

        kept = np.ones(int(self.stream.starts[block + 1] - self.stream.starts[block]), bool)
        for begin, end in self._held[block]:
            kept[begin:end] = False
        return np.flatnonzero(kept)

    def _places(self, block: int, positions: np.ndarray, decoded: Decoded) -> np.ndarray:
        local = self._local(block, positions)
        return local if decoded.places is None else decoded.places[local]

    def _piece(self, block: int, positions: np.ndarray, decoded: Decoded) -> Piece:
        local = self._local(block, positions)
        ids = local + self.stream.starts[block]
        if decoded.places is not None:
            local = decoded.places[local]
            ids, local = ids[local >= 0], local[local >= 0]
        return Piece(decoded.rows, local, ids)

    def blocks(self, epoch: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each block with training rows, in an epoch's order, and those rows, counted in the block and rising."""
        import numpy as np

        order = range(len(self.starts) - 1) if self.reading.shuffle == "none" else self._order(epoch)[0].tolist()
        for block in order:
            if self.starts[block + 1] > self.starts[block]:
                yield block, self._local(block, np.arange(self.starts[block], self.starts[block + 1]))

    def local(self, positions: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Return rising positions as (block, rows counted in the block)."""
        blocks, parts = self._split(positions)
        return [(block, self._local(block, part)) for block, part in zip(blocks.tolist(), parts, strict=True)]

    def _split(self, positions: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the blocks of rising positions, and the positions of each."""
        import numpy as np

        owners = np.searchsorted(self.starts, positions, side="right") - 1
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        return owners[first], np.split(positions, first[1:])

    # ---- blocks ----

    def _ask(self, blocks: np.ndarray) -> dict[int, Future[Decoded]]:
        """Have blocks read, those first, then the ones that the epoch needs next; return the futures of the first."""
        with self._lock:
            found = {block: self._future(block) for block in blocks.tolist()}
            for block in self._next(blocks)[:max(0, self._room - len(found))]:
                self._future(block)
            while len(self._cache) > max(self._room, len(found)):
                self._cache.popitem(last=False)
            return found

    def _future(self, block: int) -> Future[Decoded]:
        if block in self._cache:
            self._cache.move_to_end(block)
        else:
            self._cache[block] = self._pool.submit(self._load, block)
        return self._cache[block]

    def _load(self, block: int) -> Decoded:
        return self.decode(self.stream.read(block, self.reading.columns))

    def _next(self, blocks: np.ndarray) -> list[int]:
        if self.reading.shuffle == "none":
            last = int(blocks.max(initial=-1))
            return list(range(last + 1, min(last + 1 + AHEAD, len(self.starts) - 1)))
        order, inverse, _ = self._order(self._epoch)
        window = self.reading.window
        last = int(inverse[blocks].max(initial=0)) // window * window + window
        found: list[int] = order[last:last + window].tolist()
        return found

    # ---- order ----

    def order(self, epoch: int, rows: int) -> Sequence[np.ndarray]:
        """Return an epoch's batches of positions, computed as they are asked for; the last may have fewer rows, never fewer than half.

        Args:
            epoch: which pass, from 0.
            rows: in a batch.
        """
        count = max(1, self.count // rows + (self.count % rows >= (rows + 1) // 2 and self.count % rows > 0))
        return Batches(self, epoch, rows, range(count), count)

    def batch(self, epoch: int, begin: int, end: int) -> np.ndarray:
        """Return the positions of the epoch's rows number `begin` to `end`, rising."""
        import numpy as np

        self._epoch = epoch
        if self.reading.shuffle == "none":
            return np.arange(begin, end, dtype=np.int64)
        _, _, windows = self._order(epoch)
        parts = []
        window = int(np.searchsorted(windows, begin, side="right")) - 1
        while window < len(windows) - 1 and windows[window] < end:
            start = int(windows[window])
            parts.append(self._window(epoch, window)[max(0, begin - start):end - start])
            window += 1
        return np.sort(np.concatenate(parts))

    def _make_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return an epoch's blocks in order, each block's place in it, and the first row of every window (and the end)."""
        import numpy as np

        sizes = np.diff(self.starts)
        order = self._generator(epoch, 0).permutation(len(sizes))
        inverse = np.empty_like(order)
        inverse[order] = np.arange(len(order))
        # a window may be empty where all of its rows are held out: its start is then the next one's, and it keeps its place
        starts = np.concatenate([[0], np.cumsum(sizes[order])])[:-1:self.reading.window]
        return order, inverse, np.append(starts, self.count)

    def _make_window(self, epoch: int, window: int) -> np.ndarray:
        """Return the positions of a window's rows, shuffled."""
        import numpy as np

        order, _, windows = self._order(epoch)
        blocks = order[window * self.reading.window:(window + 1) * self.reading.window]
        rows = np.concatenate([np.arange(self.starts[block], self.starts[block + 1]) for block in blocks])
        return self._generator(epoch, window + 1).permutation(rows)

    def _generator(self, epoch: int, counter: int) -> np.random.Generator:
        import numpy as np

        return np.random.Generator(np.random.Philox(key=[self.reading.seed, epoch], counter=[0, 0, 0, counter]))


@dataclass(frozen=True)
class Batches(Sequence["np.ndarray"]):
    """Some batches of an epoch; each is computed when it is asked for.

    Attributes:
        reader: of the stream.
        epoch: which pass.
        rows: in a batch.
        chosen: the numbers of these batches in the epoch.
        whole: batches of the epoch.
    """

    reader: StreamReader
    epoch: int
    rows: int
    chosen: range
    whole: int

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        """Return one batch's positions, int64 [B], or the batches of a slice."""
        if isinstance(index, slice):
            return Batches(self.reader, self.epoch, self.rows, self.chosen[index], self.whole)
        number = self.chosen[index]
        end = self.reader.count if number == self.whole - 1 else (number + 1) * self.rows
        return self.reader.batch(self.epoch, number * self.rows, end)
