"""Randomness as a pure function of what it is for: (seed, epoch, row, position), never of a worker or a batch.

The generator is SplitMix64 used as a counter-based hash (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014): every number is computed on its own, so
any batch that holds a row draws the same numbers for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def uniform(seed: int, epoch: int, row_ids: np.ndarray, count: int, stream: int = 0) -> np.ndarray:
    """Return float64 [R, count] in [0, 1): number j of a row depends on (seed, stream, epoch, row id, j) alone.

    Args:
        seed: of the run.
        epoch: any integer; -1 names the fixed draw of a validation.
        row_ids: int64 [R].
        count: how many numbers a row; asking for more leaves the first ones as they are.
        stream: what the numbers are for; other streams are independent.
    """
    import numpy as np

    key = np.zeros(1, np.uint64)
    for part in (seed, stream, epoch):
        key = _mix((key ^ np.uint64(part & _MASK)) + np.uint64(_GAMMA))
    key_R = _mix((key ^ row_ids.astype(np.int64).view(np.uint64)) + np.uint64(_GAMMA))
    counter_J = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    bits_RJ = _mix(key_R[:, None] + counter_J[None, :])
    result: np.ndarray = (bits_RJ >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


def _mix(state: np.ndarray) -> np.ndarray:
    """Return SplitMix64's output function of uint64 states (wraps modulo 2^64)."""
    import numpy as np

    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: np.ndarray = state ^ (state >> np.uint64(31))
    return result
