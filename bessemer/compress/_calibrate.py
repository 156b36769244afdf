"""Which range of an activation 8 bits should cover: all that was seen, all but the outermost, or what loses least information.

Legend: N values, B rows, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.compress._graph import feeds_of, session_of
from bessemer.core.errors import UserError
from bessemer.core.types import Calibration

if TYPE_CHECKING:
    import numpy as np
    import onnx

BINS, LEVELS = 2048, 128


@dataclass(frozen=True)
class Range:
    """How a range is chosen: the kind, and the share of values (percent) that `percentile` keeps."""

    kind: str
    percentile: float = 99.99


def activations(model: onnx.ModelProto, names: Sequence[str], calibration: Calibration) -> Iterator[dict[str, np.ndarray]]:
    """Yield, batch by batch, the values of tensors inside a float graph; those of padding are left out."""
    import onnx
    from onnx import TensorProto, helper

    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    there = {item.name for item in wider.graph.output}
    wider.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in there)
    session = session_of(wider)
    for batch in calibration.batches():
        found = session.run(list(names), feeds_of(model, batch))
        yield {name: _real(value, batch.get("attention_mask")) for name, value in zip(names, found, strict=True)}


def _real(value: Any, mask_BL: np.ndarray | None) -> np.ndarray:
    if mask_BL is not None and value.ndim == 3 and value.shape[:2] == mask_BL.shape:
        value = value[mask_BL == 1]
    found: np.ndarray = value.ravel()
    return found


def needed(calibration: Calibration, kind: str) -> None:
    """Raise a UserError where there are no rows."""
    if not calibration.rows:
        raise UserError(f"{kind} needs training rows to calibrate on, and there are none; take dynamic_int8")


def scales(model: onnx.ModelProto, names: Sequence[str], calibration: Calibration, how: Range) -> dict[str, tuple[float, int]]:
    """Return for tensors of a float graph the scale and zero point of uint8: x is about scale * (code - zero)."""
    import numpy as np

    low = dict.fromkeys(names, 0.0)
    high = dict.fromkeys(names, 0.0)
    for batch in activations(model, names, calibration):
        for name, value in batch.items():
            low[name], high[name] = min(low[name], float(value.min(initial=0.0))), max(high[name], float(value.max(initial=0.0)))
    ranges = {name: (low[name], high[name]) for name in names}
    if how.kind != "min_max":
        counts = {name: np.zeros(BINS, np.int64) for name in names}
        for batch in activations(model, names, calibration):
            for name, value in batch.items():
                counts[name] += np.histogram(value, BINS, ranges[name])[0]
        chosen = by_percentile if how.kind == "percentile" else by_entropy
        ranges = {name: chosen(counts[name], *ranges[name], how) if low[name] < high[name] else ranges[name] for name in names}
    return {name: affine(*ranges[name]) for name in names}


def affine(low: float, high: float) -> tuple[float, int]:
    """Return scale and zero point of a range that holds 0; an empty one (the value is always 0) has scale 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return scale, round(-low / scale)


def by_percentile(counts: np.ndarray, low: float, high: float, how: Range) -> tuple[float, float]:
    """Return the range without the outermost values of a histogram, half of them on each side."""
    import numpy as np

    edges = np.linspace(low, high, len(counts) + 1)
    share = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    tail = (1 - how.percentile / 100) / 2
    return float(np.interp(tail, share, edges)), float(np.interp(1 - tail, share, edges))


def by_entropy(counts: np.ndarray, low: float, high: float, _how: Range) -> tuple[float, float]:
    """Return the range, cut to |x| <= t, whose 128 levels tell most: the smallest KL divergence of the clipped values to their levels.

    Migacz 2017, "8-bit inference with TensorRT", slides 25 to 34, over the histogram of |x|.
    """
    import numpy as np

    edges = np.linspace(low, high, len(counts) + 1)
    middle = np.abs((edges[:-1] + edges[1:]) / 2)
    top = max(-low, high)
    size_N = np.bincount(np.minimum((middle / top * BINS).astype(np.int64), BINS - 1), counts, BINS)
    best, chosen = np.inf, BINS
    for bins in range(LEVELS, BINS + 1, 16):
        loss = _divergence(size_N, bins)
        if loss < best:
            best, chosen = loss, bins
    limit = top * chosen / BINS
    return max(low, -limit), min(high, limit)


def _divergence(size_N: np.ndarray, bins: int) -> float:
    """Return KL(p || q): p the first `bins` with all beyond added to the last, q the same bins seen through 128 levels."""
    import numpy as np

    seen = size_N[:bins]
    p = seen.copy()
    p[-1] += size_N[bins:].sum()
    level = np.arange(bins) * LEVELS // bins
    there = seen > 0
    mean = np.bincount(level, seen, LEVELS) / np.maximum(np.bincount(level, there, LEVELS), 1)
    q = np.where(there, mean[level], 0.0)
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    both = (p > 0) & (q > 0)
    missing = p[(p > 0) & (q == 0)].sum()  # clipped values where there were none before: what KL calls infinite, counted as a loss
    return float((p[both] * np.log(p[both] / q[both])).sum() + missing * np.log(BINS))
