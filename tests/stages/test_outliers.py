"""Outliers of training rows go to quarantine, by limits and by a forest; validation and test rows stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import IsolationForest

from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from tests.stages.test_prepare import go

PARTS = ["train", "validation", "test"]


def frame(rows: int = 900, seed: int = 0) -> pa.Table:
    """Return rows of which every 50th has a number far out; the columns' training rows are the first two thirds."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=rows), rng.normal(size=rows) * 3 + 7
    a[::50] += np.where(np.arange(0, rows, 50) % 100 == 0, 40.0, -40.0)
    gone = rng.random(rows) < 0.05
    part = np.where(np.arange(rows) < rows * 2 // 3, "train", rng.choice(PARTS[1:], rows))
    return pa.table({"a": a, "b": pa.array(b, mask=gone), "zero": np.where(rng.random(rows) < 0.9, 0.0, 1.0),
                     "c": rng.choice(["p", "q"], rows), "y": rng.choice(["yes", "no"], rows), "part": part})


def prepared(folder: Path, outliers: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Path, pa.Table]:
    folder.mkdir(exist_ok=True)
    table = frame()
    csv.write_csv(table, folder / "rows.csv")
    settings = {"sources": [{"kind": "csv", "path": str(folder / "rows.csv")}], "targets": {"y": "category"},
                "inputs": {"a": "number", "b": "number", "zero": "number", "c": "category"},
                "split": {"kind": "given", "column": "part"}, "outliers": outliers}
    facts, out = go(folder, {**settings, **more})
    return facts, out, table


def column(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), np.float64)


@pytest.mark.parametrize("kind", ["iqr", "z"])
def test_limits_are_those_of_training_rows_and_every_row_is_accounted_for(tmp_path: Path, kind: str) -> None:
    facts, out, table = prepared(tmp_path, {"kind": kind, "range": 3.5})
    train = table.filter(pa.array(np.array(table["part"].to_pylist()) == "train"))
    bad = np.zeros(len(train), bool)
    for name in ("a", "b", "zero"):
        values = column(train, name)
        low, high = np.nanquantile(values, [0.25, 0.75])
        middle, far = ((low, high), 3.5 * (high - low)) if kind == "iqr" else ((np.nanmean(values),) * 2, 3.5 * np.nanstd(values))
        told = facts["outliers"]["columns"][name]
        if far > 0:
            assert [told["low"], told["high"]] == pytest.approx([middle[0] - far, middle[1] + far])
            bad |= (values < middle[0] - far) | (values > middle[1] + far)
        else:
            assert told == {"low": None, "high": None, "rows": 0}  # quartiles that are equal say nothing
    assert bad.sum() >= 12 and facts["outliers"]["rows"] == bad.sum()
    [source] = facts["sources"]
    assert source["rejected"] == {"outlier": bad.sum()} and source["rows_in"] == 900 == source["rows_out"] + bad.sum()
    assert facts["rows"]["train"] == 600 - bad.sum() and facts["rows"]["validation"] + facts["rows"]["test"] == 300
    found = pq.read_table(out / "quarantine.parquet")
    assert found["row"].to_pylist() == (np.flatnonzero(bad) + 1).tolist() and set(found["reason"].to_pylist()) == {"outlier"}
    assert found["detail"][0].as_py().startswith("column 'a': expected -")
    assert float(found["content"][0].as_py()) == pytest.approx(table["a"][0].as_py(), rel=1e-5)
    assert facts["splits"]["train"] == {label: sum(1 for here, gone in zip(train["y"].to_pylist(), bad, strict=True)
                                                   if here == label and not gone) for label in ("no", "yes")}
    assert json.loads((out / "funnel.json").read_text())["sources"] == [source]
    kept = pa.concat_tables(ShardReader(out / "train").tables())
    assert np.abs(column(kept, "a")).max() < 20 < np.abs(column(pa.concat_tables(ShardReader(out / "test").tables()), "a")).max()
    assert Schema.load(out).columns[0].facts["count"] == 600 - bad.sum()  # columns are fitted without them


@pytest.mark.parametrize("share", [None, 0.05])
def test_the_forest_is_that_of_scikit_learn(tmp_path: Path, share: float | None) -> None:
    outliers = {"kind": "isolation_forest", "columns": ["a", "b"], **({"share": share} if share else {})}
    facts, out, table = prepared(tmp_path, outliers)
    train = table.filter(pa.array(np.array(table["part"].to_pylist()) == "train"))
    values = np.stack([column(train, "a"), column(train, "b")], axis=1)
    values = np.where(np.isnan(values), np.nanmedian(values, axis=0), values)
    bad = IsolationForest(max_samples=256, random_state=3, contamination=share or "auto").fit_predict(values) < 0
    found = pq.read_table(out / "quarantine.parquet")
    assert found["row"].to_pylist() == (np.flatnonzero(bad) + 1).tolist() and facts["outliers"]["rows"] == bad.sum() > 12
    assert found["detail"][0].as_py() == ("isolation forest over 2 columns: expected a score of "
                                          f"{facts['outliers']['score']:.4g} or more")
    assert share is None or bad.mean() == pytest.approx(share, abs=0.003)


@pytest.mark.parametrize(("outliers", "sentence"), [
    ({"kind": "z", "columns": ["aa"]}, "outliers: there is no number input 'aa'; did you mean 'a'?"),
    ({"kind": "z", "columns": ["c"]}, "outliers: there is no number input 'c'; known are: a, b, zero"),
    ({"kind": "z", "range": 1e-9, "columns": ["b", "a"]}, "outliers: every training row would be set aside; raise 'range' or lower "
                                                          "'share'")])
def test_what_cannot_be_is_one_sentence(tmp_path: Path, outliers: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        prepared(tmp_path, outliers)
    assert str(caught.value) == sentence
