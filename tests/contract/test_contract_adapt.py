"""Every plug-in of `adapt` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bessemer.core.config import Config
from bessemer.testing.adapt import AdaptationContract
from tests.contract.each import Examples, example, kinds

torch.set_num_threads(1)
EXAMPLES: Examples = {}


class TestEachAdaptation(AdaptationContract):
    @pytest.fixture(autouse=True, params=kinds("adapt"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param
        self.start_gap = 0.2 if request.param == "qat" else 0.0

    def config(self, folder: Path) -> Config:
        return example("adapt", self.kind, EXAMPLES, folder)
