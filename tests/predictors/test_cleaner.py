"""Numbers that are checked together are cleaned as each column's own modality cleans them."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities import modality_of
from bessemer.predictors._cleaner import Cleaner

SETTINGS = {"a": {}, "b": {"low": -1.0, "high": 2.0}, "c": {"missing": "reject"}, "d": {"infinite": "missing"}}
COLUMNS = tuple(Column(name=name, role=Role.INPUT, modality={"kind": "number", **settings}) for name, settings in SETTINGS.items())
CLEANER = Cleaner(Schema(columns=COLUMNS))
VALUES = [0.5, None, math.nan, math.inf, -math.inf, 1e150, 1.1e150, -1.0, 2.0, 2.5, -0.0]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.string(), pa.int64()])
def test_each_value_is_cleaned_or_refused_as_its_modality_says(kind: pa.DataType) -> None:
    some = [3, None, -1, 2] if kind == pa.int64() else VALUES
    for value in some:
        shown = str(value) if kind == pa.string() and value is not None else value
        for column in COLUMNS:
            with np.errstate(over="ignore"):
                row = pa.table({name: pa.array([shown if name == column.name else 1], pa.float64() if name != column.name else None).cast(
                    kind if name == column.name else pa.float64()) for name in SETTINGS})
            clean, why = modality_of(column).clean(row[column.name].combine_chunks())
            if why[0].as_py() is None:
                found = CLEANER(row)[column.name].combine_chunks()
                assert found.equals(clean) and found.type == pa.float64()
            else:
                with pytest.raises(UserError, match=f"row 1: the column '{column.name}' holds a value that the model cannot read"):
                    CLEANER(row)


def test_columns_that_are_missing_or_twice_there_are_told() -> None:
    row = pa.table({name: [1.0] for name in SETTINGS})
    with pytest.raises(UserError, match="the rows have no column 'd', which the model reads"):
        CLEANER(row.drop_columns(["d"]))
    with pytest.raises(UserError, match="the rows have 2 columns named 'a'; the model reads one"):
        CLEANER(row.append_column("a", row["a"]))
