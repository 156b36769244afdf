"""Every command that asks a model says which stage of several answers, and reads each manifest of the run once to know it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from bessemer.app.serving import _sources
from tests.conftest import Command, write_csv

WHY = "of export, blend, compress and the trained models the first that is there"
SENTENCE = (f"export of runs/tiny answers ({WHY}); it also holds compress, finetune, baseline: to ask another, name its folder, such as "
            "runs/tiny/compress")
READ: list[Counter[str]] = []


def _opened(event: str, arguments: tuple[object, ...]) -> None:
    if READ and event == "open" and str(arguments[0]).endswith("manifest.json"):
        READ[-1][Path(str(arguments[0])).parent.name] += 1


sys.addaudithook(_opened)


def flat(text: str) -> str:
    """Return a text without the console's line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize("command", ["predict", "evaluate", "bench"])
def test_what_answers_is_said_and_each_manifest_read_once(copied: Path, bessemer: Command, command: str) -> None:
    write_csv(Path("new.csv"), [("a lovely room", "good"), ("an awful meal", "bad")])
    more = {"predict": ["a lovely room", "--coverage", "0.9"], "evaluate": ["--data", "new.csv"], "bench": ["--seconds", "0.01"]}[command]
    READ.append(Counter())
    try:
        said = bessemer(command, "runs/tiny", *more)
    finally:
        read = READ.pop()
    assert said.code == 0 and SENTENCE in flat(said.err), said.err
    assert {name: count for name, count in read.items() if name != "export"} == dict.fromkeys(
        ("prepare", "pretrain", "finetune", "baseline", "compress", "evaluate", "report"), 1)


def test_embed_says_whose_vectors_they_are(copied: Path, bessemer: Command) -> None:
    write_csv(Path("new.csv"), [("a lovely room", "good")])
    said = bessemer("embed", "runs/tiny", "new.csv")
    assert ("finetune of runs/tiny makes the vectors (of finetune, pretrain, prune, update the first that is there); it also holds "
            "pretrain, export: to take another, give --stage pretrain") in flat(said.err)
    assert "makes the vectors" not in bessemer("embed", "runs/tiny", "new.csv", "--stage", "pretrain").err


def test_serve_says_it_of_each_model(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    (source,) = _sources(["runs/tiny"])
    assert source.folder == str(copied / "runs/tiny") and flat(capsys.readouterr().err) == SENTENCE
    _sources(["runs/tiny", "other=runs/tiny", "third=runs/tiny/finetune"])
    assert flat(capsys.readouterr().err) == f"tiny: {SENTENCE} other: {SENTENCE}"
