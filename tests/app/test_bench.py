"""bench: every form of a run once, its costs as a table, numbers and a plot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.conftest import Command


def test_bench_measures_every_form_once(copied: Path, bessemer: Command) -> None:
    said = bessemer("bench", "runs/tiny", "--batch", "1,4", "--seconds", "0.1", "--output", "bench.json")
    assert said.code == 0 and "next: bessemer serve runs/tiny" in said.out
    found = json.loads(Path("bench.json").read_text())
    assert list(found["forms"]) == ["export onnx-int8", "export onnx-float32", "export torch-float32", "baseline tfidf_linear"]
    assert found["reference"] == "export torch-float32" and found["host"]["cores"] >= 1
    for name, item in found["forms"].items():
        assert all(word in said.out for word in name.split())  # a name may be broken between its words
        assert list(item["latency"]) == ["1", "4"]
        four = item["latency"]["4"]
        assert four["rows_per_second"] == round(4000 / four["median_ms"], 1)
        assert item["memory"]["torch"] == ("torch" in name)
    drawn = ElementTree.fromstring(Path("runs/tiny/bench.svg").read_text())
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg" and "export onnx-int8" in "".join(drawn.itertext())


def test_bench_says_what_batches_are(copied: Path, bessemer: Command) -> None:
    for seconds in ("nan", "0", "-5"):
        said = bessemer("bench", "runs/tiny", "--seconds", seconds)
        assert f"--seconds needs a number above 0, such as 20; it is {seconds}" in said.error
    assert bessemer("bench", "runs/tiny", "--batch", "1,many").error == (
        "--batch 1,many: expected numbers of rows of 1 and more with commas between, such as 1,16")


def test_a_file_that_cannot_be_written_is_said_before_anything_is_timed(copied: Path, bessemer: Command) -> None:
    assert bessemer("bench", "runs/tiny", "--output", "none/bench.json").error == (
        "there is no folder 'none' to write 'bench.json' into; make it (mkdir -p 'none')")
    assert bessemer("bench", "runs/tiny", "--output", "runs").error == (
        "'runs' is a folder; give --output the name of a file for the numbers, such as runs/bench.json")
