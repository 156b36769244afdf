"""Every plug-in of `predictors` keeps the contract."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from bessemer.core.config import Config
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.nn.checkpoint import load_network
from bessemer.testing.predictors import PredictorContract
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


EXAMPLES: Examples = {"torch": _network, "onnx": _graph, "linear": _linear}


class TestEachPredictor(PredictorContract):
    @pytest.fixture(autouse=True, params=kinds("predictors"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("predictors", self.kind, EXAMPLES, folder)
