"""How number columns become features: one arithmetic for a value, a row and a block of many columns, so that all are bit-equal.

Everything is elementwise float64, rounded to float32 once at the end. Legend: N rows, C columns, W features, K knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CELLS = 4096
ROWS = 8192
SEARCHED = 256
STEPS = 1
VALUES = 2**16
FEW_ROWS, MANY_COLUMNS = 8, 32


@dataclass(frozen=True, eq=False)
class Knots:
    """A rising piecewise-linear function; beyond its ends it goes on with the slope of its middle.

    scikit-learn's QuantileTransformer is constant there, which would hide from a network that a column has moved on since training.

    Attributes:
        x: float64 [K], strictly rising.
        y: float64 [K].
        centre, width: of the squashed axis, see `_cells`.
        table: for a cell of the squashed axis, the segment from which to search forward, int64 [CELLS + 2].
        ends: where each segment ends, infinite for the last, float64 [K - 1].
        slope: of each segment, float64 [K - 1].
        tail: the slope beyond the ends.
    """

    x: np.ndarray
    y: np.ndarray
    centre: float
    width: float
    table: np.ndarray
    ends: np.ndarray
    slope: np.ndarray
    tail: float

    def place(self, x_N: np.ndarray) -> np.ndarray:
        """Return, for values within the ends, the segment that each lies in: int [N]; the same by either way."""
        import numpy as np

        if len(x_N) < SEARCHED:
            return np.searchsorted(self.ends, x_N, side="right")
        found: np.ndarray = self.table.take(_cells(x_N, self.centre, self.width), mode="clip")
        # Most values are there after one step; what is further on a crowded cell is looked for by halving.
        for _ in range(STEPS):
            found += x_N >= self.ends.take(found, mode="clip")
        far = np.flatnonzero(x_N >= self.ends.take(found, mode="clip"))
        if len(far):
            found[far] = np.searchsorted(self.ends, x_N[far], side="right")
        return found

    def apply(self, x_N: np.ndarray) -> np.ndarray:
        """Return the function's values, float64 [N]."""
        import numpy as np

        given_N = x_N
        x_N = np.minimum(np.maximum(x_N, self.x[0]), self.x[-1])
        beyond_N = np.flatnonzero(given_N != x_N)
        far_N = (given_N[beyond_N] - x_N[beyond_N]) * self.tail
        at_N = self.place(x_N)
        x_N -= self.x.take(at_N, mode="clip")
        x_N *= self.slope.take(at_N, mode="clip")
        x_N += self.y.take(at_N, mode="clip")
        x_N[beyond_N] += far_N
        return x_N


class Beside:
    """The knots of many columns, so that one value of each is scaled by a dozen calls in all; the bits are those of `Knots.apply`."""

    def __init__(self, knots: Sequence[Knots]) -> None:
        import numpy as np

        sizes = np.array([len(item.x) for item in knots])
        self.start_C = np.cumsum(sizes) - sizes
        self.sizes_C = sizes
        self.x, self.y = (np.concatenate([getattr(item, name) for item in knots]) for name in ("x", "y"))
        # K - 1 segments beside K points: one place of each column is never used
        self.ends, self.slope = (np.concatenate([np.append(getattr(item, name), 0.0) for item in knots]) for name in ("ends", "slope"))
        self.tail_C = np.array([item.tail for item in knots])

    def apply(self, given_C: np.ndarray) -> np.ndarray:
        """Return each column's function of its own value, float64 [C]."""
        import numpy as np

        x_C = np.minimum(np.maximum(given_C, self.x[self.start_C]), self.x[self.start_C + self.sizes_C - 1])
        far_C = (given_C - x_C) * self.tail_C
        low_C, high_C = self.start_C, self.start_C + self.sizes_C - 1
        for _ in range(int(self.sizes_C.max()).bit_length()):  # halving: how many ends are at most x
            middle_C = (low_C + high_C) // 2
            on_C = (low_C < high_C) & (x_C >= self.ends[middle_C])
            low_C, high_C = np.where(on_C, middle_C + 1, low_C), np.where(on_C, high_C, middle_C)
        beyond_C = given_C != x_C
        x_C = (x_C - self.x[low_C]) * self.slope[low_C] + self.y[low_C]
        x_C[beyond_C] += far_C[beyond_C]
        return x_C


