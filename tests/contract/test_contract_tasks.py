"""Every plug-in of `tasks` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bessemer.core.config import Config
from bessemer.core.task_spec import TaskSpec
from bessemer.testing.rows import tagged_split
from bessemer.testing.tasks import TableTaskContract, TaskContract
from tests.contract.each import Examples, example, kinds
from tests.tasks.test_consistency import partly

torch.set_num_threads(1)
EXAMPLES: Examples = {"supervised": lambda folder: {"quantiles": [0.1, 0.9]}}
TABLES, TAGS, PARTLY = ("supervised",), ("sequence_labelling",), ("consistency",)


class TestEachTask(TaskContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("tasks") if kind not in (*TABLES, *TAGS, *PARTLY)])
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("tasks", self.kind, EXAMPLES, folder)


class TestEachTaskOfTags(TestEachTask):
    @pytest.fixture(autouse=True, params=TAGS)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def spec(self) -> TaskSpec:
        return tagged_split()


class TestEachTaskOfPartlyLabelledRows(TestEachTask):
    @pytest.fixture(autouse=True, params=PARTLY)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def spec(self) -> TaskSpec:
        return partly()


class TestEachTableTask(TableTaskContract):
    @pytest.fixture(autouse=True, params=TABLES)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("tasks", self.kind, EXAMPLES, folder)
