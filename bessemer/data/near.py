"""Texts that nearly repeat one another: MinHash signatures, bands of them as buckets, then the similarity itself of each pair found.

Everything is arithmetic over whole blocks of texts; memory holds the signatures (256 bytes a text) and the shingles of texts that share a
bucket with another. The result depends on the texts and their order alone.
Source: Broder, On the resemblance and containment of documents, 1997; Leskovec et al., Mining of Massive Datasets, chapter 3.

Legend: N texts, K signs or words, S shingles, H hash functions, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bessemer.core.config import Config

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

HASHES = 64
BLOCK = 1 << 16
WINDOW = 16
"""Of the texts in one bucket, each is held against so many before it, and against the first."""
LEAST_CHARS = 20
_PRIME = 0x100000001B3


class NearDuplicates(Config):
    """Which texts nearly repeat an earlier one: those whose shingles are shared to a part (Jaccard similarity)."""

    threshold: Annotated[float, Field(ge=0.3, le=1.0)] = 0.85
    """Part of the shingles of two texts together that both have, from which they are near."""
    unit: Literal["characters", "words"] = "characters"
    """What a shingle is made of; capitals and spaces play no part. Texts under 20 characters are near to none."""
    size: Annotated[int, Field(ge=1, le=20)] = 5
    """Characters or words of a shingle."""
    across: Literal["report", "remove"] = "report"
    """With given splits: near rows of validation and test are reported and scored apart, or their twins leave training."""


Blocks = Callable[[], Iterator["pa.Array"]]


def near_pairs(blocks: Blocks, near: NearDuplicates) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of texts that are near: positions int64 [P, 2], the earlier first, in rising order; similarities float64 [P].

    Args:
        blocks: gives the texts, block by block, each time in one order; null and short texts are near to none.
        near: what near is.
    """
    import numpy as np

    parts, places, first = [], [], 0
    for texts in blocks():
        hashes, counts, rows = _shingles(texts, near)
        parts.append(_signatures(hashes, counts))
        places.append(rows + first)
        first += len(texts)
    if not parts:
        return np.zeros((0, 2), np.int64), np.zeros(0)
    signature_NH, place_N = np.concatenate(parts), np.concatenate(places)
    pairs_P2 = _candidates(signature_NH, _rows_a_band(near.threshold))
    if not len(pairs_P2):
        return pairs_P2, np.zeros(0)
    pairs_P2 = place_N[pairs_P2]
    similar_P = _similarities(blocks, near, pairs_P2)
    kept = similar_P >= near.threshold - 1e-12
    return pairs_P2[kept], similar_P[kept]


