"""Consistency training against the paper's equations, written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Task
from bessemer.tasks.consistency import drawn, ramp_of
from bessemer.testing import rows

torch.set_num_threads(1)
BARE = np.array([0, 3, 5])


def task(spec: TaskSpec, **settings: object) -> Task:
    config = make("tasks", {"kind": "consistency", **settings})
    found: Task = plugin_of("tasks", config).function(config, spec)
    return found


def partly(num_rows: int = 40, every: int | None = None) -> TaskSpec:
    """Return the split of the contracts with rows that have no label."""
    spec = rows.split_of(num_rows)
    stored = spec.take(np.arange(spec.count))
    code = stored[rows.TARGET].to_numpy().copy()
    code[BARE if every is None else np.arange(num_rows) % every > 0] = -1
    table = stored.set_column(stored.column_names.index(rows.TARGET), rows.TARGET, pa.array(code, pa.int32()))
    return replace(spec, take=lambda positions: table.take(pa.array(positions)), stored=lambda name: table[name].to_numpy())


@pytest.mark.parametrize("confidence", [0.0, 0.45])
def test_loss_is_the_papers(confidence: float) -> None:
    mine = task(partly(), temperature=0.5, weight=3.0, ramp_up=2, confidence=confidence)
    network = rows.network(("classification",)).eval()
    batch = mine.batch(np.arange(8), 1)
    found = mine.loss(network, batch)
    inputs = batch.inputs[rows.INPUT]
    arguments = inputs["attention_mask"], inputs["token_type_ids"]
    whole, changed = network(inputs["input_ids"], *arguments).detach(), network(inputs["masked_ids"], *arguments)
    kept = np.setdiff1d(np.arange(8), BARE)
    supervised = F.cross_entropy(whole[kept], batch.targets[rows.TARGET][kept])
    sharp = whole[BARE].softmax(-1)**2
    sharp = sharp / sharp.sum(-1, keepdim=True)  # at temperature 1/2
    each = F.kl_div(changed[BARE].log_softmax(-1), sharp, reduction="none").sum(-1)
    sure = (whole[BARE].softmax(-1).amax(-1) >= confidence).float()
    expected = supervised + 3.0 * math.exp(-5 * 0.25) * (each * sure).sum() / 3
    torch.testing.assert_close(found.total, expected)
    found.total.backward()
    assert found.sums["sure"][0] == sure.sum()


def test_the_answer_to_the_whole_text_is_held_fixed() -> None:
    whole, changed = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    each, _ = drawn(whole, changed, 0.4, 0.0)
    each.sum().backward()
    torch.testing.assert_close(changed.grad, changed.detach().softmax(-1) - (whole / 0.4).softmax(-1))
    same, _ = drawn(whole, whole, 1.0, 0.0)
    assert same.abs().max() < 1e-6


def test_masked_words_depend_on_row_and_epoch_and_hide_words_alone() -> None:
    spec = partly()
    mine = task(spec, mask_probability=0.3)
    one, two = (mine.batch(np.arange(40), epoch).inputs[rows.INPUT] for epoch in (0, 1))
    assert not torch.equal(one["masked_ids"], two["masked_ids"])
    changed = one["masked_ids"] != one["input_ids"]
    assert (one["masked_ids"][changed] == spec.codec.info["mask_token_id"]).all() and changed.any(1).all()
    assert not np.isin(one["input_ids"][changed].numpy(), spec.codec.info["special_token_ids"]).any()
    words = (one["attention_mask"].sum() - 2 * 40).item()
    assert 0.2 < changed.sum().item() / words < 0.4
    assert "masked_ids" not in mine.batch(np.arange(4), -1).inputs[rows.INPUT]


def test_weight_rises_from_pass_to_pass() -> None:
    assert [ramp_of(epoch, 4) for epoch in range(6)] == [math.exp(-5 * (1 - t)**2) for t in (0, 0.25, 0.5, 0.75, 1, 1)]
    assert ramp_of(0, 0) == 1.0


def test_labelled_rows_come_up_as_often_as_asked() -> None:
    mine = task(partly(every=10), labelled_copies=5)
    seen = mine.batch(np.arange(mine.count), 0)
    assert mine.count == 40 + 4 * 4 and mine.costs is not None and len(mine.costs) == mine.count
    assert seen.row_ids is not None and sorted(seen.row_ids[seen.present[rows.TARGET]].tolist()) == sorted([100, 170, 240, 310] * 5)


def test_data_without_rows_to_learn_from_are_a_sentence() -> None:
    with pytest.raises(UserError, match="the task consistency learns from texts without a label too, and every training row has one"):
        task(rows.split_of())
    spec = rows.split_of()
    checked = task(replace(spec, fitted_on=partly()))  # a validation split has labels alone
    network = rows.network(("classification",)).eval()
    plain = plugin_of("tasks", make("tasks", "classification")).function(make("tasks", "classification"), spec)
    with torch.inference_mode():
        assert checked.loss(network, checked.batch(np.arange(9), -1)).total == plain.loss(network, plain.batch(np.arange(9), -1)).total
