"""The Pareto front of a compression to a budget, and what forms cost on a machine: values and charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from bessemer.report.part import Part, Value
from bessemer.report.show import clean, clip, milliseconds, plain, scored, size
from bessemer.report.svg import Frame, box, extent, stroke, svg, text, tick_text, ticks

LARGEST, SMALLEST = 15.0, 3.5


class Candidate(Part):
    """One candidate of a search."""

    name: str
    """What it is, shown to people."""
    quality: Value = Value()
    """The score on the validation rows."""
    drop: Value = Value()
    """What it loses against the trained network, with its paired interval."""
    worst_target: str = ""
    """Of several targets the one that loses most, whose drop it is."""
    size_bytes: int | None = None
    """Every file that it needs."""
    latency_ms: float | None = None
    """One row at a time, median."""
    latency_16_ms: float | None = None
    """Sixteen rows at a time, median of a call."""
    memory_bytes: int | None = None
    """Peak of a fresh process; measured only where the budget limits it."""
    status: str = ""
    """`finished`, `dropped` or `failed`."""
    reason: str = ""
    """Why it was dropped or failed."""
    front: bool = False
    """Whether no other is better in quality, size and latency."""
    fits: bool = False
    """Whether it meets every limit."""
    chosen: bool = False
    """Whether it is the one that is delivered."""


class Front(Part):
    """What a search found."""

    stage: str
    """The stage's name."""
    metric: str = "accuracy"
    """The score that counts as quality."""
    target: str = ""
    """Of several targets the first, whose score it is."""
    sentence: str = ""
    """The choice, explained."""
    limits: dict[str, float] = {}
    """`size_mb`, `latency_ms`, `accuracy_drop`, `memory_mb`: those that the budget has."""
    reached: bool = True
    """Whether the chosen one meets them."""
    reference: Candidate
    """The trained network."""
    candidates: tuple[Candidate, ...] = ()
    """All that were looked at, in order."""
    speedup: Value = Value()
    """How many times faster than the trained network the chosen one is, measured in turn."""


def decades(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis: 1, 2 and 5 of each power of ten, fewer over a wide range.

    >>> decades(0.4, 30)
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    wide = math.log10(high / low) > 3
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{factor * 10.0 ** power:.6g}") for power in powers for factor in ((1,) if wide else (1, 2, 5))
            if low <= factor * 10.0 ** power <= high]


def _log_frame(values: Sequence[float], frame: Frame, pad: float = 0.12) -> Frame:
    """Return the frame with a horizontal axis of logarithms that holds the values."""
    low, high = math.log10(min(values)), math.log10(max(values))
    air = max(pad * (high - low), 0.12)
    return replace(frame, x=(low - air, high + air))


def _log_axes(frame: Frame) -> list[str]:
    body = []
    right, floor = frame.width - frame.right, frame.height - frame.bottom
    for value in decades(10 ** frame.x[0], 10 ** frame.x[1]):
        x = frame.across(math.log10(value))
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:g}" y2="{floor:g}"/>')
        body.append(text(x, floor + 17, tick_text(value), anchor="middle"))
    body.append(f'<line class="axis" x1="{frame.left:g}" x2="{right:g}" y1="{floor:g}" y2="{floor:g}"/>')
    body.append(text((frame.left + right) / 2, frame.height - 6, frame.labels[0], "name", "middle"))
    return body


def front_chart(found: Front) -> str:
    """Draw quality by latency (logarithmic), a candidate's area by its size, the limits as dashed lines, the front as a line."""
    known = [item for item in (found.reference, *found.candidates)
             if item.quality.value is not None and item.latency_ms and item.size_bytes]
    if len(known) < 2:
        return ""
    names = ("latency of one row, ms (logarithmic); area: size on disk", found.metric.replace("_", " "))
    qualities = [item.quality.value for item in known if item.quality.value is not None]
    air = max(0.08 * (max(qualities) - min(qualities)), 0.002)
    base = Frame((0, 1), (min(qualities) - air, max(qualities) + air), 760, 400, left=64, labels=names)
    latency_limit = found.limits.get("latency_ms")
    frame = _log_frame([item.latency_ms or 1.0 for item in known] + [latency_limit] * bool(latency_limit), base)  # type: ignore[list-item]
    body = _log_axes(frame)
    right = frame.width - frame.right
    for value in ticks(*frame.y):
        body.append(f'<line class="grid" x1="{frame.left:g}" x2="{right:g}" y1="{frame.up(value):.1f}" y2="{frame.up(value):.1f}"/>')
        body.append(text(frame.left - 8, frame.up(value) + 4, tick_text(value), anchor="end"))
    body.append(text(frame.left, frame.top - 14, names[1], "name"))
    body += _limits(found, frame)
    line = sorted((item for item in known if item.front), key=lambda item: item.latency_ms or 0.0)
    if len(line) > 1:
        body.append(stroke("line thin", [_place(item, frame) for item in line], "c2"))
    largest = max(item.size_bytes or 1 for item in known)
    for item in sorted(known, key=lambda one: -(one.size_bytes or 0)):
        body.append(_bubble(item, frame, largest, item is found.reference))
    body += _names([(item, _place(item, frame)) for item in known if item.chosen or item is found.reference], frame, found)
    return svg(frame.width, frame.height, f"{names[1]} by latency of {len(known)} candidates", body)


def _place(item: Candidate, frame: Frame) -> tuple[float, float]:
    return frame.across(math.log10(item.latency_ms or 1.0)), frame.up(item.quality.value or 0.0)


