"""Charts of numbers: marks land where they belong, numbers of any size and constant ones do not break them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from bessemer.report import plots, svg


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_numbers_of_any_size_are_drawn_alike(scale: float) -> None:
    drawn = plots.scatter([(1 * scale, 1 * scale), (2 * scale, 3 * scale)])
    ElementTree.fromstring(drawn)
    dots = [(float(x), float(y)) for x, y in re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    one = plots.scatter([(1.0, 1.0), (2.0, 3.0)])
    assert dots == [(float(x), float(y)) for x, y in re.findall(r'class="dot" cx="([\d.]+)" cy="([\d.]+)"', one)]
    bars = plots.histogram([-scale, 0.0, scale], [3, 1], (0.0, "no error"))
    ElementTree.fromstring(bars)
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', bars)]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2) and "no error" in bars
    assert len(set(re.findall(r'class="tick"[^>]*>([^<]+)<', drawn))) >= 4


@pytest.mark.parametrize("value", [0.0, 5.0, -3e20])
def test_constant_numbers_are_drawn(value: float) -> None:
    for drawn in (plots.scatter([(value, value)]), plots.histogram([value, value], [7], (0.0, "no error"))):
        ElementTree.fromstring(drawn)
        assert "nan" not in drawn and "inf" not in drawn


def test_quantiles_show_their_gap_and_a_spark_its_tips() -> None:
    drawn = plots.quantiles([(0.05, 0.12), (0.95, 0.95)])
    assert "level 0.050: 12.0% of rows" in drawn and drawn.count("<circle") == 2
    small = plots.spark([0.5, 0.25, 0.0], [0.1, 0.2, 0.7], ["a<b", "c", "d"], "values of x & y")
    ElementTree.fromstring(small)
    assert small.count("<rect") == 3 and small.count("<polyline") == 3 and "a&lt;b" in small and "x &amp; y" in small
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', small)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.11) and heights[2] == 0
    ElementTree.fromstring(plots.spark([0.0], [], ["a"], "x"))


def test_ticks_of_small_and_large_numbers_are_told_apart() -> None:
    assert svg.ticks(0, 1e-12) == [0, 2e-13, 4e-13, 6e-13, 8e-13, 1e-12]
    assert [svg.tick_text(value) for value in (2e12, 2.5e7, 1_500_000)] == ["2e12", "2.5e7", "1500k"]
