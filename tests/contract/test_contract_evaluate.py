"""Every plug-in of `evaluate` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.core.config import Config
from bessemer.testing.metrics import MetricContract
from tests.contract.each import Examples, example, kinds

EXAMPLES: Examples = {"pinball": lambda _: {"quantiles": list(MetricContract.quantiles)},
                      **{f"span_{name}": lambda _: {"labels": ["B", "I", "O"]} for name in ("precision", "recall", "f1")}}


class TestEachMetric(MetricContract):
    @pytest.fixture(autouse=True, params=kinds("evaluate"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param
        self.reads_truth = request.param != "interval_width"

    def config(self, folder: Path) -> Config:
        return example("evaluate", self.kind, EXAMPLES, folder)
