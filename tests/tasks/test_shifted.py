"""Importance weights against densities that are known, and what they do to a loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Task
from bessemer.tasks.shifted import Shifted, counts_of, weights_of
from bessemer.testing import rows
from tests.tasks.test_consistency import partly

torch.set_num_threads(1)


def task(spec: TaskSpec, **settings: object) -> Task:
    config = make("tasks", {"kind": "shifted", **settings})
    found: Task = plugin_of("tasks", config).function(config, spec)
    return found


def test_weights_are_the_ratio_of_the_densities() -> None:
    """Five kinds of rows, drawn with known shares in both domains: the ratio of the shares is the right weight."""
    generator = np.random.default_rng(0)
    source, target = np.array([0.4, 0.3, 0.15, 0.1, 0.05]), np.array([0.1, 0.1, 0.2, 0.3, 0.3])
    kind = np.concatenate([generator.choice(5, 6000, p=source), generator.choice(5, 2000, p=target)])
    known = np.arange(8000) < 6000
    features = csr_matrix(np.eye(5, dtype=np.float32)[kind])
    for power in (1.0, 0.5):
        found = weights_of(features, known, Shifted(flatten=power, limit=100, c=1000), 0)
        right = (target / source)[kind[:6000]] ** power
        np.testing.assert_allclose(found, right / right.mean(), rtol=0.15)
        assert found.mean() == pytest.approx(1, abs=1e-5)
    assert weights_of(features, known, Shifted(flatten=1, limit=2, c=1000), 0).max() < 2 / 0.5
    alike = weights_of(csr_matrix(np.eye(5, dtype=np.float32)[generator.choice(5, 8000)]), known, Shifted(), 0)
    np.testing.assert_allclose(alike, 1, atol=0.15)


def test_rows_with_a_label_are_learnt_from_with_their_weights() -> None:
    spec = partly(every=2)
    mine = task(spec)
    batch, network = mine.batch(np.arange(8), 0), rows.network(("classification",)).eval()
    assert mine.count == 20 and batch.present[rows.TARGET].all() and batch.row_ids is not None and batch.weights is not None
    assert batch.row_ids.tolist() == [100 + 14 * i for i in range(8)]
    expected = weights_of(counts_of(spec), np.arange(40) % 2 == 0, Shifted(), spec.seed)
    np.testing.assert_array_equal(batch.weights.numpy(), expected[:8])
    inputs = batch.inputs[rows.INPUT]
    each = torch.nn.functional.cross_entropy(network(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"]),
                                             batch.targets[rows.TARGET], reduction="none")
    torch.testing.assert_close(mine.loss(network, batch).total, (each * batch.weights).sum() / batch.weights.sum())
    again = task(spec).batch(np.arange(8), 0)
    assert again.weights is not None and torch.equal(again.weights, batch.weights)


def test_tokens_are_counted_once_and_rows_have_length_one() -> None:
    spec = rows.split_of()
    matrix = counts_of(spec).toarray()
    ids = spec.take(np.arange(spec.count))[f"{rows.INPUT}.ids"].to_pylist()
    for row, there in zip(matrix, ids, strict=True):
        assert np.flatnonzero(row).tolist() == sorted(set(there))
        np.testing.assert_allclose(row[row > 0], len(set(there)) ** -0.5, rtol=1e-6)


def test_data_of_one_domain_are_a_sentence() -> None:
    with pytest.raises(UserError, match="the task shifted adapts to texts without a label, and every training row has one"):
        task(rows.split_of())
    with pytest.raises(UserError, match="tells 37 rows with a label from 3 without; give 5 of each at least"):
        task(partly())
    spec = rows.split_of()
    checked = task(replace(spec, fitted_on=partly(every=2)))
    weights = checked.batch(np.arange(9), -1).weights
    assert checked.count == 40 and weights is not None and weights.eq(1).all()
