"""Index plans: every row once, within the shape, the same for the same seed."""

import numpy as np
import pytest

from bessemer.engine.sampler import BatchShape, by_length, in_order, padded_costs

COSTS = np.random.default_rng(0).integers(1, 200, 5000)


@pytest.mark.parametrize("tokens", [None, 512, 4096])
def test_every_row_once_and_within_the_shape(tokens: int | None) -> None:
    shape = BatchShape(rows=32, tokens=tokens, overhead=2, longest=128)
    costs = padded_costs(COSTS, shape)
    for batches in (by_length(3, 1, COSTS, shape), in_order(COSTS, len(COSTS), shape)):
        assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(len(COSTS)))
        assert max(len(batch) for batch in batches) <= 32
        if tokens:
            assert max(int(costs[batch].max()) * len(batch) for batch in batches) <= tokens


def test_same_seed_same_plan_other_epoch_other_plan() -> None:
    shape = BatchShape(rows=16, tokens=None, overhead=2, longest=128)
    first, again = by_length(5, 0, COSTS, shape), by_length(5, 0, COSTS, shape)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, by_length(5, 1, COSTS, shape), strict=True))


def test_lengths_are_alike_within_a_batch() -> None:
    shape = BatchShape(rows=32, tokens=None, overhead=0, longest=1000)
    batches = by_length(0, 0, COSTS, shape)
    padded = sum(int(COSTS[batch].max()) * len(batch) for batch in batches)
    random_order = np.random.default_rng(1).permutation(len(COSTS))
    naive = sum(int(COSTS[part].max()) * len(part) for part in np.array_split(random_order, len(batches)))
    assert padded < 1.1 * COSTS.sum() < naive
