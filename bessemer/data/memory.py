"""Arrays over memory that is used again.

The memory of a large array that is freed goes back to the system, and the next one is made of pages that the system clears first: for
batches that come and go this takes as long as filling them. Here memory that no array holds any more is kept for the next one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

LEAST = 1 << 17
ALIGNED = 64


def give_back() -> None:
    """Give memory that nothing holds any more back to the system: that of Arrow's pool, and of the C library's heap (which torch,
    tokenizers and Python's large objects are in).

    Both keep what is freed, in pieces that the next block of rows fits into badly, so that a long loop over blocks would seem to grow.
    It takes some milliseconds: call it once for some megabytes of rows.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    pa.system_memory_pool().release_unused()


class Memory:
    """Lends arrays; what is freed is lent again.

    Args:
        kept: blocks of memory of one size that are kept at most while nobody holds them.
    """

    def __init__(self, kept: int = 8) -> None:
        self.kept = kept
        self._free: dict[int, deque[np.ndarray]] = {}

    def array(self, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        """Return an array with any content, as numpy.empty does; views of it hold its memory too."""
        import numpy as np

        kind = np.dtype(kind)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if size < LEAST:
            return np.empty(shape, kind)
        free = self._free.setdefault(-(-size // LEAST), deque(maxlen=self.kept))
        try:
            memory = free.pop()
        except IndexError:
            memory = np.empty(-(-size // LEAST) * LEAST + ALIGNED, np.uint8)
        start = -memory.ctypes.data % ALIGNED
        return np.asarray(_Lent(memory, free, start, size)).view(kind).reshape(shape)


class _Lent:
    """The owner of an array's memory: when the last view of it is gone, the memory is free."""

    def __init__(self, memory: np.ndarray, free: deque[np.ndarray], start: int, size: int) -> None:
        self.memory, self.free = memory, free
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (size,), "data": (memory.ctypes.data + start, False)}

    def __del__(self) -> None:
        self.free.append(self.memory)
