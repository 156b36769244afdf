"""The front is Pareto's, the choice follows its rule, the sentence says what is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.search.front import Limits, Point, beyond, choose, dominates, pareto

COSTS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=24)


@given(COSTS)
def test_front_is_what_nothing_dominates(costs: list[tuple[int, int, int]]) -> None:
    kept = pareto(costs)
    assert any(kept)
    for one, on in zip(costs, kept, strict=True):
        better = [other for other in costs if all(a <= b for a, b in zip(other, one, strict=True)) and other != one]
        assert on == (not better)
        if not on:  # whoever is not on the front is dominated by one who is
            assert any(dominates(other, one) for other, stays in zip(costs, kept, strict=True) if stays)


@given(COSTS)
def test_front_does_not_depend_on_the_order(costs: list[tuple[int, int, int]]) -> None:
    assert pareto(costs[::-1]) == pareto(costs)[::-1]


POINTS = st.lists(st.builds(lambda drop, size, late: Point(f"{drop} {size} {late}", drop / 1000, size * 1_000_000, float(late)),
                            st.integers(-5, 30), st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=15)


@given(POINTS, st.integers(1, 40), st.integers(1, 40), st.integers(0, 20))
def test_choice_meets_the_budget_wherever_one_does(points: list[Point], size: int, late: int, drop: int) -> None:
    limits = Limits(drop / 1000, size_mb=size, latency_ms=late)
    found = choose(points, limits, lambda _best, _other: False)
    fitting = [point for point in points if point.drop <= drop / 1000 + 1e-9 and point.size_bytes <= size * 1_000_000
               and point.latency_ms <= late]
    assert found.reached == bool(fitting)
    chosen = points[found.index]
    if fitting:
        assert chosen in fitting and chosen.drop == min(point.drop for point in fitting)
    else:
        assert found.why.startswith(f"not reachable; the nearest is {chosen.name}: ")
        excess = [sum(limits.over(point).values()) for point in points]
        assert sum(limits.over(chosen).values()) == min(excess)
    all_alike = choose(points, limits, lambda _best, _other: True)
    if fitting:
        assert points[all_alike.index].latency_ms == min(point.latency_ms for point in fitting)


def test_the_smallest_is_chosen_where_the_budget_limits_only_the_size() -> None:
    points = [Point("small and slow", 0.002, 1_000_000, 9.0), Point("large and fast", 0.001, 5_000_000, 1.0)]
    assert choose(points, Limits(0.01, size_mb=10), lambda _best, _other: True).index == 0
    assert choose(points, Limits(0.01, size_mb=10, latency_ms=20), lambda _best, _other: True).index == 1


def test_what_is_not_sure_to_keep_to_the_drop_is_not_chosen_for_its_speed() -> None:
    slow = Point("slow", 0.001, 1_000_000, 9.0, error=0.002)
    fast = Point("fast", 0.004, 1_000_000, 1.0, error=0.003)
    limits = Limits(0.005, latency_ms=10)
    assert choose([slow, fast], limits, lambda _best, _other: True).index == 0  # 0.004 + 0.003 is over 0.005
    assert choose([slow, replace(fast, error=0.0005)], limits, lambda _best, _other: True).index == 1
    unsure = choose([replace(slow, error=0.01), fast], limits, lambda _best, _other: True)
    assert unsure.index == 0 and unsure.why.endswith(
        "(whether it loses more than 0.005 only more validation rows could tell: one standard error is 0.0100)")


@pytest.mark.parametrize(("point", "expected"), [
    (Point("a", 0.02, 15_000_000, 3.0), "15.0 MB of 10, a drop of 0.0200 of 0.005"),
    (Point("a", 0.0, 1_000_000, 7.5, 300_000_000), "7.50 ms of 5, 300 MB of memory of 200")])
def test_what_is_over_is_said(point: Point, expected: str) -> None:
    assert beyond(point, Limits(0.005, 10, 5, 200)) == expected
