"""Which tags follow which: counted on the training rows, weighed by the validation rows.

Legend: N rows, U units, C tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bessemer.core.heads import Head

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from bessemer.core.task_spec import TaskSpec
    from bessemer.core.types import Task

ROWS = 4096
WEIGHTS = (0.0, 0.25, 0.5, 1.0)
"""How much of what follows what is added to what the network says, which knows the neighbours too."""
NEVER, EXPECTED = -20.0, 5.0
"""What a pair of tags gets that no training row has, though it would be expected so often if tags did not know their neighbours."""


def chained(head: Head, task: Task, network: torch.nn.Module, spec: TaskSpec) -> Head:
    """Return a head of tags that mark spans with the chain whose spans are best on these rows (validation).

    Of equals the one that adds least; what never happens in training is forbidden unless spans get worse by it.
    """
    import numpy as np

    from bessemer.evaluate._tags import has_spans

    if spec.fitted_on is None or task.predict is None or not has_spans(head.labels):
        return head
    count = min(spec.count, ROWS)
    said, truth = [], []
    network.eval()
    for positions in _blocks(count, 64):
        batch = task.batch(positions, -1)
        (answer,) = task.predict(network, batch).values()
        said.append(np.log(np.maximum(answer.values.astype(np.float64), 1e-12)))
        truth.append(spec.take(positions)[head.target].combine_chunks())
    sizes = np.concatenate([_sizes(column) for column in truth])
    code_U = np.concatenate([column.flatten().to_numpy(zero_copy_only=False) for column in truth])
    logits_UC = np.concatenate(said)
    if not len(code_U) or len(code_U) != len(logits_UC):  # rows without tags among them: nothing to weigh by
        return head
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    pairs = counted(head, spec.fitted_on)
    best, most = head, _span_f1(logits_UC.argmax(1), code_U, offsets, head.labels)
    for weight in WEIGHTS:
        chain = chain_of(pairs, weight)
        found = head.model_copy(update={"chain": chain})
        value = _span_f1(_decoded(found, logits_UC, offsets), code_U, offsets, head.labels)
        if value > most or (value == most and best is head and any(map(any, chain))):
            best, most = found, value
    return best


def counted(head: Head, spec: TaskSpec) -> np.ndarray:
    """Return how often a tag (row) stands before another (column) in the rows of a split, int64 [C + 1, C + 1]; see `Head.chain`."""
    import numpy as np

    tags = len(head.labels)
    found = np.zeros((tags + 1) ** 2, np.int64)
    for positions in _blocks(spec.count, ROWS):
        column = spec.take(positions)[head.target].combine_chunks()
        sizes = _sizes(column)
        sizes = sizes[sizes > 0]
        code_U = column.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
        ends = np.cumsum(sizes)
        edge = np.insert(code_U, np.concatenate([[0], ends]) if len(sizes) else [], tags)  # one mark between rows, one at either end
        first, second = edge[:-1], edge[1:]
        known = (first >= 0) & (second >= 0)
        found += np.bincount(first[known] * (tags + 1) + second[known], minlength=len(found))
    return found.reshape(tags + 1, tags + 1)


def chain_of(pairs: np.ndarray, weight: float) -> tuple[tuple[float, ...], ...]:
    """Return a chain from counts: `weight` of log P(next | tag) / P(next), and NEVER for what never happens."""
    import numpy as np

    share = (pairs.sum(0) + 0.5) / (pairs.sum() + 0.5 * len(pairs))
    given = (pairs + 0.1) / (pairs.sum(1, keepdims=True) + 0.1 * len(pairs))
    chain = weight * np.log(given / share)
    chain[(pairs == 0) & (pairs.sum(1, keepdims=True) * share > EXPECTED)] = NEVER
    return tuple(tuple(round(float(value), 4) for value in row) for row in chain)


def _decoded(head: Head, logits_UC: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    from bessemer.core.heads import tag_answers

    found: np.ndarray = tag_answers((head,), logits_UC, offsets)[head.target].values.argmax(1)
    return found


def _span_f1(said_U: np.ndarray, code_U: np.ndarray, offsets: np.ndarray, labels: tuple[str, ...]) -> float:
    import numpy as np

    from bessemer.evaluate._tags import spans

    sizes = np.diff(offsets)
    inside = np.arange(int(sizes.max())) < sizes[:, None]
    keys = []
    for codes in (said_U, code_U):
        padded = np.full(inside.shape, -1, np.int64)
        padded[inside] = codes
        row, first, last, kind = spans(padded, labels)
        width = inside.shape[1] + 1
        keys.append(((row * width + first) * width + last) * (len(labels) + 1) + kind)
    both = len(np.intersect1d(*keys))
    return 2 * both / max(1, len(keys[0]) + len(keys[1]))


def _sizes(column: pa.Array) -> np.ndarray:
    import numpy as np
    import pyarrow.compute as pc

    found: np.ndarray = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _blocks(count: int, step: int) -> Iterator[np.ndarray]:
    import numpy as np

    for start in range(0, count, step):
        yield np.arange(start, min(count, start + step))
