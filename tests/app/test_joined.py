"""Labels of a row in one column of text: what stands between two of them is held by none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bessemer.api import run
from bessemer.app.joined import SEPARATORS, separator_of
from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role
from tests.conftest import Command


def column(labels: tuple[str, ...], **modality: str) -> Column:
    return Column(name="about", role=Role.TARGET, modality={"kind": "multilabel", **modality}, labels=labels)


@pytest.mark.parametrize(("labels", "modality", "expected"), [
    (("a", "b"), {}, "|"), (("a|b", "c"), {}, ";"), (("a|b", "c;d"), {}, ","), (("a|b", "c"), {"separator": ";"}, ";"),
    (("a;b", "c"), {"separator": ";"}, "|"), (("a", "b"), {"separator": " - "}, " - ")])
def test_no_label_holds_the_sign(labels: tuple[str, ...], modality: dict[str, str], expected: str) -> None:
    assert separator_of(column(labels, **modality)) == expected


def test_where_every_sign_is_held_a_label_is_named() -> None:
    with pytest.raises(UserError, match=r"'about': the label 'x\|y' holds '\|', and others hold ; , .*rename it in the data"):
        separator_of(column(("x|y", "".join(SEPARATORS[1:]))))


def test_a_file_of_predictions_can_be_read_back(bessemer: Command, here: Path) -> None:
    rows = [{"size": number, "about": ["a|b"] * (number % 2) + ["c"] * (number % 3 > 0)} for number in range(120)]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run({"name": "lists", "threads": 1, "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": "rows.jsonl"}], "inputs": {"size": {"kind": "category"}},
                    "targets": {"about": {"kind": "multilabel"}}, "split": {"kind": "random", "validation": 20, "test": 20}},
        "finetune": {"model": {"kind": "linear", "c": [100.0]}}}})
    said = bessemer("predict", "runs/lists", "--file", "rows.jsonl", "--output", "out.csv")
    assert said.code == 0 and "labels of 'about' are joined by ';', as the label 'a|b' holds '|'" in " ".join(said.err.split())
    with (here / "out.csv").open(encoding="utf-8", newline="") as stream:
        found = {row["labels"] for row in csv.DictReader(stream)}
    assert "a|b;c" in found and found <= {"", "a|b", "c", "a|b;c"}
    said = bessemer("predict", "runs/lists", '{"size": "5"}')
    assert said.code == 0 and "joined by ';'" in " ".join(said.err.split())
    said = bessemer("predict", "runs/lists", '{"size": "5"}', "--coverage", "0.8")
    assert said.error == ("--coverage is for targets with one label a row, whose probability says how sure it is; 'about' may have several "
                          "labels in a row: leave --coverage out")
