"""Principal components of vectors, fitted in one pass over rows (Pearson 1901; moments of blocks joined as in Chan et al. 1983).

Legend: N rows, B rows at once, W numbers a row, K components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

WIDEST = 4096
"""The widest rows: the covariance of 4,096 numbers takes 128 MiB."""
HELD = 1 << 21
"""Numbers that are multiplied at once; it bounds memory and changes no result."""


class Moments:
    """Count, mean and sums of products around the mean of rows, exact in float64, taken block by block."""

    def __init__(self, width: int) -> None:
        import numpy as np

        self.count, self.mean_W, self.products_WW = 0, np.zeros(width), np.zeros((width, width))

    def add(self, rows_NW: np.ndarray) -> None:
        """Take rows, float64 [N, W]."""
        import numpy as np

        if not len(rows_NW):
            return
        here_W = rows_NW.mean(axis=0)
        apart_NW, between_W = rows_NW - here_W, here_W - self.mean_W
        total = self.count + len(rows_NW)
        self.products_WW += apart_NW.T @ apart_NW + np.outer(between_W, between_W) * (self.count * len(rows_NW) / total)
        self.mean_W = self.mean_W + between_W * (len(rows_NW) / total)
        self.count = total

    def components(self, count: int, factor_W: np.ndarray) -> tuple[np.ndarray, list[float]]:
        """Return the directions of most variance of (rows - mean) x factor, float64 [K, W], and the share of variance of each.

        Each direction has length 1, and its largest number is above 0: a direction and its opposite say the same.
        """
        import numpy as np

        covariance_WW = self.products_WW * np.outer(factor_W, factor_W) / max(1, self.count - 1)
        values, vectors = np.linalg.eigh((covariance_WW + covariance_WW.T) / 2)
        best_KW = vectors[:, ::-1][:, :count].T
        signs_K = np.sign(best_KW[np.arange(len(best_KW)), np.abs(best_KW).argmax(axis=1)])
        shares = np.maximum(values[::-1][:count], 0.0) / (max(float(np.trace(covariance_WW)), 0.0) or 1.0)
        return np.ascontiguousarray(best_KW * signs_K[:, None]), [float(share) for share in shares]


def projected(rows_NW: np.ndarray, components_KW: np.ndarray) -> np.ndarray:
    """Return rows (float64, scaled) in the directions, float32 [N, K]; a row alone has the bits that it has among others.

    A product of dense matrices adds in another order for one row than for many; that of a sparse matrix goes row by row.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    width, turned_WK = rows_NW.shape[1], np.ascontiguousarray(components_KW.T)
    found_NK = np.empty((len(rows_NW), len(components_KW)), np.float32)
    size = max(1, HELD // width)
    for start in range(0, len(rows_NW), size):
        part_BW = rows_NW[start:start + size]
        places = np.tile(np.arange(width, dtype=np.int32), len(part_BW))
        starts = np.arange(len(part_BW) + 1, dtype=np.int32) * width
        found_NK[start:start + size] = csr_matrix((part_BW.reshape(-1), places, starts), shape=part_BW.shape) @ turned_WK
    return found_NK
