"""Rows that Python holds, as a table."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
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


@pytest.mark.parametrize("values", [
    ["x", None], ["x", ""], [1, None], [True, None], [1.5, None], [1.5, math.nan], [math.nan, None], [None], [], [1, 2.5], [1, math.nan],
    ["x", math.nan], [True, math.nan], [2**62, -1], [0.0, -0.0, math.inf]])
def test_values_of_one_kind_have_the_type_that_arrow_finds(values: list[Any]) -> None:
    expected = pa.array(values, from_pandas=True)
    found = table_of({"a": values}, ["a"])["a"].combine_chunks()
    assert found.type == expected.type and found.to_pylist() == expected.to_pylist()
    assert [math.copysign(1, value) for value in found.to_pylist() if isinstance(value, float)] == [
        math.copysign(1, value) for value in expected.to_pylist() if isinstance(value, float)]


def test_texts_alone_may_be_missing_too():
    assert table_of(["a", math.nan, None], ["x"])["x"].to_pylist() == ["a", None, None]


def test_numpys_not_a_number_is_missing():
    assert table_of({"x": np.array([1.0, np.nan])}, ["x"])["x"].to_pylist() == [1.0, None]
    assert table_of({"x": np.array(["a", np.nan], object)}, ["x"])["x"] == pa.chunked_array([["a", None]])


@pytest.mark.parametrize(("rows", "message"), [
    ([{"a": 1, "b": 2}, {"a": 1}], "row 2 has no column 'b', which the model reads; known are: a; give every row all columns, None where a "
                                   "value is missing"),
    ([{"a": 1, "b": 2}, {"a": 1, "b": 2}, {"b": 1}, {"a": 2}], "row 3 has no column 'a', which the model reads; known are: b; give every "
                                                               "row all columns, None where a value is missing"),
    ([{}, {"old": 1, "b": 2}], "row 1 has no column 'a', which the model reads; give every row all columns, None where a value is missing"),
    ([{"old": 1}, {"olds": 1}], "row 2 has no column 'a', which the model reads; known are: olds; give every row all columns, None where a "
                                "value is missing")])
def test_a_row_that_lacks_what_others_have_is_refused(rows, message):
    with pytest.raises(UserError) as caught:
        table_of(rows, ["a", "b"], {"a": ("old",)})
    assert str(caught.value) == message


def test_a_row_may_lack_what_the_model_does_not_read_and_name_a_column_as_its_source_did():
    found = table_of([{"a": 1, "b": 2, "y": 3}, {"old": 4, "b": None}, {"a": None, "old": 5, "b": 6, "z": "x"}],
                     ["a", "b"], {"a": ["old"]})
    assert found.select(["a", "b"]).to_pydict() == {"a": [1, 4, None], "b": [2, None, 6]}
    assert found["y"].to_pylist() == [3, None, None] and "old" not in found.column_names
    assert table_of([{"b": 1}, {"b": 2, "y": 1}], ["a", "b"])["b"].to_pylist() == [1, 2]  # no row has 'a': for the reader to say
    assert table_of([{0: 1}, {0: 2, 1: 3}], ["0"]).to_pydict() == {"0": [1, 2], "1": [None, 3]}


class Frame:
    """A data frame that has two columns of one name."""

    columns = ("a", "b", "a")

    def __arrow_c_stream__(self, requested_schema=None):
        raise ValueError(f"Duplicate column names found: {list(self.columns)}")  # as pandas has pyarrow say


@pytest.mark.parametrize("rows", [Frame(), {"a": [1], 1: [2], "1": [3]}])
def test_two_columns_of_one_name_are_refused(rows):
    with pytest.raises(UserError) as caught:
        table_of(rows, ["a"])
    assert str(caught.value) == f"the rows have 2 columns named '{'a' if isinstance(rows, Frame) else 1}'; rename or remove all but one"
