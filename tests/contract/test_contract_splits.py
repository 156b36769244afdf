"""Every plug-in of `data/splits` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.config import Config
from bessemer.testing.splits import SplitContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {
    "random": lambda folder: {"validation": 0.15, "test": 77},
    "folds": lambda folder: {"folds": 4, "fold": 1, "validation": 0.15},
    "group": lambda folder: {"column": "author", "validation": 0.15, "test": 78},
    "time": lambda folder: {"column": "day", "validation": 0.15, "test": 77},
    "stratified": lambda folder: {"validation": 0.15, "test": 77}}


class TestEachSplit(SplitContract):
    @pytest.fixture(autouse=True, params=kinds("data/splits"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("data/splits", self.kind, EXAMPLES, folder)
