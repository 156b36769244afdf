"""Rows of numbers and codes as Arrow's fixed-size lists, and back. Legend: N rows, W features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def fixed(rows_NW: np.ndarray) -> pa.Array:
    """Return a C-contiguous matrix as a fixed-size list [W] of its own type, without a copy."""
    import pyarrow as pa

    if rows_NW.shape[1] == 0:
        return pa.FixedSizeListArray.from_buffers(pa.list_(pa.from_numpy_dtype(rows_NW.dtype), 0), len(rows_NW), [None], children=[
            pa.array([], pa.from_numpy_dtype(rows_NW.dtype))])
    return pa.FixedSizeListArray.from_arrays(pa.array(rows_NW.reshape(-1)), rows_NW.shape[1])


def matrix(lists: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return a fixed-size list without nulls as [N, W], without a copy where it is one chunk."""
    import pyarrow as pa

    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    found: np.ndarray = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)
    return found


def matrices(stored: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Collate `numbers` and `codes`: a matrix each."""
    return {name: matrix(stored[name]) for name in ("numbers", "codes") if name in stored}
