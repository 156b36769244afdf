"""Rising piecewise-linear functions of numbers: how their segments are found, and those that map a column to a normal curve.

Where a value lies is looked up in a grid and made sure by comparing, so that whatever the grid the segment is the one that a search
finds: a value alone and a value among many have the same bits. Legend: N values, C columns, K knots.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CELLS = 8192
SEARCHED = 256
MOST_STEPS = 3
CROWDED = -1000
# Nanoseconds a value takes for a step, for a search by halving, and for the squashed axis; a grid of at most so many is taken at once.
STEP_COST, SEARCH_COST, SQUASH_COST, GOOD = 2.0, 30.0, 3.0, 2.3


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells that values fall into, and the segment from which to search forward in each.

    Attributes:
        origin: what values are counted from.
        scale: what lengths are divided by, of a squashed axis; 0 otherwise.
        up: whether values are counted upwards from the origin.
        shift: bits of a float64 that do not tell its cell.
        base: the number of the first cell; of the last where values are counted downwards.
        table: int16 or int32 [cells]: a segment, or less than 0 where the cell holds too many knots.
        steps: how many segments further a value may lie.
        crowded: whether a cell holds too many knots.
    """

    origin: float
    scale: float
    up: bool
    shift: int
    base: int
    table: np.ndarray
    steps: int = 1
    crowded: bool = False

    def cells(self, x_N: np.ndarray) -> np.ndarray:
        """Return the cell of each value, int64 [N]; what is beyond the knots falls below the first or beyond the last."""
        if self.scale:
            return _squashed(x_N, self.origin, self.scale)
        return _binary(x_N, self.origin, self.up, self.shift, self.base)


@dataclass(frozen=True, eq=False)
class Knots:
    """A rising piecewise-linear function; beyond its ends it goes on with the slope of its middle.

    scikit-learn's QuantileTransformer is constant there, which would hide from a network that a column has moved on since training.

    Attributes:
        x: float64 [K], strictly rising.
        y: float64 [K].
        ends: where each segment ends, infinite for the last, float64 [K - 1].
        slope: of each segment, float64 [K - 1].
        tail: the slope beyond the ends.
    """

    x: np.ndarray
    y: np.ndarray
    ends: np.ndarray
    slope: np.ndarray
    tail: float

    @cached_property
    def grid(self) -> Grid:
        """Return the grid in which values are looked up; made where many are scaled."""
        return _grid(self.x, self.y)

    def place(self, x_N: np.ndarray) -> np.ndarray:
        """Return the segment of each value, the first or the last for those beyond the ends: int64 [N]; the same by either way."""
        import numpy as np

        if len(x_N) < SEARCHED:
            return np.searchsorted(self.ends, x_N, side="right")
        grid = self.grid
        found: np.ndarray = grid.table.take(grid.cells(x_N), mode="clip").astype(np.int64)
        for _ in range(grid.steps):
            found += x_N >= self.ends.take(found, mode="clip")
        if grid.crowded and found.min() < 0:
            far = np.flatnonzero(found < 0)
            found[far] = np.searchsorted(self.ends, x_N[far], side="right")
        return found

    def apply(self, x_N: np.ndarray, limit: float = math.inf) -> np.ndarray:
        """Return the function's values within -limit and limit, float64 [N]."""
        import numpy as np

        (low, high, reach), at_N = self.bounds, self.place(x_N)
        beyond = np.flatnonzero((x_N < low) | (x_N > high))
        with np.errstate(over="ignore", invalid="ignore"):
            found_N = x_N - self.x.take(at_N, mode="clip")
            found_N *= self.slope.take(at_N, mode="clip")
            found_N += self.y.take(at_N, mode="clip")
        if len(beyond):
            at, given = np.minimum(at_N[beyond], len(self.slope) - 1), x_N[beyond]  # infinity lies behind the last segment
            last = np.minimum(np.maximum(given, low), high)
            far = (last - self.x[at]) * self.slope[at] + self.y[at] + (given - last) * self.tail
            found_N[beyond] = np.minimum(np.maximum(far, -limit), limit)
        if limit < reach:
            np.clip(found_N, -limit, limit, out=found_N)
        return found_N

    def one(self, x: float, limit: float = math.inf) -> float:
        """Return the function's value of one number, within -limit and limit: the bits of `apply`."""
        low, high, ends, begins, slopes, values = self._views
        at = bisect_right(ends, x)
        if low <= x <= high:
            found: float = (x - begins[at]) * slopes[at] + values[at]
        else:
            at, last = min(at, len(slopes) - 1), low if x < low else high
            found = (last - begins[at]) * slopes[at] + values[at] + (x - last) * self.tail
        return -limit if found < -limit else limit if found > limit else found

    @cached_property
    def _views(self) -> tuple[float, float, memoryview, memoryview, memoryview, memoryview]:
        """Return the first and the last x, and ends, x, slope and y as Python reads them one by one."""
        low, high, _ = self.bounds
        return low, high, self.ends.data, self.x.data, self.slope.data, self.y.data

    @cached_property
    def bounds(self) -> tuple[float, float, float]:
        """Return the first and the last x, and what no value between them is beyond either way."""
        return float(self.x[0]), float(self.x[-1]), max(abs(float(self.y[0])), abs(float(self.y[-1]))) * 1.000001 + 1e-9


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


