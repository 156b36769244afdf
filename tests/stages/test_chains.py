"""Which tags follow which is counted on the training rows and weighed by the validation rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from bessemer.core.heads import Head, tag_answers
from bessemer.stages._chains import NEVER, chain_of, chained, counted

HEAD = Head(target="t", kind="tags", width=3, labels=("B", "I", "O"))


def spec_of(rows: list[list[int]], fitted_on: Any = None) -> Any:
    table = pa.table({"t": pa.array(rows, pa.list_(pa.int32()))})
    return SimpleNamespace(count=len(rows), take=lambda positions: table.take(positions), fitted_on=fitted_on)


def test_pairs_are_counted_row_by_row() -> None:
    """The first row of counts from the beginning, the last column to the end; what is not known stands beside nothing."""
    found = counted(HEAD, spec_of([[0, 1, 2], [], [2], [0, -1, 1]]))
    expected = np.zeros((4, 4), np.int64)
    for first, second in ((3, 0), (0, 1), (1, 2), (2, 3), (3, 2), (2, 3), (3, 0), (1, 3)):
        expected[first, second] += 1
    assert np.array_equal(found, expected)


def test_weights_are_the_pointwise_information() -> None:
    pairs = np.array([[0, 50, 10, 0], [0, 10, 40, 0], [30, 0, 90, 40], [30, 0, 10, 0]])
    chain = np.array(chain_of(pairs, 1.0))
    share = (pairs.sum(0) + 0.5) / (pairs.sum() + 2)
    assert np.isclose(chain[0, 1], np.log(50.1 / 60.4 / share[1]), atol=1e-3)
    assert chain[2, 1] == NEVER and chain[3, 1] == NEVER, "an inner tag after O or at the beginning never happens"
    assert np.array_equal(np.array(chain_of(pairs, 0.0)) == 0, chain != NEVER)


def test_a_chain_is_kept_where_spans_get_better() -> None:
    """A network that is unsure of single tags says spans that cannot be; with the chain it says fewer, without spans nothing changes."""
    generator = np.random.default_rng(0)
    rows = [[0, 1, 1, 2, 2, 0, 1, 2][: int(generator.integers(3, 9))] for _ in range(200)]
    truth = np.concatenate(rows)
    logits = generator.normal(size=(len(truth), 3)) + 1.2 * np.eye(3)[truth]
    offsets = np.cumsum([0, *map(len, rows)])

    def predict(_network: Any, batch: np.ndarray) -> dict[str, Any]:
        units = slice(offsets[batch[0]], offsets[batch[-1] + 1])
        return tag_answers((HEAD,), logits[units], offsets[batch[0]:batch[-1] + 2] - offsets[batch[0]])

    task = SimpleNamespace(predict=predict, batch=lambda positions, epoch: positions)
    network = SimpleNamespace(eval=lambda: None)
    found = chained(HEAD, task, network, spec_of(rows, spec_of(rows * 3)))  # type: ignore[arg-type]
    assert found.chain
    before, after = (tag_answers((head,), logits, offsets)["t"].values.argmax(1) for head in (HEAD, found))
    assert (after == truth).mean() > (before == truth).mean() + 0.05
    assert chained(HEAD, task, network, spec_of(rows)) == HEAD, "without training rows there is nothing to count"  # type: ignore[arg-type]
    words = HEAD.model_copy(update={"labels": ("NN", "VB", "DT")})
    assert chained(words, task, network, spec_of(rows, spec_of(rows))) == words  # type: ignore[arg-type]
