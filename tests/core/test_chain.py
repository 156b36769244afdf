"""The best tags of a whole row equal those that trying every row of tags finds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from bessemer.core import chain as module
from bessemer.core.chain import fitted_scores
from bessemer.core.heads import Head, load_heads, save_heads, tag_answers


def tried(logits: np.ndarray, chain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each unit and tag the best of all rows of tags that have it there, and the best tags of all, by trying them."""
    units, tags = logits.shape
    best = np.full((units, tags), -np.inf)
    found: tuple[float, tuple[int, ...]] = (-np.inf, ())
    for row in product(range(tags), repeat=units):
        score = sum(logits[unit, tag] for unit, tag in enumerate(row)) + sum(chain[a, b] for a, b in zip(row, row[1:], strict=False))
        score += chain[-1, row[0]] + chain[row[-1], -1]
        found = max(found, (float(score), row))
        for unit, tag in enumerate(row):
            best[unit, tag] = max(best[unit, tag], score)
    return best, np.array(found[1])


@pytest.mark.parametrize("cells", [1, 4_000_000])
def test_equals_trying_every_row(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", cells)
    generator = np.random.default_rng(0)
    sizes, chain = [4, 1, 0, 6, 4, 3], generator.normal(size=(4, 4)) * 2
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    logits = generator.normal(size=(offsets[-1], 3))
    found = fitted_scores(logits, chain, offsets)
    for start, stop in zip(offsets[:-1], offsets[1:], strict=True):
        if stop > start:
            best, tags = tried(logits[start:stop], chain)
            assert np.allclose(found[start:stop], best) and np.array_equal(found[start:stop].argmax(1), tags)


def test_without_a_chain_the_probabilities_are_the_networks() -> None:
    generator = np.random.default_rng(1)
    logits, offsets = generator.normal(size=(9, 3)), np.array([0, 5, 9])
    plain = Head(target="t", kind="tags", width=3, labels=("B", "I", "O"))
    zeros = plain.model_copy(update={"chain": ((0.0,) * 4,) * 4})
    (own,), (same,) = (tag_answers((head,), logits, offsets).values() for head in (plain, zeros))
    assert np.allclose(own.values, same.values, atol=1e-6) and own.offsets is not None


def test_what_never_follows_is_not_said(tmp_path: object) -> None:
    """O I becomes O O or B I, whatever is likelier in all; a head with a chain is kept whole."""
    never = np.zeros((4, 4))
    never[2, 1] = never[3, 1] = -20.0
    head = Head(target="t", kind="tags", width=3, labels=("B", "I", "O"), chain=tuple(map(tuple, never)))
    logits = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 1.5], [1.0, 2.0, 0.0], [0.0, 4.0, 0.0]])
    (answer,) = tag_answers((head,), logits, np.array([0, 2, 4])).values()
    assert answer.values.argmax(1).tolist() == [2, 2, 0, 1]
    assert np.allclose(answer.values.sum(1), 1)
    save_heads(tmp_path, (head,))  # type: ignore[arg-type]
    assert load_heads(tmp_path) == (head,)  # type: ignore[arg-type]
