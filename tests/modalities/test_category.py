from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.modalities.category import check_target
from tests.modalities.columns import codec, numbers

VALUES = pa.array(["b"] * 5 + ["a"] * 3 + ["rare"] + [None])


def codes(own, values):
    return own.encode(pa.array(values, pa.string()))["codes"].flatten().to_pylist()


def test_codes_of_an_input(tmp_path):
    column, own = codec(tmp_path, "category", VALUES)
    assert column.labels == ("a", "b", "rare") and own.info["cardinalities"] == [5]
    assert codes(own, ["a", "b", "rare", None, "new", " a "]) == [2, 3, 4, 1, 0, 2]


def test_without_missing_in_training_it_is_unknown(tmp_path):
    _, own = codec(tmp_path, "category", VALUES.drop_null())
    assert own.info["cardinalities"] == [4] and codes(own, ["a", None, "new"]) == [1, 0, 0]


def test_rare_values_share_the_code_of_unknown_ones(tmp_path):
    for place, settings in enumerate(({"min_count": 2}, {"max_categories": 2})):
        column, own = codec(tmp_path / str(place), {"kind": "category", **settings}, VALUES)
        assert column.labels == ("a", "b") and codes(own, ["rare", "b"]) == [0, 3]
        with pytest.raises(UserError, match="the target has 3 labels in the training rows, of which 'max_categories'"):
            check_target(column.labels, column.facts)


def test_one_hot(tmp_path):
    _, own = codec(tmp_path, {"kind": "category", "encoding": "one_hot"}, VALUES)
    assert own.info["names"] == ["x = a", "x = b", "x = rare", "x unknown", "x missing"]
    assert np.array_equal(numbers(own.encode(pa.array(["a", "b", "rare", "new", None]))), np.eye(5))


def test_hash_needs_no_vocabulary(tmp_path):
    column, own = codec(tmp_path, {"kind": "category", "encoding": "hash", "buckets": 50, "max_categories": 5},
                        pa.array([f"key {i}" for i in range(1000)]))
    found = codes(own, [f"key {i}" for i in range(2000)])
    assert column.labels == () and own.info["cardinalities"] == [51] and min(found) >= 1 and set(found) == set(range(1, 51))
    assert codes(own, [None]) == [0]


def test_a_target_is_as_it_was(tmp_path):
    column, own = codec(tmp_path, "category", VALUES.drop_null(), "target")
    assert column.facts == {"counts": {"a": 3, "b": 5, "rare": 1}} and own.info == {"labels": ["a", "b", "rare"], "num_labels": 3}
    assert own.encode(pa.array(["rare", None, "a", "new"]))["codes"].to_pylist() == [2, -1, 0, -1]
    check_target(column.labels, column.facts)


def test_quantities_and_identifiers_are_no_target(tmp_path):
    column, _ = codec(tmp_path, "category", pa.array([f"{i}.5" for i in range(300)]))
    with pytest.raises(UserError, match="300 different values in 300 rows, so it is a quantity or an identifier; give it the kind"):
        check_target(column.labels, column.facts)


def test_boolean(tmp_path):
    values = pa.array(["yes", "NO", "是", "否", "1", "", "ja", "Nein"])
    column, own = codec(tmp_path, "boolean", values)
    assert column.facts == {"counts": {"false": 3, "true": 4}, "missing": 1} and own.info["cardinalities"] == [4]
    assert own.encode(values)["codes"].flatten().to_pylist() == [3, 2, 3, 2, 3, 1, 3, 2]
    assert own.encode(pa.array([True, False, None]))["codes"].flatten().to_pylist() == [3, 2, 1]
    assert own.encode(pa.array([1, 0]))["codes"].flatten().to_pylist() == [3, 2]


def test_multilabel(tmp_path):
    values = pa.array(["b|a", " c ", None, "a|a", ""])
    column, own = codec(tmp_path, "multilabel", values, "target")
    assert column.labels == ("a", "b", "c") and column.facts["counts"] == {"a": 2, "b": 1, "c": 1}
    assert own.encode(values)["flags"].to_pylist() == [[1, 1, 0], [0, 0, 1], [-1] * 3, [1, 0, 0], [-1] * 3]
    assert own.encode(pa.array([["c", "b"], [], ["new"]]))["flags"].to_pylist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    _, own = codec(tmp_path / "none", {"kind": "multilabel", "empty": "none"}, values, "target")
    assert own.encode(values)["flags"].to_pylist() == [[1, 1, 0], [0, 0, 1], [0] * 3, [1, 0, 0], [0] * 3]
    assert own.encode(pa.nulls(2))["flags"].to_pylist() == [[0] * 3] * 2


def test_a_boolean_target_and_texts_of_its_own(tmp_path):
    settings = {"kind": "boolean", "true_values": ["ok"], "false_values": ["bad"]}
    column, own = codec(tmp_path, settings, pa.array(["ok", "bad", ""]), "target")
    assert column.labels == ("false", "true") and own.encode(pa.array(["bad", "OK", None, "true"]))["codes"].to_pylist() == [0, 1, -1, 1]
