from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.types import Chunk
from bessemer.data import dates
from bessemer.data.clean import Plan, clean_rows
from bessemer.modalities import codec_of, modality_of
from bessemer.modalities.date import Date, date
from bessemer.predictors._cleaner import Cleaner
from tests.modalities.columns import codec, numbers, schema_of


@pytest.mark.parametrize(("text", "wanted"), [
    ("2023-01-05", "2023-01-05"), ("2023/1/5", "2023-01-05"), ("20230105", "2023-01-05"), ("2023年1月5日", "2023-01-05"),
    ("2023年12月31日 8时30分", "2023-12-31 08:30"), ("5.1.2023", "2023-01-05"), ("Jan 5, 2023", "2023-01-05"),
    ("5th January 2023", "2023-01-05"), ("5-Jan-2023", "2023-01-05"), ("2023-01-05T10:11:12Z", "2023-01-05 10:11:12"),
    ("2023-01-05 10:11:12.25+02:00", "2023-01-05 08:11:12.25"), ("2023-01-05T23:30:00-0130", "2023-01-06 01:00:00"),
    ("Jan 5, 2023 12:05 am", "2023-01-05 00:05"), ("2024-02-29", "2024-02-29"), ("1899-12-31", "1899-12-31"),
    ("2023-02-29", None), ("2023-13-01", None), ("2023-1", None), ("yesterday", None), ("2023-01-05 24:00", None), ("Foo 5, 2023", None)])
def test_forms(text, wanted):
    found = dates.parsed(pa.array([text]))
    assert found.valid[0] == (wanted is not None)
    if wanted:
        assert np.datetime64("1970-01-01", "us") + found.micros[0] == np.datetime64(wanted.replace(" ", "T"), "us")
    clean, why = date(Date()).clean(pa.array([text]))
    assert why.to_pylist() == [None if wanted else "no date"] and (clean[0].as_py() is None) == (wanted is None)


def test_days_equal_the_calendar():
    days = np.arange(-200_000, 200_000, 37)
    wanted = [datetime.date(1970, 1, 1) + datetime.timedelta(int(day)) for day in days]
    y, m, d = (np.array([getattr(day, part) for day in wanted]) for part in ("year", "month", "day"))
    assert np.array_equal(dates.days_of(y, m, d), days)
    month, weekday, of_year = dates.fields_of(days)
    assert np.array_equal(month, m) and weekday.tolist() == [day.weekday() for day in wanted]
    assert of_year.tolist() == [day.timetuple().tm_yday - 1 for day in wanted]


@pytest.mark.parametrize(("rows", "settings", "days"), [
    (["31/01/2023", "05/02/2023"], {}, 36), (["01/31/2023", "05/02/2023"], {}, 122), (["05/02/2023"], {"day_first": True}, 36),
    (["05/02/2023"], {"day_first": False}, 122)])
def test_which_way_round_is_learnt_or_said(tmp_path, rows, settings, days):
    column, own = codec(tmp_path, {"kind": "date", **settings}, pa.array(["2023-01-01", *rows]))
    step = (numbers(own.encode(pa.array(["05/02/2023", "2022-12-31"]))) * column.facts["std"])[:, 0]
    assert step[0] - step[1] == pytest.approx(days, abs=1e-3)


@pytest.mark.parametrize(("rows", "message"), [
    (["05/02/2023"], "1 training rows such as 05/01/2023 and none that shows whether the day comes first"),
    (["31/01/2023", "01/31/2023"], "1 training rows that can only be day first and 1 that can only be month first")])
def test_dates_that_could_be_two(tmp_path, rows, message):
    with pytest.raises(UserError, match=message):
        codec(tmp_path, "date", pa.array(rows))


MONTH_IN_DAY = "written month first, and the column is day first"
DAY_IN_MONTH = "written day first, and the column is month first"


