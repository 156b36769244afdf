"""Raw rows through the predictors of tables are the models' own numbers, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.forms import open_form
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Calibration
from bessemer.models import _table_rows as tables
from bessemer.models.lightgbm import load, matrix
from bessemer.models.linear import load_linear
from bessemer.testing import table_models as kit
from tests.contract.test_contract_predictors import _table_graph as table_graph
from tests.contract.test_contract_predictors import fit_table


def test_trees_serve_what_they_say_offline(tmp_path: Path) -> None:
    import lightgbm as package

    fit_table(tmp_path, "lightgbm", num_boost_round=30)
    raw = kit.rows(200, 1)
    spec = kit.prepared(tmp_path / "again", tmp_path / "again", "label", "amount", "flags")
    table = next(iter(spec.validation()))
    features = matrix(table, tables.numbers_of(table), tables.codes_of(table), load(tmp_path).features)
    served = open_form(tmp_path).predict(raw.select(["shape", "speed", "size"]))
    for item in load(tmp_path).targets:
        boosters = [package.Booster(model_file=str(tmp_path / file)) for file in item.files]
        offline = np.stack([booster.predict(features) for booster in boosters], axis=1)
        found = served[item.target].values
        expected = offline[:, 0] if item.kind == "label" else item.shift + item.scale * offline
        assert found.tobytes() == expected.astype(found.dtype).tobytes()


def test_linear_serves_what_it_says_offline(tmp_path: Path) -> None:
    fit_table(tmp_path, "linear", c=[1.0])
    spec = kit.prepared(tmp_path / "again", tmp_path / "again", "label", "amount", "flags")
    table = next(iter(spec.validation()))
    offline = load_linear(tmp_path, spec.schema.by_role(Role.TARGET))(tables.numbers_of(table), tables.codes_of(table))
    served = open_form(tmp_path).predict(kit.rows(200, 1))
    for name, answer in offline.items():
        assert served[name].values.tobytes() == answer.values.tobytes()


@pytest.mark.parametrize("kind", ["lightgbm", "linear"])
def test_new_categories_and_missing_values_have_answers(tmp_path: Path, kind: str) -> None:
    fit_table(tmp_path, kind)
    odd = pa.table({"size": pa.array([None, 1e9, -1e9]), "speed": pa.array([None, 5.0, 5.0], pa.float64()), "shape": ["new", None, "a"]})
    found = open_form(tmp_path).predict(odd)
    assert all(np.isfinite(answer.values).all() for answer in found.values())


def test_models_say_which_predictor_opens_them() -> None:
    for kind, predictor in (("lightgbm", "lightgbm"), ("linear", "table_linear")):
        model = plugin_of("models", make("models", kind)).function(make("models", kind))
        assert (model.predictor, model.table) == (predictor, True)


def test_int8_of_a_table_answers_a_row_alone_as_among_others(tmp_path: Path) -> None:
    table_graph(tmp_path)
    config = make("compress", "dynamic_int8")
    nothing = Calibration(0, lambda: iter(()))
    facts = plugin_of("compress", config).function(config)(tmp_path / "model.onnx", tmp_path / "small.onnx", nothing)
    assert facts["matmuls"] > 0
    forms = []
    for name in ("model", "small"):
        form = make("predictors", {"kind": "table_onnx", "file": f"{name}.onnx"})
        forms.append(plugin_of("predictors", form).function(form)(tmp_path, Schema.load(tmp_path), name))
    rows = kit.rows(60, 3)
    exact, found = (form.predict(rows) for form in forms)
    for row in range(8):
        alone = forms[1].predict(rows.slice(row, 1))
        assert all(answer.values.tobytes() == found[name].values[row:row + 1].tobytes() for name, answer in alone.items())
    assert np.mean(found["label"].values.argmax(1) == exact["label"].values.argmax(1)) > 0.9
