"""Lists of words that get a tag each, where cleaning changes how many words there are: no row is answered by tags of other words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.api import Model, run
from bessemer.app.answers import predict_file
from bessemer.core.errors import UserError
from bessemer.core.forms import open_form
from bessemer.core.pick import make
from bessemer.data.quarantine import Quarantine
from bessemer.modalities.text import text
from bessemer.serve.problems import Problem
from bessemer.serve.why import why
from bessemer.serve.work import work_of
from bessemer.stages._scrubbing import Scrubbed

ODD = {1: ["मैं", "नई दिल्ली"], 2: ["Bo", "\u00ad", "ran"], 3: ["<b>", "Bo", "</b>"], 4: ["ﷺ", "Bo"],
       5: ["call", "+86", "138", "0013", "8000"]}
"""Word with a space, of nothing that is seen, of markup, of four words in NFKC, and words that are one number of a telephone."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of tags whose texts are washed in every way."""
    root = tmp_path_factory.mktemp("words")
    file = root / "x.jsonl"
    file.write_text("".join(json.dumps({"words": [name, "met", other, f"{n}"], "ner": ["B", "O", "B", "O"]}) + "\n" for n, (name, other) in
                            enumerate([("Ada", "Bo"), ("Cy", "Di"), ("Ed", "Flo")] * 20)), encoding="utf-8")
    run({"name": "x", "output_dir": str(root / "run"), "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": str(file)}], "targets": {"ner": {"kind": "tags"}},
                    "inputs": {"words": {"kind": "text", "lists": "join", "scrub": ["phone"], "html": "strip", "unicode_form": "NFKC",
                                         "tokenizer": {"kind": "wordpiece", "vocab_size": 100}}}},
        "finetune": {"model": {"kind": "ngrams", "buckets": 100}, "max_steps": 2}}})
    return root / "run"


def test_a_file_keeps_every_row_with_its_problem(folder: Path, tmp_path: Path) -> None:
    rows = [["Ada", "met", "Bo"], *ODD.values(), ["one text of five words"]]
    file = tmp_path / "new.jsonl"
    file.write_text("".join(json.dumps({"words": row}) + "\n" for row in rows), encoding="utf-8")
    predict_file(folder, file, tmp_path / "found.jsonl", None)
    found = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len((row["tags"] or "").split()) for row in found] == [3, 0, 0, 0, 0, 0, 5]
    assert [row["problem"] is None for row in found] == [True, False, False, False, False, False, True]
    assert "holds the word 'नई दिल्ली', which has a space in it" in found[1]["problem"]
    for row, left in ((2, 2), (3, 1), (4, 5), (5, 2)):
        assert f"a list of {len(ODD[row])} words, which are {left} once they are clean" in found[row]["problem"]


@pytest.mark.parametrize("row", ODD)
def test_rows_of_python_and_of_requests_are_refused_alike(folder: Path, row: int) -> None:
    with pytest.raises(UserError, match="^row 2: the column 'words' holds") as told:
        Model.load(folder).predict([["Ada"], ODD[row]])
    with pytest.raises(Problem) as answered:
        work_of(open_form(folder / "finetune"), 1000).take({"words": ODD[row]})
    assert str(told.value) == f"row 2: {answered.value.detail}"


def test_what_a_list_loses_is_counted() -> None:
    """Personal data over several words of a list are counted, as those of a text are."""
    config: Any = make("modalities", {"kind": "text", "lists": "join", "scrub": ["phone"]})
    scrubbed = Scrubbed({"words": config})
    clean, _ = scrubbed.counted("words", text(config).clean)(pa.array([ODD[5], ["Bo", "ran"], None]))
    assert clean.to_pylist() == ["call [PHONE]", "Bo ran", None]
    assert scrubbed.notes() == ["words: personal data replaced: phone 1"]


def test_reasons_are_told_of_a_list_of_words(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"words": ["soup", "good" if n % 2 else "bad", f"{n}"], "y": n % 2}) + "\n" for n in range(60)))
    run({"name": "x", "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": str(file)}], "targets": {"y": {"kind": "category"}},
                    "inputs": {"words": {"kind": "text", "lists": "join"}}},
        "finetune": {"model": {"kind": "tfidf_linear"}}}})
    form = open_form(tmp_path / "run/finetune")
    found, same = (why(form, {"words": row}) for row in (["the", "good", "soup"], "the good soup"))
    assert found == same
    assert (found[0].text, found[0].start, found[0].stop) == ("good", 4, 8)


def test_quarantine_holds_no_number_that_goes_over_words(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q.parquet", ("phone",)) as quarantine:
        quarantine.add("x", [1, 2, 3, 4], ["odd"] * 4, ["column 'words'"] * 4, [json.dumps(ODD[5]), str(ODD[5]), '["Bo", "ran"]', None])
    found = pq.read_table(tmp_path / "q.parquet")["content"].to_pylist()
    assert found == ['["call [PHONE]"]', "['call [PHONE]']", '["Bo", "ran"]', None]
