"""The one function that makes crosses."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bessemer.data.crosses import bases, crossed, name_of, with_crosses


def test_numbers_give_their_product_and_missing_where_one_is() -> None:
    a, b = pa.array([1.5, -2.0, None, 1e100, 1e80]), pa.array([2.0, 3.0, 1.0, -1e100, 1e60])
    assert crossed([a, b]).to_pylist() == [3.0, -6.0, None, None, 1e80 * 1e60]
    assert crossed([a, b, pa.array([2, 2, 2, 0, 0])]).to_pylist() == [6.0, -12.0, None, -0.0, 0.0]
    short = pa.array(np.array([0.1, 0.7], np.float32))
    assert crossed([short, short]).to_pylist() == [float(np.float32(value)) ** 2 for value in (0.1, 0.7)]


def test_words_give_their_pair_and_different_words_never_the_same() -> None:
    a, b = pa.array(["x", "x × y", "x", None, ""]), pa.array(["y × z", "z", "y", "y", "y"])
    assert crossed([a, b]).to_pylist() == ["x × y ×× z", "x ×× y × z", "x × y", None, " × y"]
    strange = ["p", "p ×", "× p", "×", "p × q", "××", "p ×× q"]
    pairs = crossed([pa.array([one for one in strange for _ in strange]), pa.array(strange * len(strange))])
    assert len(set(pairs.to_pylist())) == len(strange) ** 2


def test_a_row_alone_has_the_bits_that_it_has_among_others() -> None:
    rng = np.random.default_rng(0)
    columns = [pa.array(rng.standard_normal(1000) * 10.0 ** rng.integers(-20, 20, 1000)) for _ in range(3)]
    whole = crossed(columns)
    assert all(crossed([column.slice(row, 1) for column in columns]).equals(whole.slice(row, 1)) for row in range(0, 1000, 7))


def test_crosses_stand_after_the_columns_that_they_are_made_of() -> None:
    crosses = {name_of(["b", "a"]): ("b", "a")}
    assert bases(["c", "b × a", "a"], crosses) == ["c", "b", "a"]
    found = with_crosses({"a": pa.array([2.0]), "b": pa.array([3.0])}, crosses)
    assert {name: values.to_pylist() for name, values in found.items()} == {"a": [2.0], "b": [3.0], "b × a": [6.0]}
