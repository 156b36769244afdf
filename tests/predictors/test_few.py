"""A handful of rows is read value by value: the same bits and the same errors as by those who read many, whatever the rows hold."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Answer
from bessemer.data.crosses import name_of
from bessemer.modalities.vectors import open_vectors
from bessemer.predictors import _few
from bessemer.predictors._tables import TableInput, TablePredictor
from tests.modalities.columns import fitted

N = 200
RNG = np.random.default_rng(0)
HOLES = pa.array([None if i % 9 == 0 else float(v) for i, v in enumerate(np.exp(RNG.standard_normal(N)).round(1))])
WORDS = pa.array(RNG.choice(["x", "y", "3", None], N))
SETTINGS: dict[str, tuple[Any, pa.Array]] = {
    "a": ("number", HOLES), "b": ({"kind": "number", "scale": "standard", "missing": "reject"}, HOLES),
    "c": ({"kind": "number", "scale": "bins", "bins": 5}, HOLES), "d": ({"kind": "number", "scale": "bins", "bin_form": "ordinal"}, HOLES),
    "e": ({"kind": "number", "scale": "none", "outliers": "clip", "indicator": True}, HOLES),
    "f": ({"kind": "number", "scale": "robust", "low": -1.0, "high": 1e6, "missing": "mean"}, HOLES),
    "g": ({"kind": "number", "quantiles": 20, "clip": 1.5, "decimal": ",", "infinite": "missing"}, HOLES),
    "h": ("category", WORDS), "i": ({"kind": "category", "encoding": "one_hot"}, WORDS),
    "j": ({"kind": "category", "encoding": "hash", "buckets": 7}, WORDS), "k": ({"kind": "category", "labels": ["x", "y", "3"]}, WORDS),
    "l": ("boolean", pa.array([True, None] * (N // 2))),
    "m": ("date", pa.array(["2023-01-05", None, "13/02/2021", "2021-06-07 10:00"] * 50)),
    "n": ({"kind": "words", "components": 2}, pa.array(RNG.choice(["good thing", "bad 东西", None, "other"], N)))}
NUMBERS = [0.5, -3.0, 2.0, 1e5, 0.1 + 0.2, -0.0, None, 1, 2**53]
ODD = [math.nan, math.inf, -math.inf, 1e149, 2e150, 1e308]
TEXTS = ["x", " y ", "3", "3.0", "1,234.5", "1.234,5", "1,234", "+.5e1", "−7", "inf", "NaN", "", "  ", "?", None, "never seen", "true",
         "Nein", "0", "2023-01-05", "05/01/2023", "31/12/2022", "12/31/2022", "2023-02-30", "Z" * 100, "é\u0301", "bad 东西", "9" * 400]
SHAPES: list[tuple[pa.DataType | None, list[Any]]] = [
    (pa.float64(), NUMBERS), (pa.float32(), [0.5, None, -1e10]), (pa.int64(), [1, 0, 3, None, -5, 2**60 + 1]),
    (pa.uint64(), [2**64 - 1, 3]), (pa.int8(), [1, 3, None]), (pa.bool_(), [True, False, None]), (pa.null(), [None]),
    (pa.string(), TEXTS), (pa.large_string(), TEXTS),
    (pa.float64(), ODD), (pa.float32(), [math.nan, math.inf, 3.4e38]), (pa.dictionary(pa.int8(), pa.string()), TEXTS[:4]),
    (pa.decimal128(9, 2), [Decimal("1.25"), None]), (pa.date32(), [datetime.date(2020, 1, 2), None]),
    (pa.timestamp("us"), [datetime.datetime(2020, 1, 2, 3)]), (pa.list_(pa.int8()), [[1], None]), (pa.binary(), [b"x", b"\xff"])]
FINE = {**dict.fromkeys("abcdefg", (pa.float64(), [0.5, 3.0, 1.0, 7.25])), **dict.fromkeys("hijk", (pa.string(), ["x", "y", "3"])),
        "l": (pa.bool_(), [True, False]), "m": (pa.string(), ["2023-01-05", "13/02/2021"]), "n": (pa.string(), ["other", "good thing"])}


def predictor_of(folder: Path, names: str, crosses: tuple[tuple[str, ...], ...] = ()) -> TablePredictor:
    columns = [fitted(folder, name, *SETTINGS[name])[0] for name in names]
    for of in crosses:
        numbers = SETTINGS[of[0]][1].type == pa.float64()
        found, _ = fitted(folder, name_of(of), "number" if numbers else "category", HOLES if numbers else pa.array(["x × y", "y × x"] * 20))
        columns.append(found.model_copy(update={"of": of}))
    schema = Schema(columns=(*columns, Column(name="t", role=Role.TARGET, modality={"kind": "number"})))

    def answer(rows: TableInput) -> dict[str, Answer]:
        inputs = [rows.clean.column(column.name).combine_chunks() for column in columns]
        assert len(rows.clean) == len(rows.numbers) and all(len(item) == len(rows.numbers) for item in inputs)
        seen.append((rows.numbers.copy(), rows.codes.copy(), [item.to_pylist() for item in inputs]))
        return {"t": Answer("number", np.zeros((len(rows.numbers), 1)))}

    seen: list[Any] = []
    found = TablePredictor(schema, "x", open_vectors(schema, folder), answer)
    found.seen = seen  # type: ignore[attr-defined]
    return found


def asked(predictor: TablePredictor, rows: pa.Table, monkeypatch: pytest.MonkeyPatch, most: int) -> Any:
    """Return what the model is given, or the error's sentence, where so many rows at most are read one by one."""
    monkeypatch.setattr(_few, "ROWS", most)
    predictor.seen.clear()  # type: ignore[attr-defined]
    try:
        predictor.predict(rows)
    except (UserError, pa.ArrowException) as error:
        return f"{type(error).__name__}: {error}"
    (numbers, codes, clean), = predictor.seen  # type: ignore[attr-defined]
    assert numbers.dtype == np.float32 and codes.dtype == np.int32
    return numbers.tobytes(), codes.tobytes(), repr(clean)


