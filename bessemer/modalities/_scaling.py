"""How number columns become features: one arithmetic for a value, a row and a block of many columns, so that all are bit-equal.

Everything is elementwise float64, rounded to float32 once at the end. Legend: N rows, C columns, W features, K knots.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bessemer.modalities._knots import Beside, Knots

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS, PLAIN_ROWS = 32768, 8192
VALUES = 2**16
FEW_ROWS, MANY_COLUMNS = 8, 32


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

    @cached_property
    def limited(self) -> bool:
        """Tell whether raw numbers are brought within limits."""
        return self.low > float("-inf") or self.high < float("inf")

    @property
    def names(self) -> list[str]:
        """Return the names of its features."""
        wide = [f"{self.name} bin {place}" for place in range(len(self.bins) + 1)] if self.one_hot else [self.name]
        return [*wide, *([f"{self.name} missing"] if self.indicator else [])]

    def one(self, value: float | None) -> list[float]:
        """Return the features of one raw number, None where it is missing: rounded to float32 they have the bits of `Block.scale`."""
        x = self.fill if value is None else float(value)
        if self.limited:
            x = min(max(x, self.low), self.high)
        if self.kind == "bins":
            place = bisect_right(self.bins, x)
            found = [float(place == number) for number in range(len(self.bins) + 1)] if self.one_hot else [place / max(1, len(self.bins))]
        elif self.knots is not None:
            found = [self.knots.one(x, self.clip)]
        else:
            found = [min(max((x - self.shift) * self.factor, -self.clip), self.clip)]
        if self.indicator:
            found.append(float(value is None))
        return found

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
        self.rows = max(64, min(PLAIN_ROWS, VALUES // len(self.scalings))) if self.plain else ROWS
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
            if not self.plain and (batch.num_rows > FEW_ROWS or len(self.knotted) < MANY_COLUMNS):
                self._each(batch.columns, out_NW[start:start + batch.num_rows])
                start += batch.num_rows
                continue
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
            self._few(raw_NC, np.zeros(raw_NC.shape, bool) if absent_NC is None else absent_NC, out_NW)

    def _each(self, columns: Sequence[pa.Array], out_NW: np.ndarray) -> None:
        """Write the features of columns of several kinds: of some rows one column after the other, so that they stay in the cache."""
        import numpy as np

        given = [(column.to_numpy(zero_copy_only=False), column.null_count) for column in columns]
        for start in range(0, len(out_NW), self.rows):
            span = slice(start, start + self.rows)
            for item, place, (whole_N, holes) in zip(self.scalings, self.places, given, strict=True):
                raw_N = whole_N[span]
                absent_N = np.isnan(raw_N) if holes else None
                x_N = raw_N.astype(np.float64, copy=absent_N is not None)
                if absent_N is not None:
                    np.copyto(x_N, item.fill, where=absent_N)
                if item.limited:
                    x_N = np.clip(x_N, item.low, item.high)
                if item.kind == "affine":
                    x_N = (x_N - item.shift) * item.factor
                _write(item, place, x_N, absent_N, out_NW[span])

    def _few(self, raw_NC: np.ndarray, absent_NC: np.ndarray, out_NW: np.ndarray) -> None:
        """Write the features of plain columns, or of a few rows, all of whose columns with knots go by one arithmetic."""
        import numpy as np

        for number in self.others:
            item, x_N = self.scalings[number], raw_NC[:, number]
            if item.kind == "affine" and not self.plain:
                x_N = (x_N - item.shift) * item.factor
            _write(item, self.places[number], x_N, absent_NC[:, number], out_NW)
        if not self.knotted:
            return
        knotted_C = np.array(self.knotted)
        place_C = np.array(self.places)[knotted_C]
        clip_C = np.array([self.scalings[number].clip for number in self.knotted])
        marked = [number for number in self.knotted if self.scalings[number].indicator]
        for row, raw_C in enumerate(raw_NC):
            out_NW[row, place_C] = np.clip(self.beside.apply(raw_C[knotted_C]), -clip_C, clip_C)
        if marked:
            out_NW[:, np.array(self.places)[marked] + 1] = absent_NC[:, marked]


def _write(item: Scaling, place: int, x_N: np.ndarray, absent_N: np.ndarray | None, out_NW: np.ndarray) -> None:
    """Write the features of one column: float64 values filled, limited and, of an affine one, scaled."""
    import numpy as np

    if item.kind == "bins":
        bin_N = np.searchsorted(np.asarray(item.bins), x_N, side="right")
        if item.one_hot:
            width = len(item.bins) + 1
            out_NW[:, place:place + width] = bin_N[:, None] == np.arange(width)
            place += width - 1
        else:
            out_NW[:, place] = bin_N / max(1, len(item.bins))
    else:
        out_NW[:, place] = np.clip(x_N, -item.clip, item.clip) if item.knots is None else item.knots.apply(x_N, item.clip)
    if item.indicator:
        out_NW[:, place + 1] = 0.0 if absent_N is None else absent_N
