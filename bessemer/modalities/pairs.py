"""Two texts read together: `[CLS] first [SEP] second [SEP]`, the tokens of the second marked by type 1 (Devlin et al. 2019).

Legend: B rows, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bessemer.modalities import tokens

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def collated(stored: Mapping[str, pa.Array], max_length: int, info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return input_ids, attention_mask and token_type_ids of B rows, int64 [B, L] each: of `ids`, and of `second` where it is there."""
    if "second" not in stored:
        return tokens.collate(stored, max_length, info)
    return framed(stored["ids"].to_pylist(), stored["second"].to_pylist(), max_length, info)


def kept(first_B: np.ndarray, second_B: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many tokens of each text stay where both have `room`: the longer is cut first, as `longest_first` of transformers does.

    >>> import numpy as np
    >>> [part.tolist() for part in kept(np.array([2, 9, 9]), np.array([3, 2, 8]), 7)]
    [[2, 5, 4], [3, 2, 3]]
    """
    import numpy as np

    short_B, long_B = np.minimum(first_B, second_B), np.maximum(first_B, second_B)
    cut_B = short_B + long_B > room
    left_B = np.where(short_B > room, short_B, np.maximum(short_B, room - short_B))
    halved_B = short_B + left_B > room
    short_B = np.where(cut_B & halved_B, room // 2, short_B)
    long_B = np.where(cut_B, np.where(halved_B, room - room // 2, left_B), long_B)
    swapped_B = first_B > second_B
    return np.where(swapped_B, long_B, short_B), np.where(swapped_B, short_B, long_B)


def framed(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]], max_length: int, info: Mapping[str, Any]
           ) -> dict[str, np.ndarray]:
    """Return pairs of token ids as a network reads them, cut to `max_length` and padded to the longest: int64 [B, L] each."""
    import numpy as np

    pad, cls, sep = info["pad_token_id"], info["cls_token_id"], info["sep_token_id"]
    first_B, second_B = (np.array([len(row) for row in side], np.int64) for side in (first, second))
    one_B, two_B = kept(first_B, second_B, max_length - 3)
    rows = [[cls, *a[:one], sep, *b[:two], sep] for a, b, one, two in zip(first, second, one_B.tolist(), two_B.tolist(), strict=True)]
    size_B = one_B + two_B + 3
    length = int(size_B.max(initial=0))
    ids_BL = np.array([[*row, *[pad] * (length - len(row))] for row in rows], np.int64).reshape(len(rows), length)
    place_BL = np.arange(length)[None, :]
    inside_BL = place_BL < size_B[:, None]
    return {"input_ids": ids_BL, "attention_mask": inside_BL.astype(np.int64),
            "token_type_ids": (inside_BL & (place_BL >= one_B[:, None] + 2)).astype(np.int64)}
