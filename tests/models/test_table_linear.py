"""The model `linear`: equal to scikit-learn and numpy; exact on data without noise; bounded; saved and loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role
from bessemer.core.types import Answer, FitSpec
from bessemer.models import _table_rows as tables
from bessemer.models.linear import Layout, load_linear
from bessemer.testing import table_models as kit


def fit(spec: FitSpec, **settings: Any) -> dict[str, Any]:
    config = make("models", {"kind": "linear", **settings})
    found: dict[str, Any] = plugin_of("models", config).function(config).fit(spec)
    return found


def answers(folder: Path, table: pa.Table, *targets: str) -> dict[str, Answer]:
    load = load_linear(folder, kit.schema(*targets).by_role(Role.TARGET))
    return load(tables.numbers_of(table), tables.codes_of(table))


def design(table: pa.Table) -> np.ndarray:
    return np.concatenate([tables.numbers_of(table).astype(np.float64), np.eye(len(kit.VALUES))[tables.codes_of(table)[:, 0]]], axis=1)


def numbers_spec(out: Path, x: np.ndarray, y: np.ndarray, held: int) -> FitSpec:
    schema = kit.schema("amount")
    table = pa.table({".numbers": pa.FixedSizeListArray.from_arrays(pa.array(x.astype(np.float32).ravel()), x.shape[1]), "amount": y})
    info = {"numbers": x.shape[1], "cardinalities": [], "columns": {"size": [0, x.shape[1], 0, 0]}}
    part = table.slice(held)
    return FitSpec(schema, lambda: (part.slice(start, 500) for start in range(0, len(part), 500)), lambda: iter([table.slice(0, held)]), 0,
                   out, info, threads=1)


@pytest.mark.parametrize("alpha", [1.0, 30.0])
def test_ridge_equals_scikit_learn(tmp_path: Path, alpha: float) -> None:
    fit(kit.spec(tmp_path, "amount"), alpha=[alpha])
    train, held = kit.rows(400), kit.rows(200, 1)
    y = train["amount"].to_numpy()
    peer = Ridge(alpha=alpha, solver="cholesky").fit(design(train)[np.isfinite(y)], y[np.isfinite(y)])
    np.testing.assert_allclose(answers(tmp_path, held, "amount")["amount"].values[:, 0], peer.predict(design(held)), rtol=1e-8)


def test_no_penalty_equals_least_squares(tmp_path: Path) -> None:
    fit(kit.spec(tmp_path, "amount"), alpha=[0.0])
    train, held = kit.rows(400), kit.rows(200, 1)
    y = train["amount"].to_numpy()
    x = np.concatenate([design(train), np.ones((400, 1))], axis=1)[np.isfinite(y)]  # the one-hot columns sum to the last: rank is short
    expected = np.concatenate([design(held), np.ones((200, 1))], axis=1) @ np.linalg.lstsq(x, y[np.isfinite(y)], rcond=None)[0]
    np.testing.assert_allclose(answers(tmp_path, held, "amount")["amount"].values[:, 0], expected, rtol=1e-8)


def test_weighted_ridge_equals_scikit_learn(tmp_path: Path) -> None:
    spec = kit.spec(tmp_path, "amount")
    weight = kit.schema("amount").columns[0].model_copy(update={"name": "weight", "role": Role.WEIGHT})
    weigh = np.random.default_rng(5).uniform(0, 3, 400)
    table = kit.rows(400).append_column("weight", pa.array(weigh))
    held = kit.rows(200, 1).append_column("weight", pa.array(np.ones(200)))
    schema = spec.schema.model_copy(update={"columns": (*spec.schema.columns, weight)})
    fit(replace(spec, schema=schema, train=lambda: iter([table.slice(0, 150), table.slice(150)]), validation=lambda: iter([held])),
        alpha=[2.0])
    y = table["amount"].to_numpy()
    keep = np.isfinite(y)
    peer = Ridge(alpha=2.0, solver="cholesky").fit(design(table)[keep], y[keep], sample_weight=weigh[keep])
    np.testing.assert_allclose(answers(tmp_path, held, "amount")["amount"].values[:, 0], peer.predict(design(held)), rtol=1e-8)


def test_exact_where_there_is_no_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 60)).astype(np.float32)
    y = 1e6 + x[:, :10].astype(np.float64) @ rng.uniform(1, 100, 10)
    facts = fit(numbers_spec(tmp_path, x, y, 1000))["targets"]["amount"]
    assert facts["alpha"] == 0 and facts["validation_r2"] > 1 - 1e-12
    said = load_linear(tmp_path, kit.schema("amount").by_role(Role.TARGET))(x, np.zeros((6000, 0), np.int32))["amount"].values[:, 0]
    assert 1 - ((said - y)**2).sum() / ((y - y.mean())**2).sum() > 1 - 1e-12


def test_penalty_is_chosen_on_validation(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(560, 50))
    facts = fit(numbers_spec(tmp_path, x, x[:, 0] + 3 * rng.normal(size=560), 500))["targets"]["amount"]
    errors = {item["alpha"]: item["validation_rmse"] for item in facts["tried"]}
    assert facts["alpha"] == min(errors, key=errors.__getitem__) > 1 and facts["validation_rmse"] == errors[facts["alpha"]]


def test_stops_reading_early_and_says_so(tmp_path: Path) -> None:
    taken = []
    spec = kit.spec(tmp_path, "amount")

    def blocks() -> Any:
        for block in range(10**6):
            taken.append(block)
            yield kit.rows(50, block)

    for target in ("amount", "label"):
        taken.clear()
        facts = fit(replace(spec, schema=kit.schema(target), train=blocks), max_rows=120)
        assert facts["num_train_rows"] == 120 and facts["all_train_rows"] is False and len(taken) <= 4
    assert fit(spec)["all_train_rows"] is True


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_labels_equal_scikit_learn(tmp_path: Path, c: float) -> None:
    fit(kit.spec(tmp_path, "label"), c=[c])
    train, held = kit.rows(400), kit.rows(200, 1)
    y = train["label"].to_numpy()
    peer = LogisticRegression(C=c, max_iter=1000).fit(design(train)[y >= 0], y[y >= 0])
    np.testing.assert_allclose(answers(tmp_path, held, "label")["label"].values, peer.predict_proba(design(held)), atol=2e-3)


def test_flags_are_learnt_each_and_a_constant_one_gets_its_rate(tmp_path: Path) -> None:
    spec = kit.spec(tmp_path, "flags")

    def never(table: pa.Table) -> pa.Table:
        flags = tables.truth_of(table, kit.schema("flags").columns[-1]).astype(np.int8)
        flags[:, 1] = 0
        return table.set_column(table.column_names.index("flags"), "flags", pa.FixedSizeListArray.from_arrays(pa.array(flags.ravel()), 2))

    fit(replace(spec, train=lambda: map(never, spec.train())))
    held = kit.rows(200, 1)
    said = answers(tmp_path, held, "flags")["flags"].values
    truth = tables.truth_of(held, kit.schema("flags").columns[-1])[:, 0]
    assert ((said[:, 0] > 0.5) == truth)[truth >= 0].mean() > 0.85
    np.testing.assert_allclose(said[:, 1], 1 / 402, rtol=1e-5)


def test_large_categories_are_hashed_or_left_out(tmp_path: Path) -> None:
    layout = Layout(numbers=1, buckets=(4, 0, 3))
    np.testing.assert_array_equal(layout.places(np.array([[3, 9, 7], [0, 1, 2]])), [[3, 4 + 1], [0, 4 + 2]])
    spec = kit.spec(tmp_path, "amount")
    facts = fit(replace(spec, info={**kit.INFO, "cardinalities": [5000]}), max_values=3)
    assert facts["num_features"] == 6 and facts["left_out"] == []
    facts = fit(spec, max_features=5)
    assert facts["num_features"] == 3 and facts["left_out"] == ["shape"]


def test_unseen_codes_and_no_rows_have_answers(tmp_path: Path) -> None:
    fit(kit.spec(tmp_path, "label", "amount"))
    none = answers(tmp_path, kit.rows(10).slice(0, 0), "label", "amount")
    assert none["label"].values.shape == (0, 3) and none["amount"].values.shape == (0, 1)
    assert none["label"].values.dtype == np.float32 and none["amount"].values.dtype == np.float64


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model.max_features: the data have 3 numbers a row"):
        fit(kit.spec(tmp_path, "amount"), max_features=2)
    with pytest.raises(UserError, match="the validation split has no row with a value of 'amount'"):
        fit(replace(kit.spec(tmp_path, "amount"), validation=lambda: iter([])))
    with pytest.raises(UserError, match="holds no linear model"):
        load_linear(tmp_path, ())
    fit(kit.spec(tmp_path, "amount"))
    with pytest.raises(UserError, match="learnt for other targets"):
        load_linear(tmp_path, kit.schema("label").by_role(Role.TARGET))


@pytest.mark.parametrize(("kind", "answer"), [("category", "label"), ("boolean", "label"), ("number", "number"), ("multilabel", "flags")])
def test_the_answer_follows_from_the_targets_modality(kind: str, answer: str) -> None:
    assert tables.kind_of(Column(name="y", role=Role.TARGET, modality={"kind": kind})) == answer
    with pytest.raises(UserError, match="the target 'y' is of kind 'date', which a model of tables does not learn; expected labels"):
        tables.kind_of(Column(name="y", role=Role.TARGET, modality={"kind": "date"}))
