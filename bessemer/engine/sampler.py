"""Samplers: pure functions from (seed, epoch, costs) to an index plan, a list of batches of row positions.

The plan of an epoch is a function of the seed alone, so a cursor (one number) is all that resuming needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

POOL_BATCHES = 64
Order = Callable[[int], Sequence["np.ndarray"]]
"""(epoch) -> batches of row positions; may be computed as they are asked for."""


@dataclass(frozen=True)
class BatchShape:
    """How large a batch may be.

    Attributes:
        rows: rows at most.
        tokens: rows x longest row at most; None for no limit.
        overhead: tokens that are added to every row (special tokens).
        longest: rows are cut to so many tokens, overhead included.
    """

    rows: int
    tokens: int | None
    overhead: int
    longest: int


def padded_costs(costs: np.ndarray, shape: BatchShape) -> np.ndarray:
    """Return the tokens that each row takes in a batch: int64 [N]."""
    return np.minimum(costs + shape.overhead, shape.longest)


def cut(order: np.ndarray, costs: np.ndarray, shape: BatchShape) -> list[np.ndarray]:
    """Cut rows, in order of rising cost, into batches within the shape."""
    if shape.tokens is None:
        return [order[start:start + shape.rows] for start in range(0, len(order), shape.rows)]
    batches, start = [], 0
    sizes = costs[order]
    while start < len(order):
        window = sizes[start:start + shape.rows]
        # rows x longest rises along the window, so the last one that fits is found by bisection
        area = window * np.arange(1, len(window) + 1)
        count = max(1, int(np.searchsorted(area, shape.tokens, side="right")))
        batches.append(order[start:start + count])
        start += count
    return batches


def by_length(seed: int, epoch: int, costs: np.ndarray, shape: BatchShape) -> list[np.ndarray]:
    """Return one epoch's batches: rows shuffled, sorted by length within pools of 64 batches, batches shuffled.

    Args:
        seed: the run's seed.
        epoch: which pass, from 0.
        costs: int64 [N], tokens of each row.
        shape: how large a batch may be.

    Returns:
        Arrays of row positions; every row occurs once.

    >>> shape = BatchShape(rows=2, tokens=None, overhead=0, longest=9)
    >>> sorted(int(i) for batch in by_length(0, 0, np.array([3, 1, 2]), shape) for i in batch)
    [0, 1, 2]
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = generator.permutation(len(costs))
    padded = padded_costs(costs, shape)
    mean = max(1.0, float(padded.mean())) if len(padded) else 1.0
    rows = shape.rows if shape.tokens is None else max(1, min(shape.rows, int(shape.tokens / mean)))
    pool = rows * POOL_BATCHES
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool):
        part = order[start:start + pool]
        batches += cut(part[np.argsort(padded[part], kind="stable")], padded, shape)
    return [batches[index] for index in generator.permutation(len(batches))]


def shuffled(seed: int, epoch: int, count: int, rows: int) -> list[np.ndarray]:
    """Return one epoch's batches of rows that all cost the same: a permutation, cut into batches.

    A rest of less than half a batch joins the batch before it: its gradient would be mostly noise.

    >>> sorted(int(i) for batch in shuffled(0, 0, 5, 2) for i in batch)
    [0, 1, 2, 3, 4]
    """
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
    cuts = list(range(0, count, rows))
    if len(cuts) > 1 and count - cuts[-1] < rows / 2:
        cuts.pop()
    return [order[start:stop] for start, stop in zip(cuts, [*cuts[1:], count], strict=True)]


def in_order(costs: np.ndarray | None, count: int, shape: BatchShape) -> list[np.ndarray]:
    """Return all rows once, sorted by length where they have one, in batches: what scoring reads."""
    if costs is None:
        return [np.arange(start, min(count, start + shape.rows)) for start in range(0, count, shape.rows)]
    padded = padded_costs(costs, shape)
    return cut(np.argsort(padded, kind="stable"), padded, shape)