@pytest.mark.parametrize(("day_first", "wanted", "reasons"), [
    (True, ["2021-04-03", "2021-12-25", None, "2021-06-05", "2021-12-25", None], [None, None, MONTH_IN_DAY, None, None, "no date"]),
    (False, ["2021-03-04", None, "2021-12-25", "2021-06-05", "2021-12-25", None], [None, DAY_IN_MONTH, None, None, None, "no date"]),
    (None, ["03/04/2021", "25/12/2021", "12/25/2021", "2021-06-05", "2021-12-25", None], [None, None, None, None, None, "no date"])])
def test_a_date_of_the_other_order_is_none(day_first, wanted, reasons):
    clean, why = date(Date(day_first=day_first)).clean(
        pa.array(["03/04/2021", "25/12/2021", "12/25/2021", "2021-06-05", "25.12.2021", "30/30/2021"]))
    assert clean.to_pylist() == wanted and why.to_pylist() == reasons


@pytest.mark.parametrize(("training", "other", "reason"), [
    (["25/12/2021", "03/04/2021"], "12/25/2021", MONTH_IN_DAY), (["12/25/2021", "03/04/2021"], "25/12/2021", DAY_IN_MONTH)])
def test_an_order_that_was_learnt_holds_for_rows_to_predict_and_held_out_ones(tmp_path, training, other, reason):
    column, own = codec(tmp_path, "date", pa.array(training))
    assert modality_of(column).clean(pa.array([*training, other]))[1].to_pylist() == [None, None, reason]
    with pytest.raises(UserError) as caught:
        Cleaner(schema_of([column]))(pa.table({"x": [training[1], other]}))
    assert str(caught.value) == (f"row 2: the column 'x' holds a value that the model cannot read: {reason}; correct it or leave this row "
                                 "out")
    with pytest.raises(UserError) as caught:
        own.encode(pa.array([training[0], other]))
    here, there = reason.removeprefix("written ").split(", and the column is ")
    assert str(caught.value) == (f"the column 'x' holds '{other}', written {here}, and its training rows are {there}; write them in one "
                                 "way, or say 'day_first', by which such rows are set aside")


def test_a_date_that_may_be_two_is_refused_where_the_training_rows_show_no_order(tmp_path):
    _, own = codec(tmp_path, "date", pa.array(["2021-12-25", "2021-04-03"]))
    same = own.encode(pa.array(["25/12/2021", "04/04/2021"]))  # one reading, and two that are the same
    assert np.array_equal(numbers(same)[0], numbers(own.encode(pa.array(["2021-12-25"])))[0])
    with pytest.raises(UserError) as caught:
        own.encode(pa.array(["2021-12-25", "03/04/2021"]))
    assert str(caught.value) == ("the column 'x' holds '03/04/2021', which may be day first or month first, and its training rows show "
                                 "neither; write the year first (2021-04-03), or train with 'day_first'")


def test_a_model_that_was_trained_before_orders_were_settled_answers_as_it_did(tmp_path):
    column, own = codec(tmp_path, "date", pa.array(["25/12/2021", "03/04/2021"]))
    facts = {name: value for name, value in column.facts.items() if name != "settled"}
    old = codec_of(column.model_copy(update={"facts": facts}), tmp_path)
    assert np.array_equal(numbers(old.encode(pa.array(["12/25/2021"]))), numbers(own.encode(pa.array(["25/12/2021"]))))


@pytest.mark.parametrize("values", [
    pa.array([np.nan, None]), pa.array([np.nan, np.nan]), pa.nulls(2), pa.nulls(2, pa.bool_()), pa.nulls(2, pa.list_(pa.int8())),
    pa.nulls(2, pa.float32()), pa.array([None, None], pa.dictionary(pa.int8(), pa.float64()))])
def test_a_column_without_any_value_is_missing_whatever_its_type(tmp_path, values):
    column, own = codec(tmp_path, "date", pa.array(["2023-01-05", None]))
    clean, why = modality_of(column).clean(values)
    assert (clean.to_pylist(), why.to_pylist()) == ([None, None], [None, None])
    assert np.array_equal(numbers(own.encode(values)), numbers(own.encode(pa.array(["", ""]))))
    assert Cleaner(schema_of([column]))(pa.table({"x": values}))["x"].to_pylist() == [None, None]


