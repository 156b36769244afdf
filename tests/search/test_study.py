"""The proposer repeats itself when it is told the same, begins with what it is given, and asks for what is in the space."""

from __future__ import annotations

from typing import Any

from bessemer.search.study import Proposer

SPACE: dict[str, dict[str, list[Any]]] = {"slim": {"layers": [3, 2, 1], "size": [None, 128]}, "cnn": {"widths": [[2, 3], [3]]}}
FIRST = [{"family": "cnn", "widths": [3]}, {"family": "slim", "layers": 2, "size": None}]


def asked(seed: int, count: int = 25) -> list[dict[str, Any]]:
    proposer = Proposer(SPACE, seed, FIRST)
    found = []
    for number in range(count):
        settings, ticket = proposer.ask()
        found.append(settings)
        good = settings["family"] == "slim"
        proposer.tell(ticket, None if number % 5 == 4 else (0.0 if good else 0.5, 1.0 if good else 5.0, 1.0 if good else 5.0))
    return found


def test_same_answers_lead_to_same_questions() -> None:
    assert asked(1) == asked(1)
    assert asked(1) != asked(2)


def test_begins_with_what_it_is_given_and_stays_in_the_space() -> None:
    found = asked(3)
    assert found[:2] == FIRST
    for settings in found:
        for name, values in SPACE[settings["family"]].items():
            assert settings[name] in values
        assert set(settings) == {"family", *SPACE[settings["family"]]}


def test_learns_where_the_cheap_ones_are() -> None:
    late = asked(4, 60)[30:]
    assert sum(settings["family"] == "slim" for settings in late) > 20
