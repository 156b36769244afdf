"""Charts as inline SVG, by hand: no library, no script; colours are the page's CSS variables, so light and dark work.

Every function returns one `<svg>` element as text; labels are escaped here. Coordinates have one decimal: the same
values give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from bessemer.report.show import clean, clip, percent, plain, whole

MAX_POINTS = 400
MAX_CELLS = 25
COLOURS = 8


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend.
        xs: where.
        ys: how much, as long as xs.
        dashed: drawn as a dashed line.
        colour: index of the colour; by position when None.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    dashed: bool = False
    colour: int | None = None


@dataclass(frozen=True)
class Frame:
    """The plot area and its scales.

    Attributes:
        x: (lowest, highest) of the data horizontally.
        y: the same vertically.
        width: of the whole picture.
        height: of the whole picture.
        left: margin for tick labels; right, top and bottom likewise.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 560
    height: float = 280
    left: float = 56
    right: float = 16
    top: float = 30
    bottom: float = 40
    labels: tuple[str, str] = field(default=("", ""))

    def across(self, value: float) -> float:
        """Return the picture's x of a value."""
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def up(self, value: float) -> float:
        """Return the picture's y of a value."""
        low, high = self.y
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)


def ticks(low: float, high: float, target: int = 5) -> list[float]:
    """Return round numbers inside [low, high], about `target` of them.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / target
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = min((factor * power for factor in (1, 2, 2.5, 5, 10)), key=lambda found: abs(found - raw))
    first = math.ceil(low / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Return a tick's label, short: `2e-05`, `1.5k`, `0.25`."""
    if value == 0:
        return "0"
    if abs(value) < 0.001 or abs(value) >= 10_000_000:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def extent(words: str) -> float:
    """Return about how wide a key is drawn, in units of the picture; East Asian signs count double."""
    return 7.0 * sum(2 if ord(sign) > 0x2E80 else 1 for sign in words)


def svg(width: float, height: float, label: str, body: list[str]) -> str:
    """Wrap a drawing; `label` is what a screen reader says."""
    name = escape(clean(label))
    return (f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" style="max-width:{1.25 * width:g}px" role="img" '
            f'aria-label="{name}">'
            + "".join(body) + "</svg>")


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "start") -> str:
    """Return a label at a place."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(clean(words))}</text>'


def stroke(kind: str, points: Sequence[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    """Return a polyline of a colour (`c1` … `c8` or `muted`)."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline class="{kind}" points="{path}" style="stroke:var(--{colour})"{dash}/>'


def box(x: float, y: float, width: float, height: float, style: str, title: str = "") -> str:
    """Return a rectangle, with a tooltip where a title is given."""
    tip = f"<title>{escape(clean(title))}</title>" if title else ""
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" rx="3" '
            f'style="{style}">{tip}</rect>')


def axes(frame: Frame) -> list[str]:
    """Return grid, tick labels and axis names of a frame."""
    body = []
    right, floor = frame.width - frame.right, frame.height - frame.bottom
    for value in ticks(*frame.y):
        y = frame.up(value)
        body.append(f'<line class="grid" x1="{frame.left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(text(frame.left - 8, y + 4, tick_text(value), anchor="end"))
    for value in ticks(*frame.x):
        body.append(text(frame.across(value), floor + 17, tick_text(value), anchor="middle"))
    body.append(f'<line class="axis" x1="{frame.left:g}" x2="{right:g}" y1="{floor:g}" y2="{floor:g}"/>')
    if frame.labels[0]:
        body.append(text((frame.left + right) / 2, frame.height - 6, frame.labels[0], "name", "middle"))
    if frame.labels[1]:
        body.append(text(frame.left, frame.top - 14, frame.labels[1], "name"))
    return body


def legend(names: Sequence[tuple[str, str, bool]], right: float, y: float) -> list[str]:
    """Return entries (name, colour, dashed) set from the right edge leftwards."""
    body: list[str] = []
    x = right
    for name, colour, dashed in reversed(names):
        shown = clip(name, 28)
        x -= extent(shown) + 6
        body.append(text(x, y + 4, shown, "key"))
        body.append(stroke("line", [(x - 22, y), (x - 6, y)], colour, dashed))
        x -= 34
    return body


def span(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    """Return lowest and highest of the values, a little air added; never empty."""
    low, high = min(values), max(values)
    air = (high - low) * pad or abs(high) * 0.1 or 1.0
    return low - air, high + air


def lines(drawn: Sequence[Line], label: str, names: tuple[str, str], mark: float | None = None) -> str:
    """Draw lines over a common axis; `names` are those of both axes, `mark` a vertical line (the weights kept)."""
    xs = [x for line in drawn for x in line.xs]
    ys = [y for line in drawn for y in line.ys]
    low, high = span(ys)
    if min(ys) >= 0 and low < 0.25 * high:
        low = 0.0
    ends = (min(xs), max(xs)) if max(xs) > min(xs) else span(xs)
    frame = Frame(ends, (low, high), 440, 240, labels=names)
    body = axes(frame)
    if mark is not None and frame.x[0] <= mark <= frame.x[1]:
        x = frame.across(mark)
        body.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:g}" '
                    f'y2="{frame.height - frame.bottom:g}"><title>weights kept</title></line>')
    keys = []
    for position, line in enumerate(drawn):
        colour = f"c{(position if line.colour is None else line.colour) % COLOURS + 1}"
        stride = max(1, math.ceil(len(line.xs) / MAX_POINTS))
        points = list(zip(line.xs, line.ys, strict=True))
        points = points[::stride] + (points[-1:] if (len(points) - 1) % stride else [])
        places = [(frame.across(x), frame.up(y)) for x, y in points]
        body.append(stroke("line", places, colour, line.dashed))
        dots = places if len(places) <= 12 else places[-1:]
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:var(--{colour})"/>' for x, y in dots]
        keys.append((line.name, colour, line.dashed))
    if len(keys) > 1:
        body += legend(keys, frame.width - frame.right, frame.top - 18)
    return svg(frame.width, frame.height, label, body)


