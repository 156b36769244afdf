"""OpenVINO, torch programs and cascades: the network's answers, without what they do not need, each row its own."""

from __future__ import annotations

import builtins
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.forms import Form, open_form, write_forms
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.export.openvino import convert
from bessemer.nn.checkpoint import load_network
from tests.predictors.test_predictors import TEXTS, WORDS, make_folder, only, opened, rows, without_torch

MANY = [*TEXTS, *(" ".join(np.random.default_rng(i).choice(WORDS, 1 + i % 20)) for i in range(40))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and its graphs for three runtimes."""
    folder = tmp_path_factory.mktemp("model")
    make_folder(folder)
    network = load_network(folder, ("classification",)).eval()
    for kind, file in (("onnx", "model.onnx"), ("torch", "model.pt2")):
        config = make("export", kind)
        plugin_of("export", config).function(config)(network, folder / file)
    convert(folder / "model.onnx", folder / "model.xml")
    settings: dict[str, dict[str, Any]] = {
        "openvino": {"kind": "openvino", "file": "model.xml", "max_length": 16},
        "onnx": {"kind": "onnx", "file": "model.onnx", "max_length": 16},
        "program": {"kind": "torch_program", "file": "model.pt2", "max_length": 16}, "torch": {"kind": "torch", "max_length": 16}}
    write_forms(folder, tuple(Form(name=name, predictor=make("predictors", item)) for name, item in settings.items()))
    return folder


@pytest.mark.parametrize("form", ["openvino", "program"])
def test_the_same_answers_as_the_network(model: Path, form: str) -> None:
    reference, found = (only(open_form(model, name).predict(rows(MANY))).values for name in ("torch", form))
    np.testing.assert_allclose(found, reference, atol=1e-5)


def test_openvino_predicts_where_torch_cannot_be_imported(model: Path) -> None:
    expected = only(open_form(model).predict(pa.table({"review": ["good film", "bad day"]}))).values
    assert without_torch(model) == expected.tobytes().hex()


def test_a_quantized_graph_answers_alike_in_both_runtimes(model: Path, tmp_path: Path) -> None:
    from bessemer.testing.graphs import CALIBRATION

    for file in model.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    config = make("compress", "static_int8")
    plugin_of("compress", config).function(config)(model / "model.onnx", tmp_path / "int8.onnx", CALIBRATION)
    convert(tmp_path / "int8.onnx", tmp_path / "int8.xml")
    assert (tmp_path / "int8.bin").stat().st_size * 2 < (tmp_path / "model.bin").stat().st_size
    onnx = only(opened(tmp_path, "onnx", file="int8.onnx", max_length=16).predict(rows(MANY))).values
    openvino = only(opened(tmp_path, "openvino", file="int8.xml", max_length=16).predict(rows(MANY))).values
    assert np.abs(onnx - openvino).mean() < 0.02 and (onnx.argmax(1) == openvino.argmax(1)).mean() >= 0.95


def test_a_missing_package_is_one_sentence(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def blocked(name: str, *arguments: Any, **named: Any) -> Any:
        if name.split(".")[0] == "openvino":
            raise ImportError(name)
        return imported(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(UserError, match=r"^this form is run by OpenVINO, which is not installed; run: pip install 'bessemer\[openvino\]'$"):
        open_form(model, "openvino")
    with pytest.raises(UserError, match=r"^an export to OpenVINO needs the package; run: pip install 'bessemer\[openvino\]'$"):
        convert(model / "model.onnx", model / "other.xml")


def test_missing_damaged_and_foreign_files(model: Path, tmp_path: Path) -> None:
    make_folder(tmp_path, ("a", "b", "c"))
    for name in ("model.xml", "model.bin", "model.pt2"):
        shutil.copyfile(model / name, tmp_path / name)
    for kind, file in (("openvino", "model.xml"), ("torch_program", "model.pt2")):
        with pytest.raises(UserError, match="gives 2 values a row, the schema beside it needs 3; the two are not of the same run"):
            opened(tmp_path, kind, file=file, max_length=16).predict(rows(["good"]))
        with pytest.raises(UserError, match="there is no file '.*gone', which predictor.json names; export again"):
            opened(tmp_path, kind, file="gone")
    (tmp_path / "model.xml").write_text("<net>", encoding="utf-8")
    (tmp_path / "model.pt2").write_bytes(b"PK" * 30)
    with pytest.raises(UserError, match="model.xml' is damaged or needs another version of OpenVINO"):
        opened(tmp_path, "openvino", file="model.xml")
    with pytest.raises(UserError, match="model.pt2' is damaged or needs another version of torch"):
        opened(tmp_path, "torch_program", file="model.pt2")
    with zipfile.ZipFile(tmp_path / "pickled.pt2", "w") as archive:
        archive.writestr("archive/data/sample_inputs/model.pt", b"a pickle")
    with pytest.raises(UserError, match="holds a pickle .*sample_inputs/model.pt'.*, which could run code, so it is not opened"):
        opened(tmp_path, "torch_program", file="pickled.pt2")


def test_a_cascade_asks_the_next_form_only_for_unsure_rows(model: Path, tmp_path: Path) -> None:
    for file in model.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    (tmp_path / "cheap").mkdir()
    make_folder(tmp_path / "cheap")
    table = rows(MANY)
    dear = only(open_form(model, "torch").predict(table)).values
    weights = tmp_path / "model.onnx"
    config = make("compress", {"kind": "weight_only", "bits": 4, "block_size": 16})
    from bessemer.core.types import Calibration

    plugin_of("compress", config).function(config)(weights, tmp_path / "cheap.onnx", Calibration(0, lambda: iter(())))
    forms = (Form(name="cheap", predictor=make("predictors", {"kind": "onnx", "file": "cheap.onnx", "max_length": 16})),
             Form(name="dear", predictor=make("predictors", {"kind": "torch", "max_length": 16})))
    write_forms(tmp_path, forms)
    cheap = only(open_form(tmp_path, "cheap").predict(table)).values
    middle = float(np.median(cheap.max(1)))
    for threshold in (0.0, middle, 2.0):
        cascade = opened(tmp_path, "cascade", forms=["cheap", "dear"], thresholds=[threshold])
        found = only(cascade.predict(table))
        stops = cheap.max(1) >= threshold
        np.testing.assert_allclose(found.values, np.where(stops[:, None], cheap, dear), atol=1e-5)
        assert found.labels == ("bad", "good") and only(cascade.predict(rows([]))).values.shape == (0, 2)
    with pytest.raises(ValueError, match="expected 1 thresholds for 2 forms, not 2"):
        opened(tmp_path, "cascade", forms=["cheap", "dear"], thresholds=[0.5, 0.5])
    with pytest.raises(UserError, match="the cascade 'form' names itself among its forms"):
        opened(tmp_path, "cascade", forms=["cheap", "form"], thresholds=[0.5])
