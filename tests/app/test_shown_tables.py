"""Tables on the console: numbers are whole beside names of any length."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bessemer.app import console

NAMES = {"short": "trained network; dynamic_int8",
         "long": "pair: TF-IDF of words and a linear model; float32, where unsure trained network; weight_only; from 0.983 on"}
NUMBERS = ("0.9000", "0.0000", "492.1 kB", "0.71 ms", "2.03 ms")


@pytest.mark.parametrize(("name", "width"), [("short", 140), ("long", 140), ("long", 100), ("short", 80), ("long", 80)])
def test_numbers_are_whole_beside_names_of_any_length(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=shown, width=width))
    console.table("candidates", ("candidate", "accuracy", "drop", "size", "latency", "16 rows"), [(NAMES[name], *NUMBERS)])
    text = shown.getvalue()
    assert all(number in text for number in NUMBERS) and "…" not in text
    first = " ".join(line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│"))
    assert first.strip() == NAMES[name]
