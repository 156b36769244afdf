"""Target codes equal scikit-learn's, tell a training row nothing of its own target, and serve bit for bit what was prepared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import TargetEncoder

from bessemer.api import Model, run
from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from bessemer.modalities import column_folder
from bessemer.modalities._target_codes import Sums, TargetCodes, fold_of
from bessemer.modalities.vectors import open_vectors
from bessemer.predictors._tables import clean_columns
from bessemer.stages.stream import Stream
from tests.stages.test_prepare import go

TARGET = {"kind": "category", "encoding": "target"}


def frame(rows: int, keys: int = 30, seed: int = 0) -> pa.Table:
    """Return rows whose targets depend on a key, some keys missing."""
    rng = np.random.default_rng(seed)
    place = rng.integers(0, keys, rows)
    level = rng.normal(size=keys)[place]
    y = 5.0 + 3.0 * (level + rng.normal(size=rows))
    sort = np.array(["low", "middle", "high"])[np.digitize(level + rng.normal(size=rows), [-0.5, 0.5])]
    return pa.table({"key": pa.array([f"k{item}" for item in place], mask=rng.random(rows) < 0.05), "x": rng.normal(size=rows), "y": y,
                     "ill": np.where(level + rng.normal(size=rows) > 0, "yes", "no"), "sort": sort})


def prepared(root: Path, table: pa.Table, settings: dict[str, Any], targets: dict[str, Any], **more: Any) -> Path:
    csv.write_csv(table, root / "rows.csv")
    base = {"sources": [{"kind": "csv", "path": str(root / "rows.csv")}], "inputs": {"key": {**TARGET, **settings}, "x": "number"},
            "targets": targets, "split": {"kind": "random", "validation": 0.2, "test": 0.2}}
    return go(root, {**base, **more})[1]


def rows_of(out: Path, split: str) -> tuple[pa.Table, np.ndarray]:
    """Return stored rows and their numbers [N, F]."""
    table = pa.concat_tables(ShardReader(out / split).tables()).combine_chunks()
    return table, table[".numbers"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def served(raw: pa.Table, out: Path) -> np.ndarray:
    schema = Schema.load(out)
    return open_vectors(schema, out).encode(clean_columns(raw, schema))[0]


def keys_of(table: pa.Table) -> np.ndarray:
    return np.array([["none" if key is None else key] for key in table["key"].to_pylist()], object)


@pytest.mark.parametrize("smoothing", ["auto", 0, 7.5])
def test_codes_of_all_rows_and_of_each_fold_equal_those_of_scikit_learn(tmp_path: Path, smoothing: Any) -> None:
    targets = {"y": {"kind": "number", "transform": "none"}, "ill": "category", "sort": "category"}
    out = prepared(tmp_path, frame(900), {"smoothing": smoothing, "folds": 3}, targets)
    table, numbers = rows_of(out, "train")
    keys, labels = keys_of(table), Schema.load(out).columns[0].labels
    codes = TargetCodes.load(column_folder(out, "key"), "key")
    assert codes.names == ("mean of y", "share of ill = yes", "share of sort = high", "share of sort = low", "share of sort = middle")
    truths = [(table["y.scaled"].to_numpy().astype(np.float64), "continuous", slice(0, 1)),
              (table["ill"].to_numpy(), "binary", slice(1, 2)), (table["sort"].to_numpy(), "multiclass", slice(2, 5))]
    fold = fold_of(table["row_id"].to_numpy(), 3, 3)
    assert len(set(fold)) == 3
    for truth, kind, place in truths:
        encoder = TargetEncoder(smooth=smoothing if smoothing == "auto" else float(smoothing), target_type=kind)
        full = encoder.fit(keys, truth).transform(np.array([["new"], ["none"], *([item] for item in labels)], object))
        assert np.allclose(codes.mean_GW[:, place], full, rtol=1e-9, atol=1e-12)
        for part in range(3):
            own = encoder.fit(keys[fold != part], truth[fold != part]).transform(keys[fold == part])
            expected = (own - codes.mean_GW[0, place]) / codes.spread_W[place]
            assert np.allclose(numbers[fold == part, place], expected, rtol=1e-5, atol=1e-6)


def test_what_is_served_is_what_was_stored_bit_for_bit(tmp_path: Path) -> None:
    out = prepared(tmp_path, frame(600), {}, {"ill": "category"})
    for split in ("validation", "test"):
        table, numbers = rows_of(out, split)
        raw = table.select(["key", "x"])
        assert np.array_equal(served(raw, out), numbers)
        assert np.array_equal(np.concatenate([served(raw.slice(row, 1), out) for row in range(20)]), numbers[:20])
    table, numbers = rows_of(out, "train")
    again = served(table.select(["key", "x"]), out)
    assert np.array_equal(again[:, 1:], numbers[:, 1:]) and not np.array_equal(again[:, 0], numbers[:, 0])


def test_unknown_rare_and_missing_values(tmp_path: Path) -> None:
    table = frame(600)
    table = table.set_column(0, "key", pa.array(["rare", *table["key"].to_pylist()[1:]]))
    out = prepared(tmp_path, table, {"min_count": 3}, {"y": "number"})
    raw = pa.table({"key": ["never seen", "rare", None, "k1"], "x": [0.0] * 4})
    found = served(raw, out)[:, 0]
    assert found[0] == found[1] == 0.0 and found[2] != 0.0 and found[3] != 0.0
    (tmp_path / "whole").mkdir()
    whole = prepared(tmp_path / "whole", table.filter(table["key"].is_valid()), {}, {"y": "number"})
    assert served(raw, whole)[2, 0] == 0.0  # training missed none


def test_keys_of_noise_tell_a_training_row_nothing_of_its_target(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    table = frame(4000)
    table = table.set_column(0, "key", pa.array([f"k{item}" for item in rng.integers(0, 1500, 4000)]))
    out = prepared(tmp_path, table, {}, {"y": "number"})
    stored, numbers = rows_of(out, "train")
    y = stored["y"].to_numpy()
    full = served(stored.select(["key", "x"]), out)[:, 0]
    assert np.corrcoef(full, y)[0, 1] > 0.6
    assert abs(np.corrcoef(numbers[:, 0], y)[0, 1]) < 3 / np.sqrt(len(y))


def test_a_targets_missing_values_count_for_nothing() -> None:
    sums = Sums(2, 3, 1)
    sums.add(np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2]), np.array([[1.0], [np.nan], [2.0], [4.0]]))
    mean_GW, mean_W, _ = sums.means(0.0)
    assert mean_GW[:, 0].tolist() == [7 / 3, 1.0, 3.0] and mean_W[0] == 7 / 3
    assert sums.means(0.0, without=0)[0][:, 0].tolist() == [3.0, 3.0, 3.0]


def test_crosses_and_several_labels(tmp_path: Path) -> None:
    table = frame(600).append_column("b", pa.array(["u", "v", "w"] * 200)).append_column("tags", pa.array(["p|q", "q", "r"] * 200))
    out = prepared(tmp_path, table, {}, {"tags": {"kind": "multilabel"}}, inputs={"key": TARGET, "b": TARGET}, crosses=[["key", "b"]])
    info = open_vectors(Schema.load(out), out).info
    assert info["numbers"] == 9 and info["names"][6] == "key × b: share of tags = p" and info["cardinalities"] == []
    found = served(pa.table({"key": ["k1"] * 3, "b": ["u", "v", "w"]}), out)
    assert np.array_equal(np.sign(found[:, 3:6]), [[1, 1, -1], [-1, 1, -1], [-1, -1, 1]])


def test_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'encoding: target' encodes a column by the targets, and the recipe has none; name some"):
        prepared(tmp_path, frame(100), {}, {})
    with pytest.raises(ValidationError, match="the column 'key' has 'encoding: target', whose codes need every training row with its"):
        Stream.model_validate({"source": {"kind": "files", "path": "x.csv"}, "inputs": {"key": TARGET}, "targets": {"y": "number"}})
    with pytest.raises(UserError, match="would keep 2,000 numbers of 10,000 values in 5 folds"):
        Sums(5, 10_000, 2_000)


def test_a_recipe_learns_from_the_codes_and_its_exported_form_agrees(tmp_path: Path) -> None:
    csv.write_csv(frame(800, keys=60), tmp_path / "rows.csv")
    prepare = {"sources": [{"kind": "csv", "path": str(tmp_path / "rows.csv")}], "inputs": {"key": TARGET, "x": "number"},
               "targets": {"ill": "category"}, "split": {"kind": "random", "validation": 0.2, "test": 0.2}}
    finetune = {"model": {"kind": "mlp", "hidden_sizes": [16]}, "num_train_epochs": 5, "learning_rate": 0.01,
                "per_device_train_batch_size": 64}
    trees = {"kind": "finetune", "data": "prepare", "model": {"kind": "lightgbm", "num_boost_round": 20}}
    run({"name": "codes", "threads": 1, "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": prepare, "finetune": finetune, "trees": trees, "evaluate": {"models": ["finetune", "trees"], "data": "prepare"},
        "compress": {}, "export": {}}})
    found = json.loads((tmp_path / "run/results.json").read_text(encoding="utf-8"))
    rows = found["results"] if isinstance(found, dict) else found
    scores = [item["value"] for item in rows if item["metric"] == "roc_auc"]
    assert len(scores) >= 2 and min(scores) > 0.7
    raw = pa.table({"key": ["k1", "new", None], "x": [0.0, 0.0, 0.0]})
    answers = [np.asarray(Model.load(tmp_path / "run" / stage).predict_proba(raw)) for stage in ("finetune", "export")]
    assert np.allclose(*answers, atol=1e-4)
