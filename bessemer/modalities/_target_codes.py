"""Categories as numbers that say how the target is where they occur: target codes (Micci-Barreca 2001).

The mean of a category is drawn towards that of all rows by empirical Bayes, as scikit-learn's `TargetEncoder` does: the fewer its rows
and the more they differ, the further. A code counts in standard deviations of the target from its mean, so 0 says that nothing is known.

Legend: N rows, K folds, G groups (0 for unknown values, then the column's), W numbers that the targets are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bessemer.core.errors import UserError
from bessemer.core.keyed import uniform

if TYPE_CHECKING:
    import numpy as np

FILE = "target_codes.arrow"
STREAM = 1_009
MOST_CELLS = 2**24
Smoothing = float | Literal["auto"]


class Sums:
    """What is known of the target in each fold and group: rows, sums and sums of squares, float64 [K, G, W]."""

    def __init__(self, folds: int, groups: int, width: int) -> None:
        import numpy as np

        if folds * groups * width > MOST_CELLS:
            raise UserError(f"'encoding: target' would keep {width:,} numbers of {groups:,} values in {folds} folds, more than "
                            f"{MOST_CELLS:,} in all; lower 'max_categories' or 'folds', or use 'encoding: hash'")
        self.count_KGW, self.sum_KGW, self.square_KGW = (np.zeros((folds, groups, width)) for _ in range(3))

    def add(self, fold_N: np.ndarray, group_N: np.ndarray, target_NW: np.ndarray) -> None:
        """Take rows; a target that is nan is unknown there."""
        import numpy as np

        folds, groups, width = self.count_KGW.shape
        cell_N = fold_N.astype(np.int64) * groups + group_N
        known_NW = np.isfinite(target_NW)
        value_NW = np.where(known_NW, target_NW, 0.0)
        for sums, values in ((self.count_KGW, known_NW), (self.sum_KGW, value_NW), (self.square_KGW, value_NW**2)):
            for place in range(width):
                sums[:, :, place] += np.bincount(cell_N, values[:, place], folds * groups).reshape(folds, groups)

    def means(self, smoothing: Smoothing, without: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the smoothed means of the groups float64 [G, W], and the mean and variance of all rows [W].

        Args:
            smoothing: rows that the mean of all rows counts for in each group; auto: what empirical Bayes finds.
            without: a fold whose rows are left out.
        """
        import numpy as np

        chosen = [fold for fold in range(len(self.count_KGW)) if fold != without]
        count_GW, sum_GW, square_GW = (item[chosen].sum(0) for item in (self.count_KGW, self.sum_KGW, self.square_KGW))
        rows_W = np.maximum(count_GW.sum(0), 1.0)
        mean_W = sum_GW.sum(0) / rows_W
        variance_W = np.maximum(square_GW.sum(0) / rows_W - mean_W**2, 0.0)
        seen_GW = np.maximum(count_GW, 1.0)
        own_GW = sum_GW / seen_GW
        if smoothing == "auto":
            within_GW = np.maximum(square_GW / seen_GW - own_GW**2, 0.0)
            whole_GW = variance_W * count_GW + within_GW
            trust_GW = np.divide(variance_W * count_GW, whole_GW, out=np.zeros_like(whole_GW), where=whole_GW > 0)
        else:
            whole_GW = count_GW + smoothing
            trust_GW = np.divide(count_GW, whole_GW, out=np.zeros_like(whole_GW), where=whole_GW > 0)
        found_GW = trust_GW * own_GW + (1.0 - trust_GW) * mean_W
        found_GW[0] = mean_W
        return np.where(count_GW > 0, found_GW, mean_W), mean_W, variance_W


@dataclass(frozen=True)
class TargetCodes:
    """Fitted codes.

    Attributes:
        names: what the W numbers are means of.
        mean_GW: smoothed means of each group over all training rows, float64; group 0 has the mean of all rows.
        spread_W: standard deviations of the target, 1 where it has none.
    """

    names: tuple[str, ...]
    mean_GW: np.ndarray
    spread_W: np.ndarray

    def scaled(self, mean_GW: np.ndarray) -> np.ndarray:
        """Return means as codes, float32 [G, W]."""
        import numpy as np

        found: np.ndarray = ((mean_GW - self.mean_GW[0]) / self.spread_W).astype(np.float32)
        return found

    def save(self, folder: Path) -> None:
        """Write the codes as an Arrow file: a row a group, and a last one of the deviations."""
        import numpy as np
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=True)
        whole = np.concatenate([self.mean_GW, self.spread_W[None]])
        table = pa.table([pa.array(whole[:, place]) for place in range(len(self.names))], schema=pa.schema(
            [(name, pa.float64()) for name in self.names]))
        with pa.ipc.new_file(str(folder / FILE), table.schema) as writer:
            writer.write_table(table)

    @staticmethod
    def load(folder: Path, column: str) -> TargetCodes:
        """Read the codes of a column."""
        import numpy as np
        import pyarrow as pa

        if not (folder / FILE).is_file():
            raise UserError(f"'{folder}' has no {FILE} for the column '{column}'; run the recipe again to make it")
        with pa.ipc.open_file(str(folder / FILE)) as reader:
            table = reader.read_all()
        whole = np.stack([item.to_numpy() for item in table.columns], 1)
        return TargetCodes(tuple(table.column_names), np.ascontiguousarray(whole[:-1]), whole[-1])


def fold_of(row_ids: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each training row, int64 [N]: a function of its id and the seed."""
    import numpy as np

    found: np.ndarray = (uniform(seed, 0, row_ids, 1, STREAM)[:, 0] * folds).astype(np.int64)
    return found


def fitted(sums: Sums, smoothing: Smoothing, names: tuple[str, ...]) -> tuple[TargetCodes, np.ndarray]:
    """Return the codes of all training rows, and those of each fold's rows, float32 [K, G, W], of which no row of the fold is part."""
    import numpy as np

    mean_GW, _, variance_W = sums.means(smoothing)
    codes = TargetCodes(names, mean_GW, np.where(variance_W > 0, np.sqrt(variance_W), 1.0))
    return codes, np.stack([codes.scaled(sums.means(smoothing, fold)[0]) for fold in range(len(sums.count_KGW))])


def spread_out(codes_KGW: np.ndarray, count_KGW: np.ndarray, most: int = 10_000) -> list[np.ndarray]:
    """Return for each of the W numbers codes that occur as training rows have them, some `most` values at most, rising."""
    import numpy as np

    found = []
    for place in range(codes_KGW.shape[2]):
        values, counts = codes_KGW[:, :, place].reshape(-1), count_KGW[:, :, place].reshape(-1)
        order = np.argsort(values, kind="stable")
        ends = np.cumsum(counts[order])
        wanted = np.linspace(0, ends[-1], min(most, max(1, int(ends[-1]))), endpoint=False)
        found.append(values[order][np.searchsorted(ends, wanted, side="right")])
    return found