def _cells(x_N: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return the cell of each value on the axis u = t / (1 + |t|), which holds heavy tails in few cells."""
    import numpy as np

    t_N = (x_N - centre) / width
    t_N /= 1.0 + np.abs(t_N)
    t_N *= CELLS / 2
    t_N += CELLS / 2
    return t_N.astype(np.int64)


def knots_of(x: np.ndarray, y: np.ndarray) -> Knots:
    """Return the function through two points at least, x strictly rising."""
    import numpy as np

    centre = float(x[len(x) // 2])
    width = float(max(x[len(x) * 3 // 4] - x[len(x) // 4], (x[-1] - x[0]) * 1e-9, 1e-300))
    cell_K = _cells(x, centre, width)
    # A cell starts one knot early: rounding may put a value into the cell beside its own.
    table = np.clip(np.searchsorted(cell_K, np.arange(CELLS + 2) - 1, side="left") - 1, 0, len(x) - 2).astype(np.int64)
    with np.errstate(over="ignore"):
        slope = np.diff(y) / np.diff(x)
    # Knots that are next to nothing apart are a step.
    return Knots(x, y, centre, width, table, np.append(x[1:-1], np.inf), np.where(np.isfinite(slope), slope, 0.0), _tail(x, y))


def _tail(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope between the function's 10% and 90% of the normal curve, or from end to end where those are one value."""
    import numpy as np

    low, high = np.clip(np.searchsorted(y, (-1.2815515655, 1.2815515655)), 0, len(x) - 1)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        slope = (y[high] - y[low]) / (x[high] - x[low]) if x[high] > x[low] else (y[-1] - y[0]) / (x[-1] - x[0])
    return float(slope) if np.isfinite(slope) else 0.0


def normal_knots(sample: np.ndarray, quantiles: int) -> tuple[np.ndarray, np.ndarray]:
    """Return knots (x, z) that map a rising sample to a standard normal by rank, as scikit-learn's QuantileTransformer does.

    Ranks are linear between stored quantiles; the normal curve between two of them is followed at further knots, within 2e-3 of it. A
    value that holds several quantiles goes to the middle of their ranks.
    """
    import numpy as np

    count = max(2, min(quantiles, len(sample)))
    level_Q = np.linspace(0, 1, count)
    x_Q = np.maximum.accumulate(np.quantile(sample, level_Q))
    curve = NormalDist()
    # Further ranks where the stored ones lie more than 0.04 apart on the curve: in its tails, and everywhere where they are few.
    steps = [step * 0.04 for step in range(-129, 130)]
    wanted = np.array([curve.cdf(step) for step in steps if curve.pdf(step) * 0.04 < 1 / (count - 1)])
    x, first = np.unique(x_Q, return_index=True)
    last = len(x_Q) - 1 - np.unique(x_Q[::-1], return_index=True)[1]
    low, high = level_Q[first], level_Q[last]
    tied = low < high
    gap = np.clip(np.searchsorted(low, wanted, side="right") - 1, 0, len(low) - 1)
    inner = wanted[(wanted > high[gap]) & (wanted < np.append(low, 2.0)[gap + 1])]
    x_inner = np.interp(inner, np.stack([low, high], 1).ravel(), np.repeat(x, 2))
    before, after = tied & (np.arange(len(x)) > 0), tied & (np.arange(len(x)) < len(x) - 1)
    least = np.diff(x) * 1e-9
    left, right = np.maximum(np.append(0.0, least), np.spacing(np.abs(x))), np.maximum(np.append(least, 0.0), np.spacing(np.abs(x)))
    all_x = np.concatenate([x, (x - left)[before], (x + right)[after], x_inner])
    middle = (low + high) / 2
    if tied[0]:
        middle[0] = 0.0
    if tied[-1]:
        middle[-1] = 1.0
    all_p = np.concatenate([middle, low[before], high[after], inner])
    all_x, kept = np.unique(all_x, return_index=True)
    z = np.array([curve.inv_cdf(min(max(p, 1e-7), 1 - 1e-7)) for p in all_p[kept].tolist()])
    return all_x, np.maximum.accumulate(z)


@dataclass(frozen=True, eq=False)
class Scaling:
    """One fitted number column.

    Attributes:
        kind: `"affine"` ((x - shift) * factor), `"knots"` or `"bins"`.
        fill: the raw number that a missing value counts as.
        low, high: raw numbers are brought within them first.
        clip: scaled numbers are brought within ±clip; infinite for none.
        indicator: whether a further feature is 1 where the value was missing.
        bins: rising inner edges, for `"bins"`.
        one_hot: whether bins are features of their own, else their number scaled to 0..1.
    """

    name: str
    kind: str = "affine"
    shift: float = 0.0
    factor: float = 1.0
    fill: float = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    clip: float = float("inf")
    indicator: bool = False
    knots: Knots | None = None
    bins: tuple[float, ...] = ()
    one_hot: bool = False
    edges: tuple[float, ...] = field(default=(0.0, 1.0))

    @property
    def names(self) -> list[str]:
        """Return the names of its features."""
        wide = [f"{self.name} bin {place}" for place in range(len(self.bins) + 1)] if self.one_hot else [self.name]
        return [*wide, *([f"{self.name} missing"] if self.indicator else [])]

    @property
    def info(self) -> dict[str, Any]:
        """Return the codec's info."""
        own = [[0.0, 1.0]] * (len(self.bins) + 1) if self.one_hot else [list(self.edges)]
        return {"numbers": len(self.names), "names": self.names, "cardinalities": [],
                "edges": [*own, *([[0.0, 1.0]] if self.indicator else [])]}


class Block:
    """Columns that are scaled by one call; what the call needs of them is gathered once."""

    def __init__(self, scalings: Sequence[Scaling]) -> None:
        import numpy as np

        self.scalings = tuple(scalings)
        self.width = sum(len(item.names) for item in scalings)
        self.plain = all(item.kind == "affine" for item in scalings)
        self.simple = self.plain and self.width == len(self.scalings)
        self.rows = max(64, min(ROWS, VALUES // len(self.scalings))) if self.plain else ROWS
        self.shift_C, self.factor_C, self.fill_C, self.low_C, self.high_C = (
            np.array([getattr(item, name) for item in scalings]) for name in ("shift", "factor", "fill", "low", "high"))
        clip_C = np.array([item.clip for item in scalings], np.float32)
        self.clip_C = clip_C[:1] if (clip_C == clip_C[0]).all() else clip_C
        self.limited = bool(np.isfinite(self.low_C).any() or np.isfinite(self.high_C).any())
        self.places = np.cumsum([0, *(len(item.names) for item in scalings)])[:-1].tolist()
        self.knotted = [number for number, item in enumerate(scalings) if item.knots is not None]
        self.others = [number for number, item in enumerate(scalings) if item.knots is None]

    @cached_property
    def beside(self) -> Beside:
        """Return the knots of all columns that have some."""
        return Beside([item.knots for item in self.scalings if item.knots is not None])

    def scale(self, batches: Sequence[pa.RecordBatch], out_NW: np.ndarray) -> None:
        """Write the features of C columns (of float32 or float64, one a scaling, in order) into float32 [N, W]."""
        start = 0
        for batch in batches:
            holes = any(column.null_count for column in batch.columns)
            for place in range(0, batch.num_rows, self.rows):
                part = batch.slice(place, self.rows)
                self._part(part, holes, out_NW[start:start + part.num_rows])
                start += part.num_rows

    def _part(self, part: pa.RecordBatch, holes: bool, out_NW: np.ndarray) -> None:
        import numpy as np

        raw_NC = part.to_tensor(null_to_nan=True, row_major=self.plain).to_numpy()
        absent_NC = np.isnan(raw_NC) if holes else None
        # A tensor of several columns is new memory, so that float64 is worked on in place; that of one may be the column's own.
        raw_NC = raw_NC.astype(np.float64, order="K", copy=part.num_columns == 1 or not raw_NC.flags.writeable)
        if absent_NC is not None:
            np.copyto(raw_NC, self.fill_C, where=absent_NC)
        if self.limited:
            np.clip(raw_NC, self.low_C, self.high_C, out=raw_NC)
        if self.plain:
            raw_NC -= self.shift_C
            raw_NC *= self.factor_C
        if self.simple:
            # Rounded first: the limits are rounded alike, so the order changes no bit.
            with np.errstate(over="ignore"):
                out_NW[:] = raw_NC
            np.clip(out_NW, -self.clip_C, self.clip_C, out=out_NW)
        else:
            self._write(raw_NC, np.zeros(raw_NC.shape, bool) if absent_NC is None else absent_NC, out_NW)

    def _write(self, raw_NC: np.ndarray, absent_NC: np.ndarray, out_NW: np.ndarray) -> None:
        """Write the features of columns of several kinds; of few rows, all columns with knots by one arithmetic."""
        import numpy as np

        if len(raw_NC) > FEW_ROWS or len(self.knotted) < MANY_COLUMNS:
            _write(self.scalings, self.places, (raw_NC, absent_NC), out_NW, range(len(self.scalings)))
            return
        _write(self.scalings, self.places, (raw_NC, absent_NC), out_NW, self.others)
        knotted_C = np.array(self.knotted)
        place_C = np.array(self.places)[knotted_C]
        clip_C = np.array([self.scalings[number].clip for number in self.knotted])
        marked = [number for number in self.knotted if self.scalings[number].indicator]
        for row, raw_C in enumerate(raw_NC):
            out_NW[row, place_C] = np.clip(self.beside.apply(raw_C[knotted_C]), -clip_C, clip_C)
        if marked:
            out_NW[:, np.array(self.places)[marked] + 1] = absent_NC[:, marked]


def _write(scalings: Sequence[Scaling], places: Sequence[int], given: tuple[np.ndarray, np.ndarray], out_NW: np.ndarray,
           numbers: Sequence[int]) -> None:
    """Write the features of some columns, of several kinds; affine ones are scaled already where all are."""
    import numpy as np

    raw_NC, absent_NC = given
    plain = all(item.kind == "affine" for item in scalings)
    for number in numbers:
        item, place = scalings[number], places[number]
        x_N = raw_NC[:, number]
        if item.kind == "bins":
            bin_N = np.searchsorted(np.asarray(item.bins), x_N, side="right")
            if item.one_hot:
                width = len(item.bins) + 1
                out_NW[:, place:place + width] = bin_N[:, None] == np.arange(width)
                place += width - 1
            else:
                out_NW[:, place] = bin_N / max(1, len(item.bins))
        else:
            if item.knots is not None:
                x_N = item.knots.apply(x_N)
                x_N = np.clip(x_N, -item.clip, item.clip)
            else:
                x_N = np.clip(x_N if plain else (x_N - item.shift) * item.factor, -item.clip, item.clip)
            out_NW[:, place] = x_N
        if item.indicator:
            out_NW[:, place + 1] = absent_NC[:, number]
