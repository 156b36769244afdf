"""Every plug-in of `tasks` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bessemer.core.config import Config
from bessemer.core.task_spec import TaskSpec
from bessemer.testing.rows import tagged_split
from bessemer.testing.tasks import POSITIONS, TableTaskContract, TaskContract, equal
from tests.contract.each import Examples, example, kinds
from tests.tasks.test_consistency import partly

torch.set_num_threads(1)
EXAMPLES: Examples = {"supervised": lambda folder: {"quantiles": [0.1, 0.9]}}
TABLES, TAGS, PARTLY, LABELLED = ("supervised",), ("sequence_labelling",), ("consistency",), ("shifted",)


class TestEachTask(TaskContract):
    @pytest.fixture(autouse=True, params=[kind for kind in kinds("tasks") if kind not in (*TABLES, *TAGS, *PARTLY, *LABELLED)])
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
        return partly(80, every=2)


class TestEachTaskOfTheLabelledOnes(TestEachTaskOfPartlyLabelledRows):
    """Its rows are those with a label, in their order; the others only weigh them."""

    @pytest.fixture(autouse=True, params=LABELLED)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def test_batches_repeat(self, tmp_path: Path) -> None:
        task, other = self.task(tmp_path), self.task(tmp_path, full=True)
        for epoch in (-1, 0, 2):
            first = task.batch(POSITIONS, epoch)
            assert first.row_ids is not None and first.row_ids.tolist() == (POSITIONS * 14 + 100).tolist()
            assert equal(first, task.batch(POSITIONS, epoch)) and equal(first, other.batch(POSITIONS, epoch))

    def test_costs_are_the_tokens_of_rows(self, tmp_path: Path) -> None:
        task, spec = self.task(tmp_path), self.spec()
        assert task.count == 40 and task.costs is not None and (task.costs == np.minimum(spec.lengths[::2] + 2, spec.max_length)).all()


class TestEachTableTask(TableTaskContract):
    @pytest.fixture(autouse=True, params=TABLES)
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("tasks", self.kind, EXAMPLES, folder)