def _binary(x_N: np.ndarray, origin: float, up: bool, shift: int, base: int) -> np.ndarray:
    """Return cells by the leading bits of the distance from the origin: 2^k equal ones to each doubling of it.

    A subtraction, as a float64 is rounded, never turns two values around, nor does the order of the bits of positive numbers.
    """
    import numpy as np

    found: np.ndarray = (x_N - origin if up else origin - x_N).view(np.int64)
    found >>= shift
    return np.subtract(found, base, out=found) if up else np.subtract(base, found, out=found)


def _squashed(x_N: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return cells on the axis u = t / (1 + |t|), which holds two heavy tails in few cells; rounding may give the cell beside."""
    import numpy as np

    with np.errstate(over="ignore"):
        t_N = (x_N - centre) / width
    np.clip(t_N, -1e12, 1e12, out=t_N)
    t_N /= 1.0 + np.abs(t_N)
    t_N *= CELLS / 4
    t_N += CELLS / 4
    return t_N.astype(np.int64)


def _choices(x: np.ndarray) -> Iterator[tuple[Grid, int]]:
    """Yield grids without tables, and how many cells each has: nearly equal cells, cells finer towards one end, and squashed ones."""
    import numpy as np

    span = float(x[-1]) - float(x[0])
    for part, up in ((4.0, True), (2.0**-6, True), (2.0**-6, False), (2.0**-14, True), (2.0**-14, False)):
        origin = float(x[0]) - span * part if up else float(x[-1]) + span * part
        least, most = span * part, span * (1 + part)
        if not (least > abs(origin) * 2.0**-40 and least > 1e-290 and math.isfinite(most)):
            continue  # the distances would have too few digits left
        for shift in range(36, 53):
            low, high = (int(np.float64(item).view(np.int64)) >> shift for item in (least, most))
            if high - low + 3 <= CELLS:
                break
        yield Grid(origin, 0.0, up, shift, low - 1 if up else high + 1, np.zeros(0, np.int64)), high - low + 3
    width = float(max(x[len(x) * 3 // 4] - x[len(x) // 4], span * 1e-9, 1e-300))
    yield Grid(float(x[len(x) // 2]), width, True, 0, 0, np.zeros(0, np.int64)), CELLS // 2 + 2


def _grid(x: np.ndarray, y: np.ndarray) -> Grid:
    """Return the grid, and the number of steps, by which a value of the column is found at the least cost.

    A cell that holds more knots than steps are taken is crowded: its values are looked for by halving.
    """
    import numpy as np

    # A segment's share of the rows, roughly: the logistic curve is within .01 of the normal one.
    mass_K = np.diff(1.0 / (1.0 + np.exp(-1.702 * y)))
    mass_K = mass_K / max(float(mass_K.sum()), 1e-300)
    middle_K = x[:-1] + np.diff(x) / 2
    least, best = math.inf, None
    for grid, count in _choices(x):
        slack = 1 if grid.scale else 0
        before = np.concatenate([[0], np.cumsum(np.bincount(np.clip(grid.cells(x[1:-1]), 0, count - 1), minlength=count))])
        # A value lies behind the knots of the cells before its own; rounding may have put it or a knot into the cell beside.
        cell = np.arange(count)
        lowest, held = before[np.maximum(cell - slack, 0)], before[np.minimum(cell + slack, count - 1) + 1]
        held = held - lowest
        held_K = held[np.clip(grid.cells(middle_K), 0, count - 1)]
        for steps in range(1, MOST_STEPS + 1):
            cost = STEP_COST * steps + SEARCH_COST * float(mass_K[held_K > steps].sum()) + (SQUASH_COST if slack else 0.0)
            if cost < least:
                table = np.where(held > steps, CROWDED, lowest).astype(np.int16 if len(x) < 2**15 else np.int32)
                least, best = cost, replace(grid, table=table, steps=steps, crowded=bool(table.min() < 0))
        if least < GOOD:
            break
    assert best is not None
    return best


def knots_of(x: np.ndarray, y: np.ndarray) -> Knots:
    """Return the function through two points at least, x strictly rising."""
    import numpy as np

    with np.errstate(over="ignore"):
        slope = np.diff(y) / np.diff(x)
    # Knots that are next to nothing apart are a step.
    return Knots(x, y, np.append(x[1:-1], np.inf), np.where(np.isfinite(slope), slope, 0.0), _tail(x, y))


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
