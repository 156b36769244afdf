"""Charts: values land where they belong, labels are escaped, extremes do not break them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from bessemer.report import svg
from bessemer.report.svg import Line


def test_ticks_are_round_and_inside() -> None:
    assert svg.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg.ticks(0.887, 0.921) == [0.89, 0.895, 0.9, 0.905, 0.91, 0.915, 0.92]
    assert svg.ticks(3, 3) == [3]
    assert [svg.tick_text(value) for value in (0, 2e-5, 2.5e-5, 0.25, 15_000)] == ["0", "2e-5", "2.5e-5", "0.25", "15k"]


def test_a_line_spans_its_frame() -> None:
    drawn = svg.lines([Line("loss", [0, 10], [4.0, 0.0])], "loss", ("step", ""))
    points = re.search(r'class="line" points="([^"]+)"', drawn).group(1)
    assert points == "56.0,39.6 424.0,200.0"  # 4.0 has 6% air above, 0 is the floor


@pytest.mark.parametrize("ys", [[1.0], [1.0, 1.0], [-3.0, -3.0], [0.0, 0.0], [1e-9, 1e9], [0.5] * 5000])
def test_extreme_lines_are_well_formed(ys: list[float]) -> None:
    drawn = svg.lines([Line("a<b", list(range(len(ys))), ys)] * 2, "a & b", ("step", ""))
    ElementTree.fromstring(drawn)
    assert "nan" not in drawn and len(drawn) < 30_000


def test_heat_map_has_a_cell_a_pair_and_keeps_the_largest_classes() -> None:
    drawn = svg.heat_map([[8, 2], [0, 0]], ["no", "<yes>"])
    ElementTree.fromstring(drawn)
    assert drawn.count("<title>") == 4 and "no → no: 8 (80.0%)" in drawn and "&lt;yes&gt;" in drawn
    many = svg.heat_map([[int(row == column) * row for column in range(60)] for row in range(60)],
                        [f"c{code}" for code in range(60)])
    assert many.count("<title>") == svg.MAX_CELLS**2 and "c59 → c59" in many and "c3 → c3" not in many


def test_other_charts_are_well_formed_and_true() -> None:
    whiskers = svg.whiskers([("a", 0.9, 0.88, 0.92, True), ("无", 0.8, None, None, False)], "accuracy")
    assert whiskers.count('class="whisker"') == 1
    funnel = svg.funnel(75, [("dup", 25), ("none", 0)], "f")
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', funnel)]
    assert widths == [539.0, 179.0] and "dup: 25 (25.0%)" in funnel
    roc = svg.roc([Line("a", [0, 0, 1], [0, 1, 1])])
    reliability = svg.reliability([(0.8, 0.9, 0.85, 0.5, 10)])
    assert "mean 0.8500, accuracy 0.5000, 10 rows" in reliability
    for drawn in (whiskers, funnel, roc, reliability, svg.funnel(0, [], "empty"), svg.roc([]), svg.reliability([])):
        ElementTree.fromstring(drawn)