def _bubble(item: Candidate, frame: Frame, largest: int, trained: bool) -> str:
    x, y = _place(item, frame)
    radius = max(SMALLEST, LARGEST * math.sqrt((item.size_bytes or 0) / largest))
    colour = "c1" if item.chosen else "c8" if trained else "c2" if item.front else "muted"
    edge = f"stroke:var(--{'ink' if item.chosen else colour});stroke-width:1.5"
    tip = f"{item.name}: {plain(item.quality.value)}, {milliseconds(item.latency_ms)}, {size(item.size_bytes)}"
    return (f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" style="fill:var(--{colour});{edge}">'
            f'<title>{escape(clean(tip))}</title></circle>')


def _limits(found: Front, frame: Frame) -> list[str]:
    """Draw what the budget allows: to the left of its latency, above its quality."""
    body, right, floor = [], frame.width - frame.right, frame.height - frame.bottom
    end, least = right, floor
    latency, drop = found.limits.get("latency_ms"), found.limits.get("accuracy_drop")
    if latency:
        end = frame.across(math.log10(latency))
        body.append(f'<line class="mark" x1="{end:.1f}" x2="{end:.1f}" y1="{frame.top:g}" y2="{floor:g}"/>')
        body.append(text(end - 5, floor - 6, f"{tick_text(latency)} ms", "tick", "end"))
    if drop is not None and found.reference.quality.value is not None:
        least = min(floor, max(frame.top, frame.up(found.reference.quality.value - drop)))
        body.append(f'<line class="mark" x1="{frame.left:g}" x2="{right:g}" y1="{least:.1f}" y2="{least:.1f}"/>')
    if latency or drop is not None:
        inside = box(frame.left, frame.top, end - frame.left, least - frame.top, "fill:var(--c3);fill-opacity:.08", "within the budget")
        body.insert(0, inside)
    return body


def _names(items: Sequence[tuple[Candidate, tuple[float, float]]], frame: Frame, found: Front) -> list[str]:
    body = []
    for item, (x, y) in items:
        words = clip("trained network" if item is found.reference else item.name, 44)
        left = x + LARGEST + 4 + extent(words) > frame.width
        body.append(text(x - LARGEST - 3 if left else x + LARGEST + 3, y + (4 if item.chosen else -8), words,
                         "key strong" if item.chosen else "key", "end" if left else "start"))
    return body


def bench_chart(rows: Sequence[tuple[str, dict[str, tuple[float, float]]]], host: str) -> str:
    """Draw what a row costs by form: (name, {batch: (median, p95) in ms of a call}), one under another; larger batches by their share."""
    batches = list(dict.fromkeys(batch for _, found in rows for batch in found))
    shares = [(name, [(found[batch][0] / int(batch), found[batch][1] / int(batch)) for batch in batches if batch in found])
              for name, found in rows]
    step, left = 20.0 + 10 * len(batches), 24.0 + max(extent(clip(name, 40)) for name, _ in rows)
    frame = Frame((0, 1), (0, 1), 560 + left, 44 + step * len(rows) + 46, left=left, right=92, top=30, bottom=46,
                  labels=(f"ms a row (logarithmic): median, line to the 95th percentile; {clip(host, 60)}", ""))
    frame = _log_frame([value for _, found in shares for both in found for value in both], frame, 0.05)
    body = _log_axes(frame)
    for index, batch in enumerate(batches):
        x = left + 120 * index
        body.append(f'<circle cx="{x:.1f}" cy="12" r="5" style="fill:var(--c{index + 1})"/>')
        body.append(text(x + 9, 16, f"batch {batch}", "key"))
    for number, (name, found) in enumerate(shares):
        y = 44 + step * number
        body.append(text(left - 14, y + 5 * len(found), clip(name, 40), "key", "end"))
        for index, (median, slow) in enumerate(found):
            at, across, end = y + 12 * index, frame.across(math.log10(median)), frame.across(math.log10(slow))
            body.append(stroke("whisker", [(across, at), (end, at)], f"c{index + 1}"))
            body.append(f'<circle cx="{across:.1f}" cy="{at:.1f}" r="4.5" style="fill:var(--c{index + 1})"/>')
            body.append(text(max(end, across) + 8, at + 4, milliseconds(median), "tick"))
    return svg(frame.width, frame.height, "milliseconds a row of each form", body)


def standalone(chart: str) -> str:
    """Return a chart as a file of its own: the colours and strokes of the page's style sheet inside, light and dark."""
    from importlib.resources import files

    style = files("bessemer.report").joinpath("style.css").read_text(encoding="utf-8")
    roots = style[:style.index("* { box-sizing")]
    rules = "\n".join(line for line in style.splitlines() if line.startswith(".chart ") and line.endswith("}"))
    head = chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    place = head.index(">") + 1
    return (head[:place] + f"<style>\n{roots}svg {{ background: var(--page); font-family: var(--sans); }}\n{rules}\n</style>"
            + head[place:] + "\n")


def shown_drop(item: Candidate, metric: str) -> str:
    """Return a drop with its interval as tables show it.

    >>> shown_drop(Candidate(name="a", drop=Value(value=0.004, low=-0.001, high=0.009)), "accuracy")
    '0.0040 [−0.001, 0.009]'
    """
    from bessemer.report.show import limits

    return f"{scored(item.drop, metric)} {limits(item.drop, metric)} {item.worst_target}".strip()
