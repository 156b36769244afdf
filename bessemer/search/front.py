"""Which candidates are on the Pareto front, which one a budget chooses, and how far the others are from it. Plain numbers, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MB = 1_000_000
SLACK = 0.05
NEAREST_DROP = 0.005


@dataclass(frozen=True)
class Point:
    """What is known of a candidate.

    Attributes:
        name: shown to people.
        drop: what it loses against the trained network on the validation rows, in the unit of the score; below 0 where it gains.
        size_bytes: every file that it needs.
        latency_ms: of one row.
        memory_bytes: peak of a process that serves it; None where it was not measured.
        error: standard error of the drop.
    """

    name: str
    drop: float
    size_bytes: int
    latency_ms: float
    memory_bytes: int | None = None
    error: float = 0.0

    @property
    def costs(self) -> tuple[float, float, float]:
        """Return what is minimised: drop, bytes, milliseconds."""
        return (self.drop, float(self.size_bytes), self.latency_ms)


@dataclass(frozen=True)
class Limits:
    """A budget; None: no limit.

    Attributes:
        accuracy_drop: the most that may be lost.
        size_mb: millions of bytes.
        latency_ms: of one row, median.
        memory_mb: millions of bytes at the peak.
    """

    accuracy_drop: float
    size_mb: float | None = None
    latency_ms: float | None = None
    memory_mb: float | None = None

    def plain(self) -> dict[str, float]:
        """Return the limits that there are."""
        found = {"size_mb": self.size_mb, "latency_ms": self.latency_ms, "accuracy_drop": self.accuracy_drop, "memory_mb": self.memory_mb}
        return {name: value for name, value in found.items() if value is not None}

    def over(self, point: Point, slack: float = 0.0) -> dict[str, float]:
        """Return how far a point is over each limit that it does not meet, relative to the limit (of a drop: to at least 0.005).

        >>> Limits(0.01, size_mb=10).over(Point("a", 0.0, 15_000_000, 3.0))
        {'size_mb': 0.5}
        """
        found = dict(self.costly(point.size_bytes, point.latency_ms, point.memory_bytes, slack))
        if point.drop > self.accuracy_drop + 1e-12:
            found["accuracy_drop"] = (point.drop - self.accuracy_drop) / max(self.accuracy_drop, NEAREST_DROP)
        return found

    def costly(self, size_bytes: int, latency_ms: float, memory_bytes: int | None = None, slack: float = 0.0) -> dict[str, float]:
        """Return the same of what can be measured before training; `slack` widens limits that a clock decides."""
        checked: tuple[tuple[str, float | None, float | None], ...] = (
            ("size_mb", size_bytes / MB, self.size_mb), ("latency_ms", latency_ms / (1 + slack), self.latency_ms),
            ("memory_mb", None if memory_bytes is None else memory_bytes / MB / (1 + slack), self.memory_mb))
        return {name: value / limit - 1 for name, value, limit in checked
                if limit is not None and value is not None and value > limit}


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether the first is nowhere more and somewhere less than the second.

    >>> dominates((1, 2), (1, 3)), dominates((1, 2), (1, 2)), dominates((0, 9), (1, 2))
    (True, False, False)
    """
    return all(a <= b for a, b in zip(first, second, strict=True)) and any(a < b for a, b in zip(first, second, strict=True))


def pareto(costs: Sequence[Sequence[float]]) -> list[bool]:
    """Return which of several points no other dominates; equal ones stand or fall together.

    >>> pareto([(1, 5), (2, 2), (3, 3), (5, 1)])
    [True, True, False, True]
    """
    return [not any(dominates(other, one) for other in costs) for one in costs]


@dataclass(frozen=True)
class Choice:
    """What a budget chooses.

    Attributes:
        index: of the candidate.
        reached: whether it meets every limit.
        why: one sentence.
    """

    index: int
    reached: bool
    why: str


def choose(points: Sequence[Point], limits: Limits, alike: Callable[[int, int], bool]) -> Choice:
    """Choose one of several candidates (at least one).

    The rule: among those that meet every limit, and whose drop stays within its limit with one standard error added, the one that loses
    least is found; of those of them that lose no more than it within one standard error of their difference, the fastest is chosen (the
    smallest, where the budget limits only the size), as Breiman et al. 1984 choose the simplest tree. Where the rows are too few to be
    so sure of any, the one that loses least: whoever chooses the fastest of many by their luck on few rows loses more on others. Where
    none meets every limit: the one whose excesses, each relative to its limit, add up to least.

    Args:
        points: the candidates.
        limits: the budget.
        alike: (index of the best, index of another) -> whether their qualities are within one standard error on the same rows.
    """
    fitting = [index for index, point in enumerate(points) if not limits.over(point)]
    if not fitting:
        excess = [sum(limits.over(point).values()) for point in points]
        index = min(range(len(points)), key=lambda item: (excess[item], points[item].costs))
        return Choice(index, False, f"not reachable; the nearest is {points[index].name}: {beyond(points[index], limits)}")
    by_size = limits.size_mb is not None and limits.latency_ms is None

    def cost(index: int) -> tuple[float, ...]:
        point = points[index]
        return (point.size_bytes, point.latency_ms) if by_size else (point.latency_ms, point.size_bytes)

    sure = [index for index in fitting if points[index].drop + points[index].error <= limits.accuracy_drop + 1e-12]
    best = min(sure or fitting, key=lambda index: (points[index].drop, *cost(index)))
    near = [index for index in sure if index == best or alike(best, index)] or [best]
    index = min(near, key=cost)
    if len(near) == 1:
        why = f"{points[index].name} loses least of the {counted(len(fitting))} within the budget"
    else:
        what = "smallest" if by_size else "fastest"
        why = (f"{points[index].name} is the {what} of the {counted(len(near))} that lose no more, within one standard error, than the "
               f"best of the {len(fitting)} within the budget")
    if not sure:
        why += (f" (whether it loses more than {limits.accuracy_drop:g} only more validation rows could tell: one standard error is "
                f"{points[index].error:.4f})")
    return Choice(index, True, why)


def counted(number: int) -> str:
    """Return a count of candidates.

    >>> counted(1), counted(3)
    ('1 candidate', '3 candidates')
    """
    return f"{number} candidate{'' if number == 1 else 's'}"


def beyond(point: Point, limits: Limits) -> str:
    """Return what a point is over, as a person says it.

    >>> beyond(Point("a", 0.02, 15_000_000, 3.0), Limits(0.005, size_mb=10))
    '15.0 MB of 10, a drop of 0.0200 of 0.005'
    """
    over = limits.over(point)
    words: Mapping[str, str] = {
        "size_mb": f"{_brief(point.size_bytes / MB)} MB of {limits.size_mb:g}" if limits.size_mb else "",
        "latency_ms": f"{point.latency_ms:.2f} ms of {limits.latency_ms:g}" if limits.latency_ms else "",
        "memory_mb": f"{(point.memory_bytes or 0) / MB:.0f} MB of memory of {limits.memory_mb:g}" if limits.memory_mb else "",
        "accuracy_drop": f"a drop of {point.drop:.4f} of {limits.accuracy_drop:g}"}
    return ", ".join(words[name] for name in over)


def _brief(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"