def column_of(kind: pa.DataType, values: list[Any], count: int, rng: np.random.Generator) -> pa.Array:
    return pa.array([values[rng.integers(len(values))] for _ in range(count)], kind)


@pytest.mark.parametrize(("names", "crosses"), [
    ("abcdefghijklmn", ()), ("aeghil", (("a", "e"), ("h", "i"))), ("hk", ()), ("b", ())])
def test_few_rows_are_what_they_are_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, crosses: Any) -> None:
    predictor, rng, read, refused = predictor_of(tmp_path, names, crosses), np.random.default_rng(len(names)), 0, 0
    for case in range(75):
        count = int(rng.integers(1, 5))
        odd = rng.random(len(names)) < (0.0, 0.1, 0.3)[case % 3]
        rows = pa.table({name: column_of(*(SHAPES[rng.integers(len(SHAPES))] if strange else FINE[name]), count, rng)
                         for name, strange in zip(names, odd, strict=True)})
        many = asked(predictor, rows, monkeypatch, 0)
        for _ in range(2):  # of the second time all is remembered
            assert asked(predictor, rows, monkeypatch, 16) == many, rows.to_pylist()
        monkeypatch.setattr(_few, "ROWS", 16)
        found = predictor.few.read(rows)
        read, refused = read + (found is not None), refused + isinstance(many, str)
        assert found is None or not isinstance(many, str)
        if not isinstance(many, str):
            one = [asked(predictor, rows.slice(row, 1), monkeypatch, 16) for row in range(count)]
            assert tuple(b"".join(item[part] for item in one) for part in (0, 1)) == many[:2]
    assert read > 30 and refused > 1
    assert all(len(known) <= column.most for column in predictor.few.columns for known in column.known.values())


def test_names_and_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(tmp_path, "ah")
    rows = pa.table({"h": ["x"], "other": [[1]], "a": [2.0]})
    first = asked(predictor, rows, monkeypatch, 16)
    assert first == asked(predictor, rows, monkeypatch, 0)
    layout = predictor.few.layouts[0]
    assert asked(predictor, pa.table({"h": ["x"], "other": [[5]], "a": [2.0]}), monkeypatch, 16) == first
    assert predictor.few.layouts == [layout]
    assert asked(predictor, rows.select(["a", "h"]), monkeypatch, 16) == first and len(predictor.few.layouts) == 2
    for extra in range(20):
        asked(predictor, rows.append_column(f"extra {extra}", pa.array([1])), monkeypatch, 16)
    assert len(predictor.few.layouts) == _few.LAYOUTS
    with pytest.raises(UserError, match="the rows have no column 'h', which the model reads"):
        predictor.predict(rows.drop_columns(["h"]))
    with pytest.raises(UserError, match="the rows have 2 columns named 'h'; the model reads one"):
        predictor.predict(rows.append_column("h", rows["h"]))
    assert not len(predictor.predict(rows.slice(0, 0))["t"].values)


def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_few, "ROOM", 6)  # a code each of h, of i five numbers
    predictor = predictor_of(tmp_path, "hi")
    for word in ("a" * 65, "b", "c", "d", "e", "f", "g", "h"):
        rows = pa.table({"h": [word], "i": [word]})
        assert asked(predictor, rows, monkeypatch, 16) == asked(predictor, rows, monkeypatch, 0)
    assert [[len(known) for known in column.known.values()] for column in predictor.few.columns] == [[6], [1]]
    assert "a" * 65 not in predictor.few.columns[0].known["string",]


@pytest.mark.parametrize("scale", ["quantile", "standard", "robust", "min_max", "bins", "none"])
def test_one_number_is_scaled_as_many(tmp_path: Path, scale: str) -> None:
    values = pa.array(np.exp(RNG.standard_normal(N) * 2))
    column, _ = fitted(tmp_path, "x", {"kind": "number", "scale": scale, "indicator": True}, values)
    vectors = open_vectors(Schema(columns=(column,)), tmp_path)
    knots = vectors.scalings["x"].knots
    some = [*np.exp(RNG.standard_normal(3000) * 3).tolist(), *([] if knots is None else knots.x.tolist()),
            -1e150, 1e150, -0.0, 0.0, 5e-324, None]
    whole, _ = vectors.encode(pa.table({"x": pa.array(some, pa.float64())}))
    assert np.array([vectors.scalings["x"].one(value) for value in some], np.float32).tobytes() == whole.tobytes()
