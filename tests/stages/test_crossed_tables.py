"""Crosses from the recipe to the answer: what is prepared, streamed, served and updated is the same column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest

from bessemer.api import Model, run
from bessemer.app.updates import update
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.schema import Role, Schema
from bessemer.data.shards import ShardReader
from bessemer.modalities.vectors import open_vectors
from bessemer.predictors._tables import clean_columns
from bessemer.stages._streams import open_stream, stream_tables
from bessemer.stages._trained import REPLAY
from tests.stages.test_prepare import go
from tests.stages.test_stream import go as go_stream

INPUTS: dict[str, Any] = {"a": {"kind": "number", "scale": "standard"}, "b": "number", "c": "category", "d": "boolean"}
CROSSES = [["a", "b"], ["c", "d"]]


def frame(rows: int, seed: int = 0) -> pa.Table:
    """Return rows whose target is decided by a product and by a pair, some values missing."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=rows), rng.normal(size=rows)
    c, d = rng.choice(["red", "green", "blue"], rows), rng.choice(["yes", "no"], rows)
    y = a * b + 2.0 * ((c == "red") == (d == "yes")) + rng.normal(scale=0.05, size=rows)
    gone = rng.random((rows, 2)) < 0.05
    return pa.table({"a": pa.array(a, mask=gone[:, 0]), "b": b, "c": pa.array(c, mask=gone[:, 1]), "d": d, "y": y})


def write(file: Path, table: pa.Table) -> dict[str, Any]:
    csv.write_csv(table, file)
    return {"kind": "csv", "path": str(file)}


def settings(file: Path, rows: int = 600, **more: Any) -> dict[str, Any]:
    return {"sources": [write(file, frame(rows))], "inputs": INPUTS, "targets": {"y": "number"}, "crosses": CROSSES,
            "split": {"kind": "random", "validation": 0.2, "test": 0.2}, **more}


