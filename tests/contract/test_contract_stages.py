"""Every plug-in of `stages` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.config import Config
from bessemer.testing.stages import StageContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {
    "prepare": lambda folder: {"sources": [{"kind": "csv", "path": "rows.csv"}], "inputs": {"text": {"kind": "text"}}},
    "stream": lambda folder: {"source": {"kind": "regression", "rows": 100}, "inputs": {"x": {"kind": "vector"}},
                              "targets": {"y": {"kind": "number"}}},
    "pretrain": lambda folder: {"model": {"kind": "bert"}},
    "finetune": lambda folder: {"init": "pretrain"},
    "prune": lambda folder: {"layers": 3},
    "update": lambda folder: {"sources": [{"kind": "csv", "path": "new.csv"}]}}


class TestEachStage(StageContract):
    @pytest.fixture(autouse=True, params=kinds("stages"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("stages", self.kind, EXAMPLES, folder)
