"""Texts as counts of hashed words and runs of characters, all rows at once.

A run's hash is a polynomial of its code points modulo 2^64, finished by SplitMix64 (see `core/keyed.py`). Legend: N texts, T characters
of all texts, D buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bessemer.core.keyed import _mix

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BASE = 0x100000001B3
EDGE = 32
OTHER = r"[^\pL\pN\pM]+"


def counts(texts: pa.Array, settings: tuple[int, int, int, int]) -> Any:
    """Return how often each bucket occurs in each text: sparse rows float64 [N, D], buckets rising.

    Args:
        texts: strings without nulls.
        settings: characters of the shortest and of the longest run, buckets, characters of a text that are read.
    """
    import numpy as np
    import pyarrow.compute as pc
    from scipy.sparse import csr_matrix

    shortest, longest, buckets, most = settings
    # Words stand between single spaces, with one before the first and after the last, so that runs know a word's ends.
    bare = pc.utf8_trim(pc.replace_substring_regex(pc.utf8_lower(pc.utf8_slice_codeunits(texts, 0, most)), OTHER, " "), " ")
    framed = pc.if_else(pc.equal(bare, ""), "", pc.binary_join_element_wise("", bare, "", " "))
    point_T, row_T = _points(framed)
    rows, hashes = _runs(point_T, row_T, shortest, longest)
    word_rows, word_hashes = _words(point_T, row_T)
    rows, hashes = np.concatenate([rows, word_rows]), np.concatenate([hashes, word_hashes])
    key, count = np.unique(rows.astype(np.int64) * buckets + (_mix(hashes) % np.uint64(buckets)).astype(np.int64), return_counts=True)
    starts = np.searchsorted(key // buckets, np.arange(len(texts) + 1))
    found = csr_matrix((count.astype(np.float64), (key % buckets).astype(np.int32), starts.astype(np.int32)), shape=(len(texts), buckets))
    found.has_sorted_indices = True
    return found


def _points(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the code points of all texts, uint64 [T], and the text that each is of, int64 [T]."""
    import numpy as np
    import pyarrow.compute as pc

    size_N = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    whole = "".join(texts.to_pylist())
    point_T = np.frombuffer(whole.encode("utf-32-le"), np.uint32).astype(np.uint64)
    return point_T, np.repeat(np.arange(len(size_N)), size_N)


def _runs(point_T: np.ndarray, row_T: np.ndarray, shortest: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the hash of each run of characters of each length that does not cross from a word into the next."""
    import numpy as np

    rows, hashes = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    space_T = point_T == EDGE
    inner_T = np.concatenate([[0], np.cumsum(space_T)])
    hash_T = np.zeros(len(point_T), np.uint64)
    for length in range(1, longest + 1):
        if length > len(point_T):
            break
        hash_T = hash_T[:len(point_T) - length + 1] * np.uint64(BASE) + point_T[length - 1:]
        if length < shortest:
            continue
        last = len(point_T) - length
        # No space inside: one may stand at either end of the run.
        whole = row_T[:last + 1] == row_T[length - 1:]
        if length > 2:
            whole &= inner_T[length - 1:length + last] == inner_T[1:last + 2]
        rows.append(row_T[:last + 1][whole])
        hashes.append(hash_T[whole] + np.uint64(length))
    return np.concatenate(rows), np.concatenate(hashes)


def _words(point_T: np.ndarray, row_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the hash of each word."""
    import numpy as np

    letter_T = point_T != EDGE
    start = np.flatnonzero(letter_T & ~np.concatenate([[False], letter_T[:-1]]))
    end = np.flatnonzero(letter_T & ~np.concatenate([letter_T[1:], [False]])) + 1
    if not len(start):
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    size = end - start
    power = np.cumprod(np.concatenate([[np.uint64(1)], np.full(int(size.max()) - 1, BASE, np.uint64)]), dtype=np.uint64)
    place = np.repeat(np.cumsum(size) - size, size)
    within = np.arange(int(size.sum())) - place
    term = point_T[np.repeat(start, size) + within] * power[within]
    total = np.add.reduceat(term, np.cumsum(size) - size)
    return row_T[start], ~total


def length_of(texts: pa.Array) -> np.ndarray:
    """Return log(1 + characters), float64 [N], by a table of the machine's own logarithm (the same alone and in a block)."""
    import math

    import numpy as np
    import pyarrow.compute as pc

    size_N, place_N = np.unique(pc.utf8_length(texts).to_numpy(zero_copy_only=False), return_inverse=True)
    found: np.ndarray = np.array([math.log1p(size) for size in size_N.tolist()], np.float64)[place_N]
    return found
