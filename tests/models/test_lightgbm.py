"""The model `lightgbm`: equal to the lightgbm package on the same arrays; missing values, several targets, samples, trials."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as package
import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Answer
from bessemer.models import _table_rows as tables
from bessemer.models.lightgbm import categorical, matrix, plan
from bessemer.predictors._tables import TableInput
from bessemer.predictors.lightgbm_form import answerer
from bessemer.testing import table_models as kit

SMALL = {"num_boost_round": 60, "early_stopping_rounds": 10}


def fit(spec: Any, **settings: Any) -> dict[str, Any]:
    config = make("models", {"kind": "lightgbm", **SMALL, **settings})
    found: dict[str, Any] = plugin_of("models", config).function(config).fit(spec)
    return found


def answers(folder: Path, table: pa.Table, *targets: str) -> dict[str, Answer]:
    clean = table.select(["size", "speed", "shape"])
    return answerer(folder, kit.schema(*targets))(TableInput(clean, tables.numbers_of(table), tables.codes_of(table)))


def peer(x: np.ndarray, y: np.ndarray, valid_x: np.ndarray, valid_y: np.ndarray, params: dict[str, Any]) -> Any:
    """The package by itself, category in the last column."""
    train = package.Dataset(x, y, categorical_feature=[2], params={"verbosity": -1})
    valid = package.Dataset(valid_x, valid_y, reference=train, categorical_feature=[2])
    return package.train(
        {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "deterministic": True, "force_row_wise": True, "seed": 0,
         "verbosity": -1, "num_threads": 1, **params}, train, 60, valid_sets=[valid],
        callbacks=[package.early_stopping(10, verbose=False)])


def arrays(table: pa.Table) -> np.ndarray:
    codes = tables.codes_of(table)[:, 0]
    return np.column_stack([table["size"].to_numpy(), table["speed"].to_numpy(), codes]).astype(np.float64)


def test_features_are_raw_numbers_with_nan_and_codes(tmp_path: Path) -> None:
    table = kit.rows(50)
    features = plan(kit.schema("label"), kit.INFO)
    found = matrix(table, tables.numbers_of(table), tables.codes_of(table), features)
    np.testing.assert_array_equal(found, arrays(table))
    assert np.isnan(found[:, 0]).any() and categorical(features) == [2]


@pytest.mark.parametrize("flags", [[True, None, False], ["true", None, "false"]])
def test_booleans_and_stored_numbers_are_features_too(flags: list[Any]) -> None:
    schema = kit.schema("label")
    flag, date = (schema.columns[0].model_copy(update={"name": name, "modality": {"kind": kind}})
                  for name, kind in (("open", "boolean"), ("day", "date")))
    schema = schema.model_copy(update={"columns": (flag, date, *schema.columns[2:])})
    features = plan(schema, {"columns": {"open": [0, 1, 0, 0], "day": [1, 4, 0, 0], "shape": [4, 4, 0, 1]}})
    clean = pa.table({"open": flags, "day": ["2020-01-01"] * 3, "shape": ["a", "b", None]})
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = matrix(clean, numbers, np.array([[1], [2], [0]], np.int32), features)
    np.testing.assert_array_equal(found, [[1, 1, 2, 3, 1], [np.nan, 5, 6, 7, 2], [0, 9, 10, 11, 0]])
    assert categorical(features) == [4]


@pytest.mark.parametrize("target", ["label", "amount"])
def test_equal_to_the_package(tmp_path: Path, target: str) -> None:
    facts = fit(kit.spec(tmp_path, target), learning_rate=0.05)
    train, valid = kit.rows(400), kit.rows(200, 1)
    y, valid_y = train[target].to_numpy(), valid[target].to_numpy()
    keep, valid_keep = (np.isfinite(y) & (y >= 0) for y in (y, valid_y))
    params: dict[str, Any] = {"objective": "multiclass", "num_class": 3, "metric": "multi_logloss"}
    shift, scale = 0.0, 1.0
    if target == "amount":
        params, shift, scale = {"objective": "regression", "metric": "l2"}, y[keep].mean(), y[keep].std()
    reference = peer(arrays(train)[keep], (y[keep] - shift) / scale, arrays(valid)[valid_keep], (valid_y[valid_keep] - shift) / scale,
                     params)
    said = answers(tmp_path, valid, target)[target].values
    expected = shift + scale * reference.predict(arrays(valid)).reshape(len(valid), -1)
    np.testing.assert_array_equal(said, expected.astype(said.dtype))
    assert facts["targets"][target]["settings"]["rounds"] == [reference.best_iteration]
    assert facts["num_features"] == 3 and facts["all_train_rows"]


def test_saved_trees_answer_alike_in_any_cut_of_the_rows(tmp_path: Path) -> None:
    fit(kit.spec(tmp_path, "label", "amount", "flags"), quantiles=[0.1, 0.9])
    table = kit.rows(90, 2)
    whole = answers(tmp_path, table, "label", "amount", "flags")
    parts = [answers(tmp_path, table.slice(start, 7), "label", "amount", "flags") for start in range(0, 90, 7)]
    for target, answer in whole.items():
        assert np.concatenate([part[target].values for part in parts]).tobytes() == answer.values.tobytes()
    assert whole["amount"].values.shape == (90, 3) and whole["amount"].quantiles == (0.1, 0.9)
    assert (whole["amount"].values[:, 1] <= whole["amount"].values[:, 2]).all()
    assert whole["flags"].values.shape == (90, 2) and whole["flags"].values.dtype == np.float32
    truth = tables.truth_of(table, kit.schema("flags").columns[-1])
    assert ((whole["flags"].values > 0.5) == truth)[truth[:, 0] >= 0].mean() > 0.9
    none = answers(tmp_path, table.slice(0, 0), "label", "amount", "flags")
    assert [none[target].values.shape for target in none] == [(0, 3), (0, 3), (0, 2)]


def test_large_offsets_cost_no_digits(tmp_path: Path) -> None:
    spec = kit.spec(tmp_path, "amount")

    def moved(table: pa.Table) -> pa.Table:
        place = table.column_names.index("amount")
        return table.set_column(place, "amount", pa.array(table["amount"].to_numpy() + 1e10))

    fit(replace(spec, train=lambda: map(moved, spec.train()), validation=lambda: map(moved, spec.validation())))
    table = kit.rows(200, 3)
    known = np.isfinite(table["amount"].to_numpy())
    error = answers(tmp_path, table, "amount")["amount"].values[known, 0] - 1e10 - table["amount"].to_numpy()[known]
    assert np.abs(error).mean() < 5  # of a deviation of about 16; float32 holds 1e10 in steps of 1,024


def test_more_rows_than_allowed_are_a_seeded_sample_of_blocks(tmp_path: Path) -> None:
    table = kit.rows(1000)
    blocks = [table.slice(start, 100) for start in range(0, 1000, 100)]
    spec = replace(kit.spec(tmp_path, "label"), train=lambda: iter(blocks))
    facts = fit(spec, max_rows=300)
    assert (facts["num_train_rows"], facts["num_train_rows_read"], facts["all_train_rows"]) == (300, 1000, False)
    assert fit(spec, max_rows=300) == facts
    assert fit(replace(spec, seed=1), max_rows=300)["targets"] != facts["targets"]
    early = fit(spec, max_rows=300, max_rows_read=400)
    assert (early["num_train_rows"], early["num_train_rows_read"]) == (300, 400)


def test_trials_keep_the_best_on_validation(tmp_path: Path) -> None:
    facts = fit(kit.spec(tmp_path, "label"), trials=4)["targets"]["label"]
    losses = [item["validation_loss"] for item in facts["tried"]]
    assert len(losses) == 4 and facts["validation_loss"] == min(losses)
    assert facts["tried"][0]["num_leaves"] == 31 and len({item["num_leaves"] for item in facts["tried"]}) > 1


def test_balanced_classes_raise_the_rare_ones_probability(tmp_path: Path) -> None:
    table = kit.rows(600)
    label = table["label"].to_numpy()
    rare = table.filter(pa.array((label != 0) | (np.arange(600) % 10 == 0)))
    means = []
    for name in ("none", "balanced"):
        (tmp_path / name).mkdir()
        fit(replace(kit.spec(tmp_path / name, "label"), train=lambda: iter([rare])), class_weight=name)
        means.append(answers(tmp_path / name, kit.rows(300, 4), "label")["label"].values[:, 0].mean())
    assert means[1] > 1.5 * means[0]


def test_mistakes_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = kit.spec(tmp_path, "label")
    one = kit.rows(60).filter(pa.array(kit.rows(60)["label"].to_numpy() == 1))
    with pytest.raises(GuardError, match="the target 'label' has one label only among the .* training rows"):
        fit(replace(spec, train=lambda: iter([one])))
    with pytest.raises(UserError, match="the validation split has no row with a value of 'label'"):
        fit(replace(spec, validation=lambda: iter([])))
    with pytest.raises(ValueError, match="expected rising levels, each once"):
        make("models", {"kind": "lightgbm", "quantiles": [0.9, 0.1]})
    fit(spec)
    (tmp_path / "trees-0.txt").write_text("no tree")
    with pytest.raises(UserError, match="'.*trees-0.txt' is missing or damaged"):
        answerer(tmp_path, kit.schema("label"))
    with pytest.raises(UserError, match="the trees were learnt for"):
        answerer(tmp_path, kit.schema("amount"))
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UserError, match=r"the package 'lightgbm' is not installed.*pip install 'bessemer\[tables\]'"):
        fit(spec)
