"""Dynamic int8: smaller, close, the same bytes every time, and each row's answer its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.forms import Form, open_form, write_forms
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.export.parity import agreement, assert_close
from bessemer.nn.checkpoint import load_network
from bessemer.testing.graphs import CALIBRATION
from tests.export.test_onnx import export
from tests.predictors.test_predictors import TEXTS, WORDS, make_folder, only, opened, without_torch


def compress(source: Path, target: Path, **settings: object) -> dict[str, object]:
    config = make("compress", {"kind": "dynamic_int8", **settings})
    facts: dict[str, object] = plugin_of("compress", config).function(config)(source, target, CALIBRATION)
    return facts


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_folder(folder)
    export(load_network(folder, ("classification",)).eval(), folder / "model.onnx")
    return folder


def test_int8_is_smaller_and_its_bytes_repeat(exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = compress(exported / "model.onnx", tmp_path / "a.onnx")
    compress(exported / "model.onnx", tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
    # 6 projections a layer of 2, the pooler, the classifier; words, segments, positions.
    assert (facts["matmuls"], facts["embeddings"]) == (14, 3)
    assert str(tmp_path).encode() not in (tmp_path / "a.onnx").read_bytes()
    graph = onnx.load(str(tmp_path / "a.onnx")).graph
    weights = [onnx.numpy_helper.to_array(item) for item in graph.initializer if item.name.endswith("_quantized")]
    projections = [weight for weight in weights if weight.ndim == 2 and weight.dtype == np.int8 and weight.shape[0] in (32, 64)]
    assert projections and all(np.abs(weight.astype(int)).max() <= 64 for weight in projections)


def test_forms_agree_and_int8_answers_row_by_row(exported: Path) -> None:
    compress(exported / "model.onnx", exported / "int8.onnx")
    forms = [Form(name=name, predictor=make("predictors", {"kind": "onnx", "file": file, "max_length": 16}), files=(file,))
             for name, file in (("int8", "int8.onnx"), ("float", "model.onnx"))]
    write_forms(exported, tuple(forms))
    texts = TEXTS + [" ".join(np.random.default_rng(i).choice(WORDS, 1 + i % 20)) for i in range(60)]
    table = pa.table({"review": texts})
    reference = only(opened(exported, max_length=16).predict(table)).values
    assert_close(reference, only(open_form(exported, "float").predict(table)).values)
    int8 = open_form(exported, "int8")
    found = only(int8.predict(table)).values
    assert agreement(reference, found) >= 0.9
    alone = np.concatenate([only(int8.predict(table.slice(row, 1))).values for row in range(len(texts))])
    assert found.tobytes() == alone.tobytes()
    expected = only(int8.predict(pa.table({"review": ["good film", "bad day"]}))).values
    assert without_torch(exported) == expected.tobytes().hex()


def test_another_schema_is_noticed(exported: Path, tmp_path: Path) -> None:
    make_folder(tmp_path, ("a", "b", "c"))
    (tmp_path / "model.onnx").write_bytes((exported / "model.onnx").read_bytes())
    with pytest.raises(UserError, match="tells 2 classes apart, the schema beside it names 3; the two are not of the same run"):
        opened(tmp_path, "onnx", file="model.onnx")


def test_missing_and_damaged_graphs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no graph .*model.onnx' to compress; export the network first"):
        compress(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(UserError, match="is damaged: it is no ONNX graph; export the network again"):
        compress(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()
