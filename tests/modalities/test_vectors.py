from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities import codec_of, modality_of
from bessemer.modalities.vectors import open_vectors
from tests.modalities.columns import codec, fitted, numbers

N = 400
RNG = np.random.default_rng(0)
HOLES = pa.array([None if i % 9 == 0 else float(v) for i, v in enumerate(np.exp(RNG.standard_normal(N)))])


def opened(folder, settings):
    columns, data = [], {}
    for name, (config, values) in settings.items():
        column, data[name] = fitted(folder, name, config, values)
        columns.append(column)
    schema = Schema(columns=(*columns, Column(name="weight", role=Role.WEIGHT, modality={"kind": "weight"})))
    return open_vectors(schema, folder), pa.table(data), columns


SETTINGS = {
    "a": ({"kind": "number", "scale": "standard"}, pa.array(RNG.standard_normal(N))), "b": ("number", HOLES),
    "c": ("category", pa.array(RNG.choice(["x", "y", None], N))), "d": ({"kind": "number", "scale": "bins", "bins": 5}, HOLES),
    "e": ({"kind": "category", "encoding": "one_hot"}, pa.array(RNG.choice(["x", "y"], N))),
    "f": ("date", pa.array(["2023-01-05", None, "2024-02-03 10:00", "2021-06-07"] * (N // 4))),
    "g": ({"kind": "words", "components": 3}, pa.array(RNG.choice(["good thing", "bad 东西", None, "other"], N))),
    "h": ({"kind": "vector", "scale": "standard"}, pa.array(RNG.standard_normal((N, 3)).tolist())),
    "i": ("boolean", pa.array([True, None] * 200)),
    "j": ({"kind": "number", "scale": "none", "outliers": "clip"}, HOLES), "k": ({"kind": "number", "scale": "robust"}, HOLES)}


def test_a_table_its_rows_and_its_columns_are_bit_equal(tmp_path):
    vectors, table, columns = opened(tmp_path, SETTINGS)
    whole, codes = vectors.encode(table)
    info = vectors.info
    assert whole.shape == (N, info["numbers"]) and codes.shape == (N, 2) and info["cardinalities"] == [4, 3]
    assert whole.dtype == np.float32 and codes.dtype == np.int32 and whole.flags.c_contiguous and codes.flags.c_contiguous
    assert len(info["names"]) == len(info["edges"]) == info["numbers"] and np.isfinite(whole).all()
    for row in range(0, N, 7):
        one, code = vectors.encode(table.slice(row, 1))
        assert np.array_equal(one[0], whole[row]) and np.array_equal(code[0], codes[row])
    for column in columns:
        n0, n1, c0, c1 = info["columns"][column.name]
        stored = codec_of(column, tmp_path).encode(table[column.name].combine_chunks())
        assert n0 == n1 or np.array_equal(numbers(stored), whole[:, n0:n1])
        assert c0 == c1 or np.array_equal(stored["codes"].flatten().to_numpy(), codes[:, c0])
    again, _ = vectors.encode(pa.concat_tables([table.slice(0, 13), table.slice(13)]))
    assert np.array_equal(again, whole)


def test_many_columns_with_a_large_block_are_those_of_single_rows(tmp_path):
    values = np.exp(RNG.standard_normal((1000, 12)) * 2)
    settings = {f"n{i}": ({"kind": "number", "scale": ("quantile", "standard")[i > 8]}, pa.array(values[:, i])) for i in range(12)}
    vectors, table, _ = opened(tmp_path, settings)
    whole, codes = vectors.encode(table)
    assert codes.shape == (1000, 0)
    assert all(np.array_equal(vectors.encode(table.slice(row, 1))[0][0], whole[row]) for row in range(0, 1000, 50))
    assert vectors.encode(table.slice(0, 0))[0].shape == (0, 12)


def test_knots_side_by_side_have_the_bits_of_each_column(tmp_path):
    values = np.exp(RNG.standard_normal((300, 40)) * 3).round(1)
    kinds = [{"kind": "number"}, {"kind": "number", "indicator": True, "clip": 2.0}, {"kind": "number", "scale": "robust"},
             {"kind": "number", "scale": "bins", "bins": 5}, {"kind": "number", "quantiles": 20}]
    holes = [pa.array(values[:, i], mask=values[:, i] < 0.05 * (i % 3)) for i in range(40)]
    vectors, table, _ = opened(tmp_path, {f"n{i}": (kinds[max(0, i - 35)], column) for i, column in enumerate(holes)})
    far = pa.table({name: [-1e9, 0.0, 1e9, None] for name in table.column_names})
    rows = pa.concat_tables([table, far, table.slice(0, 1)])
    whole, _ = vectors.encode(rows)
    assert all(np.array_equal(vectors.encode(rows.slice(row, 1))[0][0], whole[row]) for row in [*range(0, 300, 20), *range(300, 305)])
    assert np.array_equal(vectors.encode(rows.slice(298, 7))[0], whole[298:])


def test_float32_columns_are_as_their_float64(tmp_path):
    values = RNG.standard_normal(500).astype(np.float32)
    vectors, _, _ = opened(tmp_path, {name: ("number", pa.array(values)) for name in "ab"})
    short, long = (pa.table({name: pa.array(values.astype(kind)) for name in "ab"}) for kind in (np.float32, np.float64))
    assert np.array_equal(vectors.encode(short)[0], vectors.encode(long)[0])
    with pytest.raises(UserError, match="the column 'b' is of type int64; expected clean numbers"):
        vectors.encode(pa.table({"a": values, "b": np.arange(500)}))


def test_one_unscaled_vector_is_not_copied(tmp_path):
    rows = RNG.standard_normal((50, 8)).astype(np.float32)
    values = pa.array(rows.tolist(), pa.list_(pa.float32()))
    vectors, table, _ = opened(tmp_path, {"v": ("vector", values)})
    clean = table["v"].chunk(0)
    found, codes = vectors.encode(table)
    assert np.array_equal(found, rows) and codes.shape == (50, 0)
    assert found.ctypes.data == clean.values.to_numpy().ctypes.data


def test_vectors_of_text_and_of_other_lengths(tmp_path):
    column, own = codec(tmp_path, {"kind": "vector", "width": 2}, pa.array(["[1, 2]", "3 -4e1", "1,2,3"]))
    assert numbers(own.encode(pa.array(["[1, 2]", "3 -4e1"]))).tolist() == [[1, 2], [3, -40]] and column.facts["count"] == 2
    with pytest.raises(UserError, match="lists of 2 and of 3 numbers"):
        codec(tmp_path / "two", "vector", pa.array([[1.0, 2.0], [1.0, 2.0, 3.0]]))


def test_a_list_of_another_length_than_the_training_rows_is_none(tmp_path):
    column, own = codec(tmp_path, "vector", pa.array([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(UserError, match="holds a list of 1 numbers, and its training rows have 2; give 'width', and rows with another are"):
        own.encode(pa.array([[1.0, 2.0], [3.0]]))
    for values in (pa.array([[1.0, 2.0], [3.0], None]), pa.array(["1 2", "3", None])):
        assert modality_of(column).clean(values)[1].to_pylist() == [None, "1 numbers, not 2", "missing"]
