"""Faults that a new user found once: none of them comes back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from bessemer.api import Model
from bessemer.core.errors import UserError
from tests.conftest import sentences, write_csv

Command = Callable[..., Any]


def test_json_values_that_are_no_texts_are_quarantined(here: Path, bessemer: Command) -> None:
    rows = [{"text": text, "label": label} for text, label in sentences(120)]
    rows += [{"text": {"a": "b"}, "label": rows[0]["label"]}, {"text": ["a", "b"], "label": rows[0]["label"]}]
    Path("rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    Path("r.yaml").write_text("name: r\nstages:\n  prepare:\n    sources: [{kind: jsonl, path: rows.jsonl}]\n"
                              "    inputs: {text: {kind: text, tokenizer: {kind: wordpiece, vocab_size: 300}}}\n"
                              "    targets: {label: category}\n    duplicates: keep\n    conflicts: keep\n")
    said = bessemer("run", "r.yaml")
    assert said.code == 0
    table = parquet.read_table("runs/r/prepare/quarantine.parquet").to_pylist()
    assert [(row["row"], row["reason"]) for row in table] == [(121, "no text but a mapping"), (122, "no text but a list")]


def test_predictions_do_not_take_the_place_of_the_rows(copied: Path, bessemer: Command) -> None:
    write_csv(Path("mine.csv"), sentences(5))
    before = Path("mine.csv").read_bytes()
    said = bessemer("predict", "runs/tiny", "--file", "mine.csv", "--output", "mine.csv")
    assert said.code == 2 and "is the file to predict" in said.error
    assert Path("mine.csv").read_bytes() == before


@pytest.mark.parametrize(("text", "said"), [(3, "^text 2 is no text as those before it"), ("\ud800", "^text 2 is no Unicode text")])
def test_what_is_no_text_is_named(copied: Path, text: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Model.load("runs/tiny").predict(["fine", text])


def test_a_stray_nul_is_no_binary_file(here: Path, bessemer: Command) -> None:
    rows = sentences(120)
    write_csv(Path("rows.csv"), [(rows[0][0][:3] + "\x00" + rows[0][0][3:], rows[0][1]), *rows[1:]])
    assert bessemer("init", "rows.csv", "--target", "label").code == 0
    said = bessemer("run", "rows.yaml", "prepare.duplicates=keep", "prepare.inputs.text.tokenizer={kind: wordpiece, vocab_size: 300}",
                    "--until", "prepare")
    assert said.code == 0, said.error


def test_a_recipes_folder_is_no_recipe(copied: Path, bessemer: Command) -> None:
    assert "is a folder; expected a recipe (YAML), such as" in bessemer("run", "runs/tiny").error


def test_what_is_shown_can_be_pasted(here: Path, bessemer: Command) -> None:
    said = bessemer("plan", "no recipe.yaml")
    assert said.code == 2 and "there is no file 'no recipe.yaml'" in said.error
