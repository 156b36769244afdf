"""What `bessemer init` writes about a table: names that YAML would read otherwise."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from bessemer.app.starter_tables import flow, key_of, line_of
from bessemer.core.config import parse_yaml
from tests.conftest import Command, write_csv

NAMES = ["a\nb", "", "\n x", "größe: #1", "on", "1", "*a", "null", "~", "a\tb", "x\u2028y", "😀", "'", '"q"', "? a", "-", "{x}", "w" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_key_on_one_line(name: str) -> None:
    assert parse_yaml(f"{key_of(name)}: {{kind: number}}\n", "test") == {name: {"kind": "number"}}
    rename = flow({"rename": {name: "b"}})
    assert parse_yaml(rename, "test") == {"rename": {name: "b"}}
    assert len(f"{key_of(name)}{rename}{line_of(name)}".splitlines()) == 1


def test_a_table_with_strange_names_is_prepared(bessemer: Command, here: Path) -> None:
    draw = random.Random(0)
    rows = [(round(draw.random(), 3), round(draw.random(), 3), round(draw.random(), 3), f"id{row}", "uv"[row % 2]) for row in range(80)]
    write_csv(here / "t.csv", rows, ("a\nb", "", "#c", "i\nd", "y"))
    said = bessemer("init", "t.csv", "--target", "y")
    assert said.code == 0, said.err
    stages = yaml.safe_load((here / "t.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(stages["prepare"]["inputs"]) == ["a\nb", "column", "#c"]
    assert "      # i d: left out, nearly every row has a value of its own\n" in (here / "t.yaml").read_text(encoding="utf-8")
    said = bessemer("run", "t.yaml", "--until", "prepare")
    assert said.code == 0, said.err
