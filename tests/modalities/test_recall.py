"""What is remembered of one value is what is computed for it among others, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.core.pick import make
from bessemer.core.schema import Column, Role
from bessemer.modalities import codec_of
from bessemer.modalities.category import Category, category

GIVEN = ["a", " b ", "", None, "never seen", "b", "a" * 100, "1", None, "a"]


@pytest.mark.parametrize("encoding", ["codes", "one_hot", "hash"])
def test_a_category_of_one_row_is_that_of_many(tmp_path: Path, encoding: str) -> None:
    config = make("modalities", {"kind": "category", "encoding": encoding})
    column = Column(name="x", role=Role.INPUT, modality={"kind": "category", "encoding": encoding}, labels=("1", "a", "b"),
                    facts={"missing": 2})
    own = codec_of(column, tmp_path)
    whole, cleaned = own.encode(pa.array(GIVEN)), category(config).clean(pa.array(GIVEN))
    one = category(Category(labels=("a", "b"))).clean
    for number, value in [*enumerate(GIVEN), *enumerate(GIVEN)]:
        single = own.encode(pa.array([value], pa.string()))
        assert {name: array.to_pylist() for name, array in single.items()} == {
            name: array.slice(number, 1).to_pylist() for name, array in whole.items()}
        assert category(config).clean(pa.array([value], pa.string()))[0].to_pylist() == cleaned[0].slice(number, 1).to_pylist()
        single.clear()  # the caller's own
        wrong = value is not None and value.strip() not in ("", "a", "b")
        assert one(pa.array([value], pa.string()))[1].to_pylist() == (["label is not listed"] if wrong else [None])


def test_numbers_are_not_taken_for_texts(tmp_path: Path) -> None:
    own = codec_of(Column(name="x", role=Role.INPUT, modality={"kind": "category"}, labels=("1", "2")), tmp_path)
    assert own.encode(pa.array(["1"])) == own.encode(pa.array([1])) == own.encode(pa.array([1.0])) != own.encode(pa.array(["2"]))