def served(table: pa.Table, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and codes as a predictor makes them of raw rows."""
    schema = Schema.load(out)
    return open_vectors(schema, out).encode(clean_columns(table, schema))


def test_prepared_crosses_are_products_and_pairs_and_serving_equals_them_bit_for_bit(tmp_path: Path) -> None:
    _, out = go(tmp_path, settings(tmp_path / "rows.csv"))
    schema = Schema.load(out)
    columns = {column.name: column for column in schema.by_role(Role.INPUT)}
    assert list(columns) == ["a", "b", "c", "d", "a × b", "c × d"]
    assert (columns["a × b"].of, columns["c × d"].of, columns["a"].of) == (("a", "b"), ("c", "d"), ())
    assert columns["a × b"].modality["scale"] == "standard"
    assert set(columns["c × d"].labels) == {f"{c} × {d}" for c in ("red", "green", "blue") for d in ("true", "false")}
    table = pa.concat_tables(ShardReader(out / "train").tables())
    a, b, found = (table[name].to_numpy(zero_copy_only=False) for name in ("a", "b", "a × b"))
    assert np.array_equal(found, a * b, equal_nan=True) and np.isnan(found).any()
    known = found[np.isfinite(found)]
    assert np.allclose([columns["a × b"].facts["mean"], columns["a × b"].facts["std"]], [known.mean(), known.std()], rtol=1e-9)
    raw = table.select(["a", "b", "c", "d"])
    numbers, codes = served(raw, out)
    offline = [table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1) for name in (".numbers", ".codes")]
    assert np.array_equal(numbers, offline[0]) and np.array_equal(codes, offline[1])
    one = [served(raw.slice(row, 1), out) for row in range(0, 60)]
    assert np.array_equal(np.concatenate([item[0] for item in one]), numbers[:60])
    assert np.array_equal(np.concatenate([item[1] for item in one]), codes[:60])


def test_new_and_missing_categories_pass_through_a_cross(tmp_path: Path) -> None:
    _, out = go(tmp_path, settings(tmp_path / "rows.csv"))
    rows = pa.table({"a": [1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0], "c": ["mauve", None, "red"], "d": ["yes", "yes", "yes"]})
    _, codes = served(rows, out)
    labels = next(column for column in Schema.load(out).columns if column.name == "c × d").labels
    assert codes[:, -1].tolist() == [0, 1, 2 + labels.index("red × true")]


def test_a_stream_has_the_same_crosses(tmp_path: Path) -> None:
    csv.write_csv(frame(2000), tmp_path / "rows.csv")
    _, out = go_stream(tmp_path / "stream", {"source": {"kind": "files", "path": str(tmp_path / "rows.csv")}, "inputs": INPUTS,
                                             "crosses": CROSSES})
    stored = pa.concat_tables(stream_tables(out, 3)).sort_by("row_id")
    product = stored["a"].to_numpy(zero_copy_only=False) * stored["b"].to_numpy()
    assert np.array_equal(stored["a × b"].to_numpy(zero_copy_only=False), product, equal_nan=True)
    spec = open_stream(out, 3)
    rows = spec.read(np.arange(spec.count))
    order = np.argsort(rows.row_ids)
    numbers, codes = served(stored.select(["a", "b", "c", "d"]), out)
    assert np.array_equal(rows.numbers[order], numbers) and np.array_equal(rows.codes[order], codes)
    held = pa.concat_tables(ShardReader(out / "test").tables())
    assert np.array_equal(held[".numbers"].combine_chunks().flatten().to_numpy().reshape(len(held), -1), served(held, out)[0])


@pytest.mark.parametrize(("crosses", "sentence"), [
    ([["a", "bb"]], "crosses: [a, bb]: there is no input column 'bb'; did you mean 'b'?"),
    ([["a", "c"]], "crosses: [a, c]: 'a' is a number and 'c' is none; a cross is of numbers alone, or of categories and booleans alone: "
                   "leave one out, or give the number the kind category"),
    ([["a", "a"]], "crosses: [a, a]: a column is named twice; expected different columns"),
    ([["a", "b"], ["a", "b"]], "crosses: [a, b]: there is a column 'a × b' already, which is the name of the cross; remove one of the two"),
])
def test_crosses_that_cannot_be_are_one_sentence(tmp_path: Path, crosses: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        go(tmp_path, settings(tmp_path / "rows.csv", rows=60, crosses=crosses))
    assert str(caught.value) == sentence


def test_a_model_with_crosses_answers_rows_without_them_and_is_updated(tmp_path: Path) -> None:
    finetune = {"model": {"kind": "mlp", "hidden_sizes": [16], "dropout": 0.0}, "num_train_epochs": 4, "learning_rate": 0.01,
                "per_device_train_batch_size": 64}
    trees = {"kind": "finetune", "data": "prepare", "model": {"kind": "lightgbm", "num_boost_round": 20}}
    stages = {"prepare": settings(tmp_path / "rows.csv"), "finetune": finetune, "trees": trees}
    run({"name": "crossed", "threads": 1, "output_dir": str(tmp_path / "run"), "stages": stages})
    raw = frame(50, 1).drop_columns(["y"])
    for stage in ("finetune", "trees"):
        model = Model.load(tmp_path / "run" / stage)
        assert model.inputs == ("a", "b", "c", "d")
        assert model.problems(raw).null_count == 50
        whole = np.array(model.predict(raw))
        assert np.array_equal(whole, model.predict(raw.append_column("a × b", pa.array([9.0] * 50))))
        assert np.array_equal(whole, model.predict(raw.to_pylist()))
    saved = (tmp_path / "run/finetune/schema.json").read_text(encoding="utf-8")
    assert [item["of"] for item in json.loads(saved)["columns"]] == [[], [], [], [], ["a", "b"], ["c", "d"], []]
    write(tmp_path / "new.csv", frame(200, 2))
    _, name = update(tmp_path / "run", [tmp_path / "new.csv"], ["num_train_epochs=1", "methods=[new_only]"], Events(), "finetune")
    new = pa.concat_tables(ShardReader(tmp_path / "run" / name / REPLAY).tables())
    assert len(new) > 300
    assert np.array_equal(new["a × b"].to_numpy(zero_copy_only=False),
                          new["a"].to_numpy(zero_copy_only=False) * new["b"].to_numpy(), equal_nan=True)


def test_crosses_are_found_where_they_help_and_only_there(tmp_path: Path) -> None:
    facts, out = go(tmp_path / "found", settings(tmp_path / "rows.csv", rows=3000, crosses="auto"))
    assert {tuple(item["columns"]) for item in facts["crosses"]} == {("a", "b"), ("c", "d")}
    gains = [item["gain"] for item in facts["crosses"]]
    # Of a variance of 2 the product has 1, the pair 1, of which 1/9 is of `d` alone; 5% of `a` and of `c` are missing.
    assert gains == sorted(gains, reverse=True) and gains == pytest.approx([0.5 * 0.95, 4 / 9 * 0.95], abs=0.05)
    assert all(item["gain"] > 4 * item["standard_error"] > 0 for item in facts["crosses"])
    assert {column.of for column in Schema.load(out).columns} == {(), ("a", "b"), ("c", "d")}
    again, _ = go(tmp_path / "again", settings(tmp_path / "rows.csv", rows=3000, crosses="auto"))
    assert again["crosses"] == facts["crosses"]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 3)) + 2.0
    table = pa.table({"a": x[:, 0], "b": x[:, 1], "c": rng.choice(["p", "q"], 3000), "d": rng.choice(["yes", "no"], 3000),
                      "y": np.where(np.sin(2 * x[:, 0]) + x[:, 1]**2 + rng.normal(size=3000) > 5, "high", "low")})
    plain = settings(tmp_path / "rows.csv", crosses="auto", targets={"y": "category"})
    plain["sources"] = [write(tmp_path / "plain.csv", table)]
    facts, out = go(tmp_path / "plain", plain)
    assert facts["crosses"] == [] and len(Schema.load(out).columns) == 5


def test_crosses_cannot_be_found_without_validation_rows_or_a_target(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="crosses: auto judges by a target that is a label or a number, and the recipe has none"):
        go(tmp_path / "a", settings(tmp_path / "rows.csv", crosses="auto", targets={}))
