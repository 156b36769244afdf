"""Numbers read the same everywhere."""

from __future__ import annotations

import doctest

import pytest

from bessemer.report import show
from bessemer.report.part import Value


def test_examples_of_the_docstrings() -> None:
    found = doctest.testmod(show)
    assert (found.failed, found.attempted >= 6) == (0, True)


@pytest.mark.parametrize(("function", "value", "expected"), [
    (show.size, 999_960, "1.0 MB"), (show.size, 0, "0 B"), (show.size, 2 * 10**12, "2.0 TB"), (show.duration, 59.96, "1 min 0 s"),
    (show.duration, 60, "1 min 0 s"), (show.milliseconds, 0.41, "0.41 ms"), (show.milliseconds, 1234.0, "1,234 ms"),
    (show.chance, 0.00001, "< 0.0001"), (show.chance, 0.0625, "0.0625"), (show.times, None, "–"),
    (show.plain, float("nan"), "–"), (show.whole, 12_431, "12,431"), (show.bounds, Value(value=1.0), ""),
    (show.bounds, Value(value=0, low=-0.01, high=0.02), "[−0.010, 0.020]"),
])
def test_units(function: object, value: object, expected: str) -> None:
    assert function(value) == expected


def test_clean_and_clip() -> None:
    assert show.clean("a\x00\x85\ud800\tb\n好") == "a\ufffd\ufffd\ufffd\tb\n好"
    assert show.clip("abcdef", 4) == "abc…" and show.clip("abc", 4) == "abc"