def heat_map(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Draw a confusion matrix: rows are truth, shade is the share of the row, numbers are counts."""
    order = list(range(len(labels)))
    if len(order) > MAX_CELLS:  # the classes that most rows belong to; the caller's table has all of them
        order = sorted(sorted(order, key=lambda code: -sum(counts[code]))[:MAX_CELLS])
    num = len(order)
    cell, top = max(30.0, min(110.0, 380 / num)), 54.0
    left = 24.0 + max(40.0, *(extent(clip(labels[code], 15)) for code in order))
    width, height = left + cell * num + 10, top + cell * num + 12
    body = [text(left + cell * num / 2, 14, "predicted", "name", "middle"),
            text(left - 10, top - 12, "true", "name", "end")]
    for place, code in enumerate(order):
        total = sum(counts[code])
        at = left + cell * (place + 0.5)
        if cell >= 60:
            body.append(text(at, top - 12, clip(labels[code], 14), "key", "middle"))
        else:
            body.append(f'<g transform="rotate(-40 {at:.1f} {top - 8:.1f})">'
                        f'{text(at, top - 8, clip(labels[code], 8), "tick")}</g>')
        body.append(text(left - 10, top + cell * (place + 0.5) + 4, clip(labels[code], 15), "key", "end"))
        for column, other in enumerate(order):
            number = counts[code][other]
            share = number / total if total else 0.0
            x, y = left + cell * column, top + cell * place
            tone = "c1" if code == other else "bad"
            tip = f"{labels[code]} → {labels[other]}: {whole(number)} ({percent(share)})"
            body.append(box(x + 1, y + 1, cell - 2, cell - 2, "fill:var(--cell)"))
            body.append(box(x + 1, y + 1, cell - 2, cell - 2, f"fill:var(--{tone});fill-opacity:{share:.3f}", tip))
            ink = "cell-on" if share > 0.55 else "cell-off"
            if cell >= 60:
                body.append(text(x + cell / 2, y + cell / 2 - 1, whole(number), f"count {ink}", "middle"))
                body.append(text(x + cell / 2, y + cell / 2 + 17, percent(share), f"tick {ink}", "middle"))
            elif number:
                body.append(text(x + cell / 2, y + cell / 2 + 4, tick_text(number), f"tick {ink}", "middle"))
    return svg(width, height, "confusion matrix", body)


def roc(drawn: Sequence[Line]) -> str:
    """Draw ROC curves over the diagonal of chance; the names carry the areas."""
    frame = Frame((0, 1), (0, 1), width=440, height=380, labels=("false positive rate", "true positive rate"))
    body = axes(frame)
    body.append(stroke("line thin", [(frame.across(0), frame.up(0)), (frame.across(1), frame.up(1))], "muted", True))
    for index, line in enumerate(drawn):
        places = [(frame.across(x), frame.up(y)) for x, y in zip(line.xs, line.ys, strict=True)]
        if len(drawn) == 1:
            under = [*places, (frame.across(1), frame.up(0)), (frame.across(0), frame.up(0))]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in under)
            body.append(f'<polygon points="{path}" style="fill:var(--c1);fill-opacity:.10"/>')
        colour = f"c{index % COLOURS + 1}"
        body.append(stroke("line", places, colour))
        y = frame.up(0) - 16 - 18 * (len(drawn) - 1 - index)
        body.append(stroke("line", [(frame.width - 232, y - 4), (frame.width - 214, y - 4)], colour))
        body.append(text(frame.width - 206, y, clip(line.name, 32), "key"))
    return svg(frame.width, frame.height, "ROC curve", body)


def reliability(found: Sequence[tuple[float, float, float, float, int]]) -> str:
    """Draw bins (low, high, confidence, accuracy, count): accuracy as bars, the gap to confidence, rows beneath."""
    frame = Frame((0, 1), (0, 1), width=440, height=380, bottom=92, labels=("", "accuracy of the top class"))
    body = axes(frame)
    floor, most = frame.height - 24, max((row[4] for row in found), default=1)
    for low, high, confidence, accuracy, count in found:
        x, width = frame.across(low) + 1, frame.across(high) - frame.across(low) - 2
        tip = (f"confidence {plain(low, 2)}–{plain(high, 2)}: mean {plain(confidence)}, accuracy {plain(accuracy)}, "
               f"{whole(count)} rows")
        body.append(box(x, frame.up(accuracy), width, frame.up(0) - frame.up(accuracy),
                        "fill:var(--c1);fill-opacity:.75", tip))
        top, bottom = sorted((frame.up(accuracy), frame.up(confidence)))
        body.append(box(x, top, width, bottom - top, "fill:var(--bad);fill-opacity:.38", tip))
        tall = max(1.5, 30 * count / most)
        body.append(box(x, floor - tall, width, tall, "fill:var(--muted);fill-opacity:.6", tip))
    body.append(stroke("line thin", [(frame.across(0), frame.up(0)), (frame.across(1), frame.up(1))], "muted", True))
    body.append(text(frame.left - 8, floor - 4, "rows", "tick", "end"))
    body.append(text((frame.left + frame.width - frame.right) / 2, frame.height - 6, "confidence", "name", "middle"))
    return svg(frame.width, frame.height, "reliability diagram", body)


def whiskers(rows: Sequence[tuple[str, float, float | None, float | None, bool]], name: str, texts: Sequence[str] = ()) -> str:
    """Draw (label, value, low, high, highlighted) as dots with 95% intervals, one under another; `texts` are the values as shown."""
    ends = [end for _, value, low, high, _ in rows for end in (value, low, high) if end is not None]
    width, left, step = 760.0, 24.0 + max(extent(clip(row[0], 30)) for row in rows), 34.0
    frame = Frame(span(ends, 0.08), (0, 1), width, 28 + step * len(rows) + 36, left=left, right=84, top=16, bottom=50)
    floor = frame.height - frame.bottom + 6
    body = []
    for value in ticks(*frame.x):
        x = frame.across(value)
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{floor:g}"/>')
        body.append(text(x, floor + 16, tick_text(value), anchor="middle"))
    body.append(text((left + width - 84) / 2, frame.height - 4, name, "name", "middle"))
    for index, (label, value, low, high, bold) in enumerate(rows):
        y = 28 + step * index
        colour = "c1" if bold else "muted"
        body.append(text(left - 14, y + 4, clip(label, 30), "key strong" if bold else "key", "end"))
        if low is not None and high is not None:
            body.append(stroke("whisker", [(frame.across(low), y), (frame.across(high), y)], colour))
        body.append(f'<circle cx="{frame.across(value):.1f}" cy="{y:.1f}" r="5.5" style="fill:var(--{colour})"/>')
        body.append(text(width - 70, y + 4, texts[index] if texts else plain(value), "key strong" if bold else "key"))
    return svg(width, frame.height, f"{name} of each form with 95% intervals", body)


def funnel(kept: int, rejected: Sequence[tuple[str, int]], label: str) -> str:
    """Draw one source as a bar: rows kept, then each reason of rejection (at least a sliver)."""
    total = max(1, kept + sum(number for _, number in rejected))
    parts = [("kept", kept, "c1"), *((reason, number, f"c{index % (COLOURS - 1) + 2}")
                                     for index, (reason, number) in enumerate(rejected))]
    shown = [(name, number, colour, max(3.0, 720 * number / total)) for name, number, colour in parts if number]
    scale = 720 / sum(width for *_, width in shown) if shown else 1.0
    body, x = [], 0.0
    for name, number, colour, width in shown:
        body.append(box(x, 0, width * scale - 1, 18, f"fill:var(--{colour})",
                        f"{name}: {whole(number)} ({percent(number / total)})"))
        x += width * scale
    return svg(720, 18, label, body)
