"""Sentence pairs for next-sentence prediction, assembled over flattened Arrow lists: no loop over rows.

Legend: B rows, L tokens, M rows with two sentences or more, T tokens of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.core.keyed import uniform

_STREAM_CUT, _STREAM_SWAP, _STREAM_OTHER, _STREAM_OTHER_CUT = 201, 202, 203, 204


@dataclass(frozen=True)
class Lists:
    """A list<int32> column as numpy.

    Attributes:
        values: int64 [T].
        begin: int64 [B], where each row begins in values.
        length: int64 [B].
    """

    values: np.ndarray
    begin: np.ndarray
    length: np.ndarray

    @staticmethod
    def of(column: pa.ChunkedArray) -> Lists:
        """Read a column; a null list has length 0."""
        array = column.combine_chunks()
        offsets = array.offsets.to_numpy().astype(np.int64)
        first = int(offsets[0])
        values = array.values.slice(first, int(offsets[-1]) - first).to_numpy(zero_copy_only=False).astype(np.int64)
        return Lists(values, offsets[:-1] - first, np.diff(offsets))


def within(length_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for segments of given lengths laid end to end, each element's segment and its index inside it.

    >>> within(np.array([2, 0, 1]))
    (array([0, 0, 2]), array([0, 1, 0]))
    """
    segment_T = np.repeat(np.arange(len(length_B)), length_B)
    return segment_T, np.arange(len(segment_T)) - np.repeat(np.cumsum(length_B) - length_B, length_B)


def truncated(first_B: np.ndarray, second_B: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of pairs cut to `room` tokens, the longer part first (Hugging Face's `longest_first`).

    >>> truncated(np.array([10, 100, 3]), np.array([100, 100, 4]), 50)
    (array([10, 25,  3]), array([40, 25,  4]))
    """
    kept_B = np.minimum(first_B, np.maximum(room - second_B, (room + 1) // 2))
    return kept_B, np.minimum(second_B, room - kept_B)


def cuts(starts: Lists, row_ids_B: np.ndarray, seed: int, epoch: int, stream: int) -> np.ndarray:
    """Return the token index of a keyed random boundary of each row, int64 [B]; 0 for rows of one sentence."""
    draw_B = uniform(seed, epoch, row_ids_B, 1, stream)[:, 0]
    multi_B = starts.length >= 2
    chosen_B = np.where(multi_B, 1 + (draw_B * (starts.length - 1)).astype(np.int64), 0)
    return np.where(multi_B, starts.values[np.minimum(starts.begin + chosen_B, max(len(starts.values) - 1, 0))], 0)


def swaps(row_ids_B: np.ndarray, multi_B: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return bool [B]: rows whose second part comes from another row, half of those with two sentences."""
    result: np.ndarray = (uniform(seed, epoch, row_ids_B, 1, _STREAM_SWAP)[:, 0] < 0.5) & multi_B
    return result


def others(positions_B: np.ndarray, row_ids_B: np.ndarray, multi_M: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return for each row a keyed position of another one, uniform over `multi_M` (ascending) without itself."""
    draw_B = uniform(seed, epoch, row_ids_B, 1, _STREAM_OTHER)[:, 0]
    index_B = (draw_B * (len(multi_M) - 1)).astype(np.int64)
    rank_B = np.searchsorted(multi_M, positions_B)
    result: np.ndarray = multi_M[index_B + (index_B >= rank_B)]
    return result


@dataclass(frozen=True)
class Parts:
    """Two token segments a row, as slices of one array.

    Attributes:
        values: int64 [T].
        begin: int64 [B, 2], where each segment begins in values.
        length: int64 [B, 2]; a second length of 0 is a row without a pair.
    """

    values: np.ndarray
    begin: np.ndarray
    length: np.ndarray


def choose(ids: Lists, cut_B: np.ndarray, tail: tuple[Lists, np.ndarray, np.ndarray], room: int) -> Parts:
    """Return the parts of each row, cut to the room.

    The first part keeps its end, which is what the second one follows; the second keeps its beginning. A row of one
    sentence (cut 0) keeps its beginning and has no second part.

    Args:
        ids: the rows' own tokens.
        cut_B: their boundaries.
        tail: the other rows' tokens and boundaries, [S], and the index in B of the row that each replaces, [S].
        room: tokens for both parts.
    """
    other, other_cut_S, replaced_S = tail
    paired_B = cut_B > 0
    first_B = np.where(paired_B, cut_B, ids.length)
    second_begin_B = ids.begin + cut_B
    second_B = np.where(paired_B, ids.length - cut_B, 0)
    second_begin_B[replaced_S] = len(ids.values) + other.begin + other_cut_S
    second_B[replaced_S] = other.length - other_cut_S
    kept_B, second_kept_B = truncated(first_B, second_B, room)
    # One sentence alone has one separator, not two: a token more.
    kept_B = np.where(paired_B, kept_B, np.minimum(first_B, room + 1))
    second_kept_B = np.where(paired_B, second_kept_B, 0)
    first_begin_B = ids.begin + np.where(paired_B, first_B - kept_B, 0)
    return Parts(np.concatenate([ids.values, other.values]), np.stack([first_begin_B, second_begin_B], 1),
                 np.stack([kept_B, second_kept_B], 1))


def assemble(parts: Parts, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return input_ids, attention_mask and token_type_ids, int64 [B, L], of `[CLS] first [SEP] second [SEP]`."""
    first_B, second_B = parts.length[:, 0], parts.length[:, 1]
    num_rows = len(first_B)
    total_B = first_B + 2 + np.where(second_B > 0, second_B + 1, 0)
    length = int(total_B.max(initial=2))
    ids_BL = np.full((num_rows, length), info["pad_token_id"], np.int64)
    rows_B = np.arange(num_rows)
    ids_BL[:, 0] = info["cls_token_id"]
    ids_BL[rows_B, first_B + 1] = info["sep_token_id"]
    ids_BL[rows_B, total_B - 1] = info["sep_token_id"]
    for part, place_B in ((0, np.ones(num_rows, np.int64)), (1, first_B + 2)):
        row_T, index_T = within(parts.length[:, part])
        ids_BL[row_T, place_B[row_T] + index_T] = parts.values[parts.begin[row_T, part] + index_T]
    column_L = np.arange(length)[None, :]
    mask_BL = column_L < total_B[:, None]
    return {"input_ids": ids_BL, "attention_mask": mask_BL.astype(np.int64),
            "token_type_ids": (mask_BL & (column_L >= first_B[:, None] + 2)).astype(np.int64)}


def split_and_pair(ids: Lists, starts: Lists, row_ids_B: np.ndarray, seed: int, epoch: int,
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's boundary, int64 [B] (0: one sentence), and whether its second part is replaced, bool [B]."""
    cut_B = cuts(starts, row_ids_B, seed, epoch, _STREAM_CUT)
    return cut_B, swaps(row_ids_B, cut_B > 0, seed, epoch)


def tail_cuts(starts: Lists, row_ids_S: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the boundaries after which other rows' tails are taken, keyed by the rows they go to, int64 [S]."""
    return cuts(starts, row_ids_S, seed, epoch, _STREAM_OTHER_CUT)
