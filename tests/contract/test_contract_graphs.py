"""Every plug-in of `export` and `compress` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bessemer.core.config import Config
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.predictors import openvino_form, torch_program_form
from bessemer.predictors.onnx_form import OUTPUT, open_session
from bessemer.testing import rows
from bessemer.testing.graphs import CompressContract, ExportContract
from tests.contract.each import Examples, example, kinds

torch.set_num_threads(1)
EXPORTS: Examples = {}
EXAMPLES: Examples = {"weight_only": lambda _: {"block_size": 16}, "float16": lambda _: {"min_values": 16},
                      "sparse_storage": lambda _: {"min_values": 16}, "mixed_int8": lambda _: {"sensitivity_rows": 12}}


class TestEachExport(ExportContract):
    @pytest.fixture(autouse=True, params=kinds("export"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("export", self.kind, EXPORTS, folder)

    def answers(self, file: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
        if self.kind == "openvino":
            return openvino_form.open_graph(file, "float32").run(arrays)
        if self.kind == "torch":
            return torch_program_form.open_program(file).run(arrays)
        return open_session(file).run([OUTPUT], arrays)[0]


class TestEachCompression(CompressContract):
    @pytest.fixture(autouse=True, params=kinds("compress"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("compress", self.kind, EXAMPLES, folder)

    def graph(self, file: Path) -> None:
        config = make("export", "onnx")
        plugin_of("export", config).function(config)(rows.network(("classification",)), file)

    def answers(self, file: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return open_session(file).run([OUTPUT], arrays)[0]
