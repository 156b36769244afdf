"""A journal survives a kill at any byte, and its clock goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bessemer.search.journal import Journal


@pytest.mark.parametrize("lost", [0, 1, 7])
def test_a_line_that_was_cut_off_is_not_there(tmp_path: Path, lost: int) -> None:
    file = tmp_path / "trials/a.jsonl"
    journal = Journal(file)
    journal.add("one", {"drop": 0.1, "name": "é"})
    whole = file.stat().st_size
    journal.add("two", {"drop": 0.2})
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size - lost)
    found = Journal(file)
    assert list(found.records) == (["one", "two"] if not lost else ["one"])
    assert found["one"]["name"] == "é" and "two" not in found or not lost
    if lost:
        assert file.stat().st_size == whole
        found.add("three", {})
        assert list(Journal(file).records) == ["one", "three"]


def test_the_clock_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": "one", "at": 300.5}\n')
    assert 300.5 <= Journal(file).seconds < 310
