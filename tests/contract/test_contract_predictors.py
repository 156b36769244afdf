"""Every plug-in of `predictors` keeps the contract."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from bessemer.core.config import Config
from bessemer.core.forms import Form, write_forms
from bessemer.core.heads import Head, Inverse, save_heads
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import BuildSpec, FitSpec
from bessemer.export.openvino import convert
from bessemer.modalities import codec_of
from bessemer.nn.checkpoint import load_network
from bessemer.nn.early_exit import EarlyExits
from bessemer.nn.table import load_table_network, save_table_network
from bessemer.testing import table_models
from bessemer.testing.predictors import PredictorContract
from bessemer.testing.table_predictors import TablePredictorContract
from tests.contract.each import Examples, example, kinds
from tests.predictors.test_predictors import fit_linear, make_folder

torch.set_num_threads(1)


def _network(folder: Path) -> dict[str, Any]:
    make_folder(folder)
    return {"max_length": 16}


_EXPORTED: dict[str, bytes] = {}  # the graph of the one seeded network that make_folder writes: seconds to export, so once


def _graph(folder: Path) -> dict[str, Any]:
    make_folder(folder)
    file, weights = folder / "model.onnx", hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if weights not in _EXPORTED:
        config = make("export", "onnx")
        plugin_of("export", config).function(config)(load_network(folder, ("classification",)).eval(), file)
        _EXPORTED[weights] = file.read_bytes()
    file.write_bytes(_EXPORTED[weights])
    return {"file": "model.onnx", "max_length": 16}


def _linear(folder: Path) -> dict[str, Any]:
    fit_linear(folder)
    return {}


def _probe(folder: Path) -> dict[str, Any]:
    schema = make_folder(folder)
    config = make("models", {"kind": "probe", "path": str(folder), "c": [1.0]})
    table = pa.table({"review": ["a good film", "bad", "good good", "a bad film"] * 3, "mood": pa.array([1, 0, 1, 0] * 3, pa.int32())})
    (folder / "out").mkdir()
    plugin_of("models", config).function(config).fit(FitSpec(schema, lambda: iter([table]), lambda: iter([table]), 0, folder / "out",
                                                            data=folder, codec=codec_of(schema.columns[0], folder)))
    (folder / "out" / "probe.safetensors").rename(folder / "probe.safetensors")
    return {}


def fit_table(folder: Path, kind: str, **settings: Any) -> None:
    """Write a folder with a fitted model of tables: its columns, its schema and its `predictor.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    config = make("models", {"kind": kind, **settings})
    model = plugin_of("models", config).function(config)
    model.fit(table_models.prepared(folder, folder, "label", "amount", "flags"))
    write_forms(folder, (Form(name=kind, predictor=make("predictors", model.predictor)),))


def _lightgbm(folder: Path) -> dict[str, Any]:
    fit_table(folder, "lightgbm", num_boost_round=20, quantiles=[0.1, 0.9])
    return {}


def _table_linear(folder: Path) -> dict[str, Any]:
    fit_table(folder, "linear", c=[1.0])
    return {}


def _blend(folder: Path) -> dict[str, Any]:
    fit_table(folder / "members" / "a", "lightgbm", num_boost_round=20)
    fit_table(folder / "members" / "b", "linear", c=[1.0])
    (folder / "schema.json").write_bytes((folder / "members" / "a" / "schema.json").read_bytes())
    return {"members": ["members/a", "members/b"], "forms": ["lightgbm", "linear"],
            "weights": {"label": [0.5, 0.5], "amount": [0.25, 0.75], "flags": [1.0, 0.0]}}


def _table_network(folder: Path) -> dict[str, Any]:
    spec = table_models.prepared(folder, folder, "label", "amount", "flags")
    config = make("models", {"kind": "members", "members": 3, "hidden_sizes": [8]})
    torch.manual_seed(0)
    network = plugin_of("models", config).function(config).build(BuildSpec(spec.schema, dict(spec.info), (), outputs=6))
    save_table_network(network.eval(), folder)
    save_heads(folder, [Head(target="label", kind="label", width=3, labels=table_models.LABELS),
                        Head(target="amount", kind="number", width=1, inverse=Inverse(shift=100, scale=10)),
                        Head(target="flags", kind="flags", width=2, labels=table_models.FLAGS)])
    return {}


_TABLE_EXPORTED: dict[str, bytes] = {}


def _table_graph(folder: Path) -> dict[str, Any]:
    _table_network(folder)
    file = folder / "model.onnx"
    if "graph" not in _TABLE_EXPORTED:
        config = make("export", "onnx")
        plugin_of("export", config).function(config)(load_table_network(folder).eval(), file)
        _TABLE_EXPORTED["graph"] = file.read_bytes()
    file.write_bytes(_TABLE_EXPORTED["graph"])
    return {"file": "model.onnx"}


def _openvino(folder: Path) -> dict[str, Any]:
    _graph(folder)
    convert(folder / "model.onnx", folder / "model.xml")
    return {"file": "model.xml", "max_length": 16}


def _program(folder: Path) -> dict[str, Any]:
    make_folder(folder)
    config = make("export", "torch")
    plugin_of("export", config).function(config)(load_network(folder, ("classification",)).eval(), folder / "model.pt2")
    return {"file": "model.pt2", "max_length": 16}


def _cascade(folder: Path) -> dict[str, Any]:
    _graph(folder)
    write_forms(folder, (Form(name="cheap", predictor=make("predictors", {"kind": "onnx", "file": "model.onnx", "max_length": 16})),
                         Form(name="dear", predictor=make("predictors", {"kind": "torch", "max_length": 16}))))
    return {"forms": ["cheap", "dear"], "thresholds": [0.7]}


def _early_exit(folder: Path) -> dict[str, Any]:
    make_folder(folder)
    config = make("export", "onnx")
    exits = EarlyExits(load_network(folder, ("classification",)), (1,)).eval()
    for place, segment in enumerate(exits.segments()):
        plugin_of("export", config).function(config)(segment.eval(), folder / f"part_{place}.onnx")
    return {"graphs": ["part_0.onnx", "part_1.onnx"], "thresholds": [2.0], "max_length": 16}


TABLES: Examples = {"lightgbm": _lightgbm, "table_linear": _table_linear, "blend": _blend, "table_torch": _table_network,
                    "table_onnx": _table_graph}
EXAMPLES: Examples = {"torch": _network, "onnx": _graph, "linear": _linear, "probe": _probe, "openvino": _openvino,
                      "torch_program": _program, "cascade": _cascade, "early_exit": _early_exit}


class TestEachPredictor(PredictorContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("predictors") if kind not in TABLES])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("predictors", self.kind, EXAMPLES, folder)


class TestEachTablePredictor(TablePredictorContract):
    @pytest.fixture(autouse=True, params=sorted(TABLES))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("predictors", self.kind, TABLES, folder)
