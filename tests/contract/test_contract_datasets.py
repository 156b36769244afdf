"""Every plug-in of `datasets` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.config import Config
from bessemer.testing.datasets import DataSetContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {}


class TestEachDataSet(DataSetContract):
    @pytest.fixture(autouse=True, params=kinds("datasets"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("datasets", self.kind, EXAMPLES, folder)