def _rows_a_band(threshold: float) -> int:
    """Return the most hash functions a band with which a pair at the threshold is found with a probability of .999."""
    return max(size for size in range(1, 17) if size == 1 or 1 - (1 - threshold**size) ** (HASHES // size) >= 0.999)


def plain(texts: pa.Array) -> pa.Array:
    """Return texts as they are compared: in small letters, runs of spaces as one."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(pc.fill_null(texts, "")), r"[\s\pZ]+", " "))


def _shingles(texts: pa.Array, near: NearDuplicates) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the hashes of all shingles, uint64 [S], text after text; how many each text has; and which texts these are."""
    import numpy as np
    import pyarrow.compute as pc

    ready = plain(texts)
    long_enough = pc.greater_equal(pc.utf8_length(ready), LEAST_CHARS)
    rows = np.flatnonzero(long_enough.to_numpy(zero_copy_only=False))
    ready = ready.filter(long_enough)
    signs_K, sizes_N = _signs(ready) if near.unit == "characters" else _words(ready)
    count_N = np.maximum(0, sizes_N - near.size + 1)
    hash_K = signs_K.copy()
    for offset in range(1, near.size):
        hash_K[:-offset or None] = hash_K[:-offset or None] * np.uint64(_PRIME) + signs_K[offset:]
    ends_N = np.cumsum(sizes_N)
    inside_K = np.arange(len(signs_K)) < np.repeat(ends_N - near.size + 1, sizes_N)
    return _mixed(hash_K[inside_K]), count_N[count_N > 0], rows[count_N > 0]


def _signs(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the code points of all texts, uint64 [K], and how many each has, int64 [N]."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    sizes_N = pc.utf8_length(texts).to_numpy().astype(np.int64)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts), "")[0].as_py() if len(texts) else ""
    return np.frombuffer(joined.encode("utf-32-le"), np.uint32).astype(np.uint64), sizes_N


def _words(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return a hash of each word of all texts, uint64 [K], and how many each text has, int64 [N]."""
    import numpy as np
    import pyarrow.compute as pc

    split = pc.split_pattern(texts, " ")
    sizes_N = pc.list_value_length(split).to_numpy().astype(np.int64)
    code_C, length_K = _signs(pc.list_flatten(split))
    start_K = np.cumsum(length_K) - length_K
    place_C = np.arange(len(code_C)) - np.repeat(start_K, length_K)
    power_C = np.cumprod(np.full(4096, _PRIME, np.uint64))[place_C % 4096]
    return (np.add.reduceat(code_C * power_C, start_K) if len(code_C) else code_C), sizes_N


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return numbers scattered over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signatures(hash_S: np.ndarray, count_N: np.ndarray) -> np.ndarray:
    """Return the smallest value of each hash function over each text's shingles: uint32 [N, H]."""
    import numpy as np

    factors_H2 = _mixed(np.arange(1, 2 * HASHES + 1, dtype=np.uint64)).reshape(HASHES, 2) | np.uint64(1)
    signature_NH = np.zeros((len(count_N), HASHES), np.uint32)
    end_N = np.cumsum(count_N)
    first = 0
    while first < len(count_N):
        start = int(end_N[first] - count_N[first])
        last = max(first + 1, int(np.searchsorted(end_N, start + BLOCK, side="right")))
        piece = hash_S[start:int(end_N[last - 1])]
        begins = (end_N[first:last] - count_N[first:last] - start).astype(np.intp)
        for number, (factor, shift) in enumerate(factors_H2):
            value = ((piece * factor + shift) >> np.uint64(32)).astype(np.uint32)
            signature_NH[first:last, number] = np.minimum.reduceat(value, begins)
        first = last
    return signature_NH


def _candidates(signature_NH: np.ndarray, size: int) -> np.ndarray:
    """Return pairs of texts that share a bucket: positions int64 [P, 2], the smaller first, in rising order, each once."""
    import numpy as np

    count, found = len(signature_NH), [np.zeros(0, np.int64)]
    for start in range(0, HASHES - size + 1, size):
        bucket_N = np.zeros(count, np.uint64)
        for column in range(start, start + size):
            bucket_N = _mixed(bucket_N * np.uint64(_PRIME) + signature_NH[:, column].astype(np.uint64))
        order_N = np.argsort(bucket_N, kind="stable")
        sorted_N = bucket_N[order_N]
        opens_N = np.r_[True, sorted_N[1:] != sorted_N[:-1]] if count else np.zeros(0, bool)
        head_N = np.maximum.accumulate(np.where(opens_N, np.arange(count), 0))
        follows = np.flatnonzero(~opens_N)
        found.append(order_N[head_N[follows]] * count + order_N[follows])
        for offset in range(1, WINDOW + 1):
            same = np.flatnonzero(sorted_N[offset:] == sorted_N[:-offset])
            if not len(same):
                break
            found.append(order_N[same] * count + order_N[same + offset])
        found = [np.unique(np.concatenate(found))]
    codes_P = found[0]
    return np.stack([codes_P // max(count, 1), codes_P % max(count, 1)], axis=1)


def _similarities(blocks: Blocks, near: NearDuplicates, pairs_P2: np.ndarray) -> np.ndarray:
    """Return the Jaccard similarity of each pair's shingles: float64 [P]."""
    import numpy as np
    import pyarrow as pa

    wanted = np.unique(pairs_P2)
    parts, sizes, first = [], [], 0
    for texts in blocks():
        here = wanted[np.searchsorted(wanted, first):np.searchsorted(wanted, first + len(texts))] - first
        if len(here):
            hashes, counts, _ = _shingles(texts.take(pa.array(here)), near)
            owner = np.repeat(np.arange(len(counts)), counts)
            order = np.lexsort((hashes, owner))
            hashes, owner = hashes[order], owner[order]
            new = np.r_[True, (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])]
            parts.append(hashes[new])
            sizes.append(np.bincount(owner[new], minlength=len(counts)))
        first += len(texts)
    hash_S, size_N = np.concatenate(parts), np.concatenate(sizes)
    start_N = np.cumsum(size_N) - size_N
    index_P2 = np.searchsorted(wanted, pairs_P2)
    work_P = np.cumsum(size_N[index_P2].sum(axis=1))
    found = np.zeros(len(pairs_P2))
    begin = 0
    while begin < len(pairs_P2):
        done = work_P[begin - 1] if begin else 0
        end = min(max(begin + 1, int(np.searchsorted(work_P, done + 32 * BLOCK, side="right"))), begin + BLOCK)
        found[begin:end] = _jaccard(hash_S, start_N, size_N, index_P2[begin:end])
        begin = end
    return found


def _jaccard(hash_S: np.ndarray, start_N: np.ndarray, size_N: np.ndarray, pairs_P2: np.ndarray) -> np.ndarray:
    """Return the similarity of pairs of sets, each the distinct hashes from start_N on, size_N many: float64 [P]."""
    import numpy as np

    flat = pairs_P2.ravel()
    length = size_N[flat]
    place = np.repeat(start_N[flat] - (np.cumsum(length) - length), length) + np.arange(int(length.sum()))
    pair = np.repeat(np.arange(len(pairs_P2), dtype=np.uint64).repeat(2), length)
    key = np.sort((pair << np.uint64(47)) | (hash_S[place] >> np.uint64(17)))
    both = np.bincount((key[1:][key[1:] == key[:-1]] >> np.uint64(47)).astype(np.int64), minlength=len(pairs_P2))
    total: np.ndarray = both / (length.reshape(-1, 2).sum(axis=1) - both)
    return total
