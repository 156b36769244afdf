"""What `init` takes for numbers is what a run reads as numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from bessemer.data.leaks import _same_order
from bessemer.data.numerals import numbers_of
from bessemer.data.written import as_code, as_numbers, floats, goes_up_by_one

FORMS = {"auto": ["1", "-2.5", "\u22123", "+4e3", ".5", "5.", "inf", "-Infinity", "∞", "1e400", "1,234.5", "1,234,567", None],
         ".": ["1,234", "\u22127,000", "12", None], ",": ["1,5", "1.234,5", "\u22122,25", "7", None]}


@pytest.mark.parametrize("decimal", FORMS)
def test_numbers_are_those_that_a_run_reads(decimal: str) -> None:
    words = pa.array(FORMS[decimal], pa.string())
    read, strange = numbers_of(words, ("",), decimal)
    assert strange.true_count == 0
    np.testing.assert_array_equal(floats(words, decimal), read.fill_null(float("nan")).to_numpy(zero_copy_only=False))
    values = words.drop_null()
    if decimal != "auto":
        found = as_numbers(values)
        assert found is not None and found["decimal"] == decimal


@pytest.mark.parametrize(("values", "code"), [
    (["09227", "10115", "00001"], True), (["10115", "10117"], False), (["0", "1"], False), (["007", "07"], False), (["01", "1.5"], False)])
def test_codes_of_digits(values: list[str], code: bool) -> None:
    assert (as_code(pa.array(values)) is not None) == code


@pytest.mark.parametrize(("values", "runs"), [
    (["7", "8", "9"], True), (["-1", "0", "+1"], True), (["4.0", "5.0"], True), (["1", "3"], False), (["2", "1"], False),
    (["1", "x"], False),
    ([str(10**17 + i) for i in range(3)], True), ([str(10**30 + i) for i in range(3)], False)])
def test_runs_of_whole_numbers(values: list[str], runs: bool) -> None:
    assert goes_up_by_one(pa.array(values)) == runs


def test_the_rank_correlation_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    y_N = np.round(generator.normal(size=300), 2)
    x_N = -np.exp(y_N) + generator.normal(size=300) * 1e-4
    x_N[:5] = np.nan
    assert _same_order(x_N, y_N) == pytest.approx(float(spearmanr(x_N[5:], y_N[5:]).statistic), abs=1e-12)
    assert _same_order(x_N + generator.normal(size=300) * 0.1, y_N) == 0 == _same_order(x_N[:100], y_N[:100])
