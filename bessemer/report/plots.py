"""Charts of numbers and of columns, as inline SVG like those of `svg.py`: labels are escaped, coordinates have one decimal."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.report.show import clip, percent, plain, significant, whole
from bessemer.report.svg import Frame, axes, box, span, stroke, svg, text

SPARK = (120.0, 28.0)


def scatter(points: Sequence[tuple[float, float]]) -> str:
    """Draw (truth, estimate) as dots over the diagonal on which they are the same."""
    ends = span([value for point in points for value in point])
    frame = Frame(ends, ends, 440, 380, left=64, labels=("truth", "estimate"))
    body = axes(frame)
    corners = [(frame.across(end), frame.up(end)) for end in ends]
    body.append(stroke("line thin", corners, "muted", True))
    body += [f'<circle class="dot" cx="{frame.across(x):.1f}" cy="{frame.up(y):.1f}" r="3" style="fill:var(--c1)"/>' for x, y in points]
    return svg(frame.width, frame.height, f"estimate by truth of {len(points)} rows", body)


def histogram(edges: Sequence[float], counts: Sequence[int], mark: tuple[float, str] | None = None) -> str:
    """Draw counts between rising edges; `mark` is a vertical line and what it is."""
    low, high = edges[0], edges[-1]
    if not high > low:
        low, high = span([low])
    frame = Frame((low, high), (0, max(1, *counts) * 1.06), 440, 380, left=64, labels=("truth − estimate", "rows"))
    body = axes(frame)
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        left, right = (frame.across(start), frame.across(end)) if edges[-1] > edges[0] else (frame.across(low), frame.across(high))
        tip = f"{significant(start)} to {significant(end)}: {whole(count)} rows"
        tall = frame.up(0) - frame.up(count)
        body.append(box(left + 0.5, frame.up(count), right - left - 1, tall, "fill:var(--c1);fill-opacity:.75", tip))
    if mark is not None and low <= mark[0] <= high:
        x = frame.across(mark[0])
        body.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:g}" y2="{frame.height - frame.bottom:g}"/>')
        body.append(text(x + 5, frame.top + 8, mark[1], "key"))
    return svg(frame.width, frame.height, "histogram of truth minus estimate", body)


def quantiles(found: Sequence[tuple[float, float]]) -> str:
    """Draw (level, share of rows at most the quantile) over the diagonal on which quantiles are as calibrated as they say."""
    frame = Frame((0, 1), (0, 1), 440, 380, labels=("level of the quantile", "share of rows below it"))
    body = axes(frame)
    body.append(stroke("line thin", [(frame.across(0), frame.up(0)), (frame.across(1), frame.up(1))], "muted", True))
    places = [(frame.across(level), frame.up(below)) for level, below in found]
    for (level, below), (x, y) in zip(found, places, strict=True):
        body.append(stroke("line", [(x, frame.up(level)), (x, y)], "bad"))
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill:var(--c1)"><title>level {plain(level, 3)}: '
                    f'{percent(below)} of rows</title></circle>')
    return svg(frame.width, frame.height, "calibration of the quantiles", body)


def spark(train: Sequence[float], test: Sequence[float], tips: Sequence[str], label: str) -> str:
    """Draw a small histogram for a table's cell: training shares as bars, test shares as lines; the tips say what each bar is."""
    width, height = SPARK
    most, step = max([*train, *test]) or 1.0, width / len(train)
    body = [f'<line class="axis" x1="0" x2="{width:g}" y1="{height - 0.5:.1f}" y2="{height - 0.5:.1f}"/>']
    bar = min(step - 1, 16)
    for index, (share, tip) in enumerate(zip(train, tips, strict=True)):
        tall = max(1.0, (height - 3) * share / most) if share else 0.0
        body.append(box(index * step + 0.5, height - 1 - tall, bar, tall, "fill:var(--c1);fill-opacity:.75", clip(tip, 90)))
    for index, share in enumerate(test):
        y = height - 1 - (height - 3) * share / most
        body.append(stroke("line thin", [(index * step + 0.5, y), (index * step + 0.5 + bar, y)], "c2"))
    return svg(width, height, label, body)
