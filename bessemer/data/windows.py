"""Texts that a network cannot read at once, as windows that overlap; and where each of their units is read.

Legend: B rows, L tokens, W windows of these rows, U units of these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Windows:
    """Some rows as a network reads them.

    Attributes:
        arrays: input_ids, attention_mask, token_type_ids, int64 [W, L] each: `[CLS] tokens [SEP]`.
        window: int64 [U], the window in which each unit is read.
        place: int64 [U], the position of its first token there.
        offsets: int64 [B + 1]: row i has the units offsets[i] to offsets[i + 1].
    """

    arrays: dict[str, np.ndarray]
    window: np.ndarray
    place: np.ndarray
    offsets: np.ndarray


def windows(ids: Sequence[Sequence[int]], first: Sequence[Sequence[int]], max_length: int, info: Mapping[str, Any]) -> Windows:
    """Return rows as windows of at most `max_length` tokens, which overlap by a quarter in a row that is longer.

    Args:
        ids: each row's tokens, without special ones.
        first: for each row the place of each unit's first token.
        max_length: longest window, special tokens included.
        info: of the text's codec: ids of special tokens.

    Returns:
        The windows; each unit is read in that window in whose middle it is nearest.
    """
    import numpy as np

    room = max_length - 2
    stride = max(1, room - room // 4)
    size_B = np.array([len(row) for row in ids], np.int64)
    count_B = np.where(size_B > room, 1 + -(-(size_B - room) // stride), 1)
    first_B = np.cumsum(count_B) - count_B
    row_W = np.repeat(np.arange(len(size_B)), count_B)
    order_W = np.arange(len(row_W)) - first_B[row_W]
    start_W = np.minimum(order_W * stride, np.maximum(size_B[row_W] - room, 0))
    held_W = np.minimum(size_B[row_W], room)
    arrays = _framed(ids, (row_W, start_W, held_W), size_B, info)
    units_B = np.array([len(row) for row in first], np.int64)
    row_U = np.repeat(np.arange(len(units_B)), units_B)
    token_U = np.fromiter((place for row in first for place in row), np.int64, int(units_B.sum()))
    middle = (room - 1) / 2
    near_U = np.clip(np.rint((token_U - middle) / stride).astype(np.int64), 0, count_B[row_U] - 1)
    window_U, last_U = first_B[row_U] + near_U, (first_B + count_B - 1)[row_U]  # the last one ends with the row and so begins earlier
    away_U, away_last_U = (np.abs(token_U - start_W[found] - middle) for found in (window_U, last_U))
    window_U = np.where(away_last_U < away_U, last_U, window_U)
    return Windows(arrays, window_U, token_U - start_W[window_U] + 1, np.concatenate([[0], np.cumsum(units_B)]).astype(np.int64))


def _framed(ids: Sequence[Sequence[int]], cut: tuple[np.ndarray, np.ndarray, np.ndarray], size_B: np.ndarray,
            info: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return `[CLS] tokens [SEP]` of parts of rows: each part's row, where it begins, and how many tokens it has."""
    import numpy as np

    row_W, start_W, held_W = cut
    flat = np.fromiter((token for row in ids for token in row), np.int64, int(size_B.sum()))
    begin_W = (np.cumsum(size_B) - size_B)[row_W] + start_W
    length = int(held_W.max(initial=0)) + 2
    place_WL = np.arange(length)[None, :]
    inside_WL = (place_WL >= 1) & (place_WL <= held_W[:, None])
    ids_WL = np.full((len(row_W), length), info["pad_token_id"], np.int64)
    ids_WL[:, :1] = info["cls_token_id"]
    ids_WL[np.arange(len(row_W)), held_W + 1] = info["sep_token_id"]
    ids_WL[inside_WL] = flat[(begin_W[:, None] + place_WL - 1)[inside_WL]]
    return {"input_ids": ids_WL, "attention_mask": (place_WL < held_W[:, None] + 2).astype(np.int64),
            "token_type_ids": np.zeros_like(ids_WL)}