def test_a_type_that_is_none_of_dates_is_refused_by_the_columns_name(tmp_path):
    column, _ = codec(tmp_path, "date", pa.array(["2023-01-05"]))
    wanted = "a column of type double cannot be read as dates; expected dates, timestamps or text"
    with pytest.raises(UserError) as caught:
        Cleaner(schema_of([column]))(pa.table({"x": [1.5, np.nan]}))
    assert str(caught.value) == f"column 'x': {wanted}"
    chunk = Chunk(pa.table({"x": [1.5, np.nan]}), np.arange(1, 3))
    with pytest.raises(UserError) as caught:
        clean_rows(chunk, Plan({"x": modality_of(column).clean}, {}))
    assert str(caught.value) == f"column 'x' of 'the stream': {wanted}"


def test_features(tmp_path):
    values = pa.array(["2023-01-02 06:00", "2023-07-02", None])
    column, own = codec(tmp_path, "date", values)
    assert own.info["names"] == ["x days", "x month sin", "x month cos", "x weekday sin", "x weekday cos", "x day of year sin",
                                 "x day of year cos", "x time sin", "x time cos", "x missing"]
    found = numbers(own.encode(values))
    assert found[0, 1:] == pytest.approx([0, 1, 0, 1, np.sin(2 * np.pi / 366), np.cos(2 * np.pi / 366), 1, 0, 0], abs=1e-6)
    assert found[1, 3:5] == pytest.approx([np.sin(12 * np.pi / 7), np.cos(12 * np.pi / 7)], abs=1e-6)
    assert found[2].tolist() == [0] * 9 + [1]
    assert (column.facts["first"], column.facts["last"], column.facts["times"]) == ("2023-01-02", "2023-07-02", True)


def test_typed_dates_and_written_ones_are_one(tmp_path):
    typed = pa.array([datetime.date(2023, 1, 2), datetime.date(2024, 2, 29), None])
    _, own = codec(tmp_path, "date", typed)
    wanted = numbers(own.encode(typed))
    zoned = pa.array([datetime.datetime(2023, 1, 2), datetime.datetime(2024, 2, 29), None], pa.timestamp("ms", tz="Asia/Tokyo"))
    for other in (pa.array(["2023年1月2日", "Feb 29, 2024", ""]), typed.cast(pa.timestamp("s")), zoned, typed.cast(pa.date64())):
        assert np.array_equal(numbers(own.encode(other)), wanted)


def test_a_column_without_any_time_is_read_as_one_with_some():
    days = ["2020-01-02", "31.12.1999", "20200102", "5/2/2023", "March 5, 2021", None, "no day"]
    timed = dates.parsed(pa.array([*days, "2020-01-02 10:30:15.5+01:00"]))
    plain = dates.parsed(pa.array(days))
    for part in ("micros", "swapped", "valid", "open", "day_first", "month_first"):
        assert getattr(timed, part)[:-1].tobytes() == getattr(plain, part).tobytes()
        for row, text in enumerate(days):
            assert getattr(dates.parsed(pa.array([text], pa.string())), part)[0] == getattr(plain, part)[row]


def test_one_row_makes_no_arrow_value_anew():
    """Each plain value that becomes one of Arrow's looks for a package that may be missing, which took most of a row's time."""
    import importlib.abc
    import sys

    class Looked(importlib.abc.MetaPathFinder):
        names: list[str] = []

        def find_spec(self, name, path=None, target=None):
            self.names.append(name)

    rows, plain = pa.array(["2020-01-02 10:00"]), date(Date(day_first=True))
    plain.clean(rows)
    finder = Looked()
    sys.meta_path.insert(0, finder)
    try:
        plain.clean(rows)
    finally:
        sys.meta_path.remove(finder)
    assert Looked.names == []
