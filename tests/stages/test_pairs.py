"""Which pairs of forms a search tries, from the answers to twenty rows of two labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bessemer.core.types import Answer
from bessemer.search.front import Limits
from bessemer.stages._budget_pairs import _room, promising, spent, tried
from bessemer.stages._budget_try import Hunt

TRUTH = np.arange(20) % 2
SURE = np.eye(2)[TRUTH]
UNSURE = np.where(np.arange(20)[:, None] < 4, [[0.55, 0.45]], SURE)  # wrong of two rows, and unsure of four
GRADED = np.where(SURE > 0, 0.6 + 0.02 * np.arange(20)[:, None], 0.4 - 0.02 * np.arange(20)[:, None])  # right, of another sureness each
ANSWERS = {"graded": GRADED, "fast": UNSURE, "large": SURE, "larger": SURE, "largest": SURE, "slow": SURE, "trained": SURE}


def hunt(**limits: Any) -> Hunt:
    """Return a search that knows these answers."""
    yard = SimpleNamespace(truths={"label": TRUTH}, reference={"label": Answer("label", SURE, ("0", "1"))},
                           answers=lambda place: {"label": Answer("label", ANSWERS[place.form], ("0", "1"))})
    return SimpleNamespace(limits=Limits(**limits), yard=yard)  # type: ignore[return-value]


def form(name: str, size_mb: float, latency_ms: float) -> dict[str, Any]:
    lost = float((ANSWERS[name].argmax(axis=1) != TRUTH).mean())
    return {"name": name, "form": name, "folder": "/nowhere", "model": "", "length": None,
            "size_bytes": int(size_mb * 1e6), "latency_ms": latency_ms, "drop": {"value": lost, "low": lost, "high": lost}}


LISTED = [form("large", 9, 4), form("larger", 9.5, 5), form("largest", 9.9, 6), form("slow", 3, 8), form("fast", 1, 1)]


def test_a_pair_is_made_of_forms_that_fit_the_size_together() -> None:
    found = promising(hunt(accuracy_drop=0.0, size_mb=5, latency_ms=3), LISTED)
    assert [(cheap["name"], dear["name"]) for _, cheap, dear, _ in found] == [("fast", "slow")]
    expected, _, _, threshold = found[0]
    assert expected == pytest.approx(1 + 4 / 20 * 8) and threshold == 1.0


def test_a_pair_holds_what_prepares_its_inputs_once() -> None:
    both = [{**item, "weights_bytes": item["size_bytes"] - 600_000} for item in LISTED]  # of each form 0.6 MB are its tokenizer
    for size_mb, found in ((3.3, []), (3.5, [("fast", "slow")])):
        pairs = promising(hunt(accuracy_drop=0.0, size_mb=size_mb, latency_ms=3), both)
        assert [(cheap["name"], dear["name"]) for _, cheap, dear, _ in pairs] == found


def test_pairs_within_the_latency_come_before_the_others() -> None:
    found = promising(hunt(accuracy_drop=0.0, size_mb=100, latency_ms=1.9), LISTED)
    assert [dear["name"] for _, _, dear, _ in found] == ["large", "larger", "largest"]
    assert [late <= 1.9 for late, *_ in found] == [True, False, False]


def test_how_slow_the_second_may_be_follows_from_the_rows_that_go_on() -> None:
    assert _room(hunt(accuracy_drop=0.0, latency_ms=2), form("fast", 1, 1)) == pytest.approx((2 - 1) / (4 / 20))
    assert _room(hunt(accuracy_drop=0.0, latency_ms=1), form("fast", 1, 1)) == 0.0
    assert _room(hunt(accuracy_drop=0.1, latency_ms=2), form("fast", 1, 1)) == pytest.approx((2 - 1) / 1e-3)


def test_a_pair_sends_on_as_many_rows_as_its_time_allows() -> None:
    listed = [form("slow", 3, 8), form("graded", 1, 1)]

    def pair(**limits: float) -> tuple[float, float]:
        search = hunt(accuracy_drop=0.0, size_mb=5, **limits)
        expected, *_, threshold = spent(search, promising(search, listed)[0])
        return expected, threshold

    assert pair() == (1.0, 0.6)  # no row has to go on
    late, threshold = pair(latency_ms=3)
    assert (late, threshold) == (pytest.approx(1 + 4 / 20 * 8), pytest.approx(0.68))  # (0.9 * 3 - 1) / 8 of 20 rows are four
    assert pair(latency_ms=1.05) == (1.0, 0.6)
    late, threshold = pair(latency_ms=100)
    assert late < 8 and threshold == pytest.approx(0.6 + 0.02 * 15)  # it has to be quicker than the slow one alone
    search = hunt(accuracy_drop=0.0, size_mb=5, latency_ms=1.9)
    before = promising(search, LISTED)[0]
    assert spent(search, before)[3] == before[3]  # no row goes on less than the quality asks for


@pytest.mark.parametrize(("dear_ms", "shares"), [(8.0, [0.2]), (16.0, [0.1, 0.2])])
def test_a_pair_whose_second_form_is_slower_than_alone_sends_fewer_rows_on(dear_ms: float, shares: list[float]) -> None:
    """Alone the second takes 8 ms: four of twenty rows go on; where it turns out to take 16, two, so that the mean is within 3 ms."""
    search = hunt(accuracy_drop=0.0, size_mb=5, latency_ms=3)
    pair = promising(search, [form("slow", 3, 8), form("graded", 1, 1)])[0]

    def measure(_hunt: Hunt, _pair: Any, threshold: float) -> dict[str, Any]:
        on = float((GRADED.max(axis=1) < threshold).mean())
        return {"on": on, "latency_ms": 1 + on * dear_ms}

    found = tried(search, pair, measure)
    assert [item["on"] for item in found["forms"]] == shares and found["forms"][0]["latency_ms"] <= 3
