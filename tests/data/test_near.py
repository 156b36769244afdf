"""Near duplicates against a comparison of every pair."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from bessemer.data.near import NearDuplicates, near_pairs


def corpus(seed: int = 0) -> list[str | None]:
    generator = random.Random(seed)
    words = ["".join(generator.choice("abcdefghij汉字é") for _ in range(generator.randint(2, 8))) for _ in range(800)]
    found: list[str | None] = []
    for _ in range(250):
        text = generator.choices(words, k=generator.randint(3, 50))
        found.append(" ".join(text))
        for _ in range(generator.choice([0, 1, 1, 2])):
            other = list(text)
            for _ in range(generator.choice([0, 0, 1, 1, 2, 6])):
                other[generator.randrange(len(other))] = generator.choice(words)
            found.append("  ".join(other).upper())
    found += ["short one", "short one", None, "", None]
    generator.shuffle(found)
    return found


def blocks(texts, size):
    return lambda: (pa.array(texts[first:first + size], pa.string()) for first in range(0, len(texts), size))


def by_hand(texts, near: NearDuplicates) -> dict[tuple[int, int], float]:
    def shingles(text):
        plain = " ".join((text or "").lower().split())
        units = plain if near.unit == "characters" else plain.split(" ")
        return {tuple(units[i:i + near.size]) for i in range(len(units) - near.size + 1)} if len(plain) >= 20 else set()

    sets = [shingles(text) for text in texts]
    return {(i, j): value for i in range(len(sets)) for j in range(i + 1, len(sets)) if sets[i] and sets[j]
            and (value := len(sets[i] & sets[j]) / len(sets[i] | sets[j])) >= near.threshold}


@pytest.mark.parametrize("unit", ["characters", "words"])
@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 1.0])
def test_pairs_equal_those_of_a_comparison_of_all(unit, threshold):
    texts, near = corpus(), NearDuplicates(threshold=threshold, unit=unit, size=5 if unit == "characters" else 2)
    pairs, similar = near_pairs(blocks(texts, 100), near)
    expected = by_hand(texts, near)
    assert len(expected) > 15 and pairs.tolist() == [list(pair) for pair in sorted(expected)]
    assert np.allclose(similar, [expected[pair] for pair in sorted(expected)], atol=1e-12)


def test_blocks_play_no_part_and_twice_is_alike():
    texts, near = corpus(3), NearDuplicates()
    first = near_pairs(blocks(texts, 7), near)
    for size in (7, 64, 10_000):
        again = near_pairs(blocks(texts, size), near)
        assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])


def test_a_crowd_of_equal_texts_is_chained_to_its_first():
    pairs, _ = near_pairs(blocks(["the same text again and again"] * 500, 100), NearDuplicates())
    assert sorted(set(pairs[:, 1].tolist())) == list(range(1, 500)) and set(map(tuple, pairs.tolist())) >= {(0, i) for i in range(1, 500)}


@pytest.mark.parametrize("texts", [[], [None], ["short"], ["x" * 19, "x" * 19]])
def test_nothing_is_near_where_nothing_is_long(texts):
    pairs, similar = near_pairs(blocks(texts, 10), NearDuplicates())
    assert pairs.shape == (0, 2) and similar.shape == (0,)
