"""Every plug-in of `tasks` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bessemer.core.config import Config
from bessemer.testing.tasks import TaskContract
from tests.contract.each import Examples, example, kinds

torch.set_num_threads(1)
EXAMPLES: Examples = {}


class TestEachTask(TaskContract):
    @pytest.fixture(autouse=True, params=kinds("tasks"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("tasks", self.kind, EXAMPLES, folder)
