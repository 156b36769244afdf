"""What one pass over a column of numbers finds, in bounded memory: moments, extremes, and a sample for quantiles.

Legend: S sampled values, Q levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bessemer.core.keyed import uniform

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LIMIT = 200_000
WHOLE = 2.0**53
STREAM = 41


class Summary:
    """Count, mean and sum of squares by the merging formula of Chan, Golub and LeVeque (1979), extremes, and a sample.

    The sample is every value where there are at most LIMIT, else the LIMIT whose positions have the lowest keys: it depends on the
    values' order alone, never on how they are divided into arrays.
    """

    def __init__(self, seed: int, limit: int = LIMIT) -> None:
        self.seed, self.limit = seed, limit
        self.count = self.missing = self.beyond = 0
        self.mean = self.m2 = 0.0
        self.low, self.high = float("inf"), float("-inf")
        self._parts: list[np.ndarray] = []
        self._keys: list[np.ndarray] = []
        self._held = 0

    def add(self, array: pa.Array) -> None:
        """Take a float64 array; null is missing."""
        import numpy as np

        values = array.drop_null().to_numpy(zero_copy_only=False)
        self.missing += len(array) - len(values)
        if not len(values):
            return
        count, mean = len(values), float(values.mean())
        total = self.count + count
        self.m2 += float(np.square(values - mean).sum()) + (mean - self.mean) ** 2 * self.count * count / total
        self.mean += (mean - self.mean) * count / total
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.beyond += int((np.abs(values) > WHOLE).sum())
        self._parts.append(values)
        self._keys.append(uniform(self.seed, 0, np.arange(self.count, total), 1, STREAM)[:, 0])
        self.count, self._held = total, self._held + count
        if self._held > 2 * self.limit:
            self._prune()

    def _prune(self) -> None:
        import numpy as np

        values, keys = np.concatenate(self._parts), np.concatenate(self._keys)
        if len(values) > self.limit:
            kept = np.sort(np.argpartition(keys, self.limit - 1)[:self.limit])
            values, keys = values[kept], keys[kept]
        self._parts, self._keys, self._held = [values], [keys], len(values)

    def sample(self) -> np.ndarray:
        """Return the sampled values, rising, float64 [S], with both extremes."""
        import numpy as np

        if not self._parts:
            return np.zeros(0)
        self._prune()
        found: np.ndarray = np.sort(self._parts[0])
        found[0], found[-1] = self.low, self.high
        return found

    @property
    def std(self) -> float:
        """Return the standard deviation of the population."""
        return float((self.m2 / self.count) ** 0.5) if self.count else 0.0

    @property
    def constant(self) -> bool:
        """Tell whether no two values differ."""
        return self.low >= self.high


def summary_of(arrays: Iterator[pa.Array], seed: int) -> Summary:
    """Return what one pass over the arrays finds."""
    found = Summary(seed)
    for array in arrays:
        found.add(array)
    return found


EDGES = 128
"""Bin edges of a number at most."""


def rising(values: np.ndarray) -> list[float]:
    """Return the distinct float32 values, rising, two at least, as floats."""
    import numpy as np

    found = np.unique(values.astype(np.float32)).tolist()
    if not found:
        return [0.0, 1.0]
    return found if len(found) > 1 else [found[0], found[0] + max(1.0, abs(found[0]))]


def edges_of(scaled: np.ndarray, most: int = EDGES) -> list[float]:
    """Return at most `most` rising edges of stored numbers, for a piecewise-linear encoding (Gorishniy et al. 2022).

    They are quantiles of all values and, where single values hold many rows (zeros, say) and so many quantiles, as many quantiles of the
    other values as are left: what is rare there would else share one bin.
    """
    import numpy as np

    if not len(scaled):
        return [0.0, 1.0]
    edges = rising(np.quantile(scaled, np.linspace(0, 1, most), method="linear"))
    values, counts = np.unique(scaled, return_counts=True)
    rest = scaled[~np.isin(scaled, values[counts > len(scaled) / most])]
    left = most - len(edges)
    if left < 4 or len(rest) < 4 or len(rest) == len(scaled):
        return edges
    return rising(np.unique([*edges, *np.quantile(rest, np.linspace(0, 1, left), method="nearest")]))
