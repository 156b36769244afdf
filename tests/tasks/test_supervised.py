"""The task over tables: its losses against the formulas, its calibrated quantiles against counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.task_spec import TableRows, TableSpec
from bessemer.core.types import Task
from bessemer.stages._tables import calibrated
from bessemer.testing import rows

POSITIONS = np.arange(40)


class Fixed(torch.nn.Module):
    """Gives the same outputs for every batch."""

    def __init__(self, outputs: np.ndarray) -> None:
        super().__init__()
        self.outputs = torch.nn.Parameter(torch.from_numpy(outputs))

    def forward(self, numbers: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return self.outputs[:len(numbers)]


def task_of(spec: TableSpec, **settings: object) -> Task:
    config = make("tasks", {"kind": "supervised", **settings})
    return plugin_of("tasks", config).function(config, spec)


@pytest.mark.parametrize(("loss", "formula"), [
    ("mse", lambda gap: gap**2), ("mae", np.abs),
    ("huber", lambda gap: np.where(np.abs(gap) <= 1, gap**2 / 2, np.abs(gap) - 0.5))])
def test_losses_are_those_of_the_formulas(loss: str, formula) -> None:
    spec = rows.table_of()
    outputs = np.random.default_rng(1).normal(size=(40, 2, 6)).astype(np.float32)
    task = task_of(spec, loss=loss, target_weights={"value": 0.5, "flags": 0})
    found = task.loss(Fixed(outputs), task.batch(POSITIONS, 0))
    data = spec.read(POSITIONS).targets
    label, value = data["label"], data["value"]
    each = -log_softmax(outputs[:, :, :3].astype(float), axis=2)
    cross = np.mean([each[row, :, label[row]].mean() for row in range(40) if label[row] >= 0])
    known = np.isfinite(value)
    error = formula(outputs[known, :, 3].astype(float) - value[known, None]).mean()
    assert float(found.total.detach()) == pytest.approx(cross + 0.5 * error, rel=1e-5)


def test_calibrated_quantiles_hold_what_they_say() -> None:
    spec, count = rows.table_of(), 4000
    value = np.random.default_rng(2).exponential(size=count).astype(np.float32)
    columns = tuple(column for column in spec.schema.columns if column.name in "abcde" or column.name == "value")

    def read(places: np.ndarray) -> TableRows:
        size = len(places)
        return TableRows(np.zeros((size, 3), np.float32), np.zeros((size, 2), np.int64), {"value": value[places]},
                         np.ones(size, np.float32), places)

    whole = replace(spec, schema=spec.schema.model_copy(update={"columns": columns}), read=read, count=count,
                    targets={"value": spec.targets["value"]})
    task = task_of(whole, quantiles=[0.05, 0.5, 0.9])
    (head,) = calibrated(task, Fixed(np.zeros((8192, 1, 4), np.float32)), whole)
    below = [(value <= offset).mean() for offset in head.offsets]
    np.testing.assert_allclose(below, [0.05, 0.5, 0.9], atol=2e-3)
