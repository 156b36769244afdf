"""Every plug-in of `predictors` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.config import Config
from bessemer.testing.predictors import PredictorContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {}


class TestEachPredictor(PredictorContract):
    @pytest.fixture(autouse=True, params=kinds("predictors"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("predictors", self.kind, EXAMPLES, folder)
