"""train_seconds: which network that is too slow for the budget alone is trained, for the rows that the fast one is unsure of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bessemer.core.types import Answer
from bessemer.search.front import Limits
from bessemer.search.journal import Journal
from bessemer.stages._budget_pairs import train_seconds
from bessemer.stages._budget_space import label, ladder, short

TRUTH = np.arange(40) % 2
SPACE: dict[str, dict[str, list[Any]]] = {"text_cnn": {"channels": [128, 64, 32]}, "ngrams": {"buckets": [200, 50, 600]}}
TRAINED = "too slow for the budget alone; it is trained for the rows that a faster one is unsure of"


def said(sure: np.ndarray) -> dict[str, Answer]:
    """Return answers that are right where they are sure (0.99), and wrong where they are not (0.55)."""
    right = np.where(sure, 0.99, 0.45)
    values = np.where(np.eye(2)[TRUTH] == 1, right[:, None], 1 - right[:, None])
    return {"label": Answer("label", values.astype(np.float32), ("0", "1"))}


def hunt(folder: Path, slow: dict[str, list[float]], **changes: Any) -> tuple[Any, list[str]]:
    """Return a search that knows a form of 1 ms that is unsure of half of the rows, and what each untrained network costs; and its notes.

    With a budget of 3 ms a second form may take (3 - 1) / 0.5 = 4 ms.
    """
    journal, notes = Journal(folder / "journal.jsonl"), list[str]()
    fast = {"how": "float32", "folder": str(folder), "form": "f", "length": None, "latency_ms": changes.get("fast", 1.0),
            "size_bytes": 1000, "drop": {"value": changes.get("drop", 0.5), "low": 0.0, "high": 1.0}}
    journal.add("quick", {"label": "quick", "status": "finished", "reason": "", "forms": [fast]})
    for family, costs in slow.items():
        rungs = [item for item in ladder(SPACE) if item["family"] == family]
        for settings, milliseconds in zip(rungs, costs, strict=False):
            over = ["latency_ms"] if milliseconds > 3 else []
            journal.add(f"cost-{short(settings)}", {"label": "", "status": "finished", "forms": [], "latency_ms": milliseconds,
                                                    "over": over, "size_bytes": 1000})
            journal.add(f"second-{short(settings)}", {"label": "", "status": "finished", "forms": []})  # trained before: found again
    yard = SimpleNamespace(reference=said(np.ones(40, bool)), truths={"label": TRUTH},
                           answers=lambda place: said(np.arange(40) < changes.get("known", 20)))
    search = SimpleNamespace(cascades=changes.get("cascades", True))
    return SimpleNamespace(config=SimpleNamespace(search=search), journal=journal, yard=yard,
                           limits=Limits(0.01, latency_ms=changes.get("latency_ms", 3.0)), run=SimpleNamespace(note=notes.append)), notes


def rungs(family: str) -> list[dict[str, Any]]:
    return [item for item in ladder(SPACE) if item["family"] == family]


def test_the_slowest_within_the_room_of_the_first_family_is_trained(tmp_path: Path) -> None:
    assert [len(rungs(family)) for family in SPACE] == [3, 2]
    known, notes = hunt(tmp_path, {"text_cnn": [3.2, 3.9, 4.1], "ngrams": [3.95, 3.95, 3.95]})
    train_seconds(known, SPACE)
    assert notes == [f"{label(rungs('text_cnn')[1])}: {TRAINED}"]


def test_a_family_without_one_in_the_room_leaves_it_to_the_next(tmp_path: Path) -> None:
    known, notes = hunt(tmp_path, {"text_cnn": [2.5, 4.1, 9.0], "ngrams": [2.0, 3.5, 3.1]})
    train_seconds(known, SPACE)
    assert notes == [f"{label(rungs('ngrams')[1])}: {TRAINED}"]


def test_a_form_that_is_sure_of_more_rows_leaves_room_for_a_slower_second(tmp_path: Path) -> None:
    known, notes = hunt(tmp_path, {"text_cnn": [3.2, 7.9, 8.1], "ngrams": [3.1, 3.1, 3.1]}, known=30)  # (3 - 1) / 0.25 = 8 ms
    train_seconds(known, SPACE)
    assert notes == [f"{label(rungs('text_cnn')[1])}: {TRAINED}"]


@pytest.mark.parametrize("changes", [{"latency_ms": None}, {"drop": 0.0}, {"fast": 3.0}, {"cascades": False}])
def test_nothing_is_trained_where_no_pair_can_help(tmp_path: Path, changes: dict[str, Any]) -> None:
    """No limit of latency; a form that meets the budget already; none that is fast enough to be the first; pairs not asked for."""
    known, notes = hunt(tmp_path, {"text_cnn": [3.2, 3.9, 4.1], "ngrams": [3.5, 3.5, 3.5]}, **changes)
    train_seconds(known, SPACE)
    assert notes == []
