"""The front is drawn whole, a file of its own is a picture that any viewer opens, and names cannot break out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bessemer.report.front import Front, bench_chart, decades, front_chart, standalone
from tests.report.conftest import HOSTILE, make_front


def test_front_draws_every_candidate_that_was_measured() -> None:
    front = Front.model_validate(make_front())
    drawn = front_chart(front)
    circles = re.findall(r"<circle[^>]*>", drawn)
    assert len(circles) == 5  # the trained network and four candidates; the dropped one has no quality
    radii = sorted(float(found) for found in re.findall(r'circle[^>]* r="([0-9.]+)"', drawn))
    assert radii[-1] == 15.0 and radii[0] == 3.5  # the area is the size: the largest of 90.9 MB, the least drawn large enough to see
    assert drawn.count("class=\"mark\"") == 2 and "within the budget" in drawn
    assert "<img" not in drawn and "alert(" in drawn and "<script" not in drawn


def test_front_of_one_point_is_no_chart() -> None:
    front = Front.model_validate({**make_front(), "candidates": []})
    assert front_chart(front) == ""


def test_a_file_of_its_own_is_well_formed_and_has_its_colours() -> None:
    rows = [("a", {"1": (1.0, 1.5), "16": (8.0, 9.0)}), (HOSTILE, {"1": (0.1, 0.2), "16": (0.8, 0.9)})]
    alone = standalone(bench_chart(rows, "x86, 2 cores"))
    root = ElementTree.fromstring(alone)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None and "--c1:" in str(style.text) and "prefers-color-scheme: dark" in str(style.text)
    assert ">0.50 ms<" in alone and "8.00 ms" not in alone  # a call of 16 rows is shown by the row


@pytest.mark.parametrize(("low", "high", "expected"), [(0.4, 30, [0.5, 1, 2, 5, 10, 20]), (0.01, 100, [0.01, 0.1, 1, 10, 100])])
def test_decades(low: float, high: float, expected: list[float]) -> None:
    assert decades(low, high) == expected
