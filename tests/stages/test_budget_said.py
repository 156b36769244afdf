"""What a search under a budget says of its choice is what it found: the sentence and `reachable` never contradict each other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bessemer.core.types import Answer
from bessemer.search.front import SLACK, Choice, Limits
from bessemer.stages._budget import taught
from bessemer.stages._budget_deliver import late, sentence


@pytest.mark.parametrize(("milliseconds", "start", "end"), [
    (14.0, "slim loses least of the 1 candidate within the budget: 0.20 MB, 14.00 ms a row", "on 300 validation rows"),
    (15.5, "slim loses least of the 1 candidate within the budget: 0.20 MB, 15.50 ms a row",
     "; measured again it takes 15.50 ms, more than the budget's 15"),
    (15.95, "not reachable; the nearest is slim: 15.95 ms, measured again, of 15: 0.20 MB, 15.95 ms a row", "on 300 validation rows")])
def test_a_form_that_is_late_when_measured_again_is_said_to_be_the_nearest(milliseconds: float, start: str, end: str) -> None:
    hunt: Any = SimpleNamespace(limits=Limits(0.02, latency_ms=15), yard=SimpleNamespace(
        metric_of=lambda item: "accuracy", rows=SimpleNamespace(num_rows=300)))
    again = {"1": {"median_ms": milliseconds, "ratio": {"median": 1.5}}}
    item = {"name": "slim", "size_bytes": 200_000, "drop": {"value": 0.001, "low": None, "high": None}}
    choice = Choice(0, True, "slim loses least of the 1 candidate within the budget")
    reachable = not late(hunt.limits, again, 1 + SLACK)
    said = sentence(hunt, item, choice, (again, reachable))
    assert said.startswith(start) and said.endswith(end)
    assert reachable != said.startswith("not reachable")


def test_tags_are_learnt_from_the_labels_alone_and_no_teacher_is_asked_in_vain() -> None:
    notes, training = list[str](), object()
    tags = Answer("tags", np.ones((3, 1), np.float32), ("O",), offsets=np.array([0, 1, 3]))
    hunt: Any = SimpleNamespace(config=SimpleNamespace(search=SimpleNamespace(distil=True)), training=training,
                                yard=SimpleNamespace(reference={"tags": tags}), run=SimpleNamespace(note=notes.append))
    assert taught(hunt) is training
    assert notes == ["tags are learnt from the labels alone: what a teacher says is one answer a row"]
