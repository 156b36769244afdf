"""Rows that Python holds, as a table."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.data.columns import texts
from bessemer.data.given import table_of

NAType = type("NAType", (), {"__ne__": lambda self, other: self, "__bool__": lambda self: 1 // 0})
NaTType = type("NaTType", (datetime.datetime,), {"utcoffset": lambda self: 1 // 0})
NA, NAT = NAType(), NaTType(1, 1, 1)
"""As pandas', which this project does not need: the one answers no comparison, the other is a datetime that knows no zone."""


def _read(column: list[Any]) -> list[Any]:
    rows = table_of([{"x": value} for value in column], ["x"])
    assert rows == table_of({"x": column}, ["x"])
    found: list[Any] = texts(rows["x"]).to_pylist()
    return found


@pytest.mark.parametrize(("column", "wanted"), [
    (["a", math.nan, None], ["a", None, None]), ([1.5, math.nan], [1.5, None]), ([math.nan], [None]), ([True, math.nan], [True, None]),
    ([np.float32("nan"), np.float32(1)], [None, 1.0]), ([1, "a", math.nan], ["1", "a", None]), (["a", NA], ["a", None]),
    ([2, "a", NAT], ["2", "a", None]),
    ([datetime.date(2024, 1, 2), math.nan], [datetime.date(2024, 1, 2), None])])
def test_what_python_writes_for_a_missing_value_is_one(column, wanted):
    assert _read(column) == wanted


def test_texts_alone_may_be_missing_too():
    assert table_of(["a", math.nan, None], ["x"])["x"].to_pylist() == ["a", None, None]


def test_numpys_not_a_number_is_missing():
    assert table_of({"x": np.array([1.0, np.nan])}, ["x"])["x"].to_pylist() == [1.0, None]
    assert table_of({"x": np.array(["a", np.nan], object)}, ["x"])["x"] == pa.chunked_array([["a", None]])
