"""Texts that come as lists of words, as collections of tagged sentences do: from `init` to what is answered and scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.api import Model, read_file, run
from bessemer.app.starter import write_recipe
from bessemer.core.errors import UserError
from bessemer.core.forms import open_form
from bessemer.core.pick import make
from bessemer.data.inspect import inspect
from bessemer.modalities import text as module
from bessemer.serve.problems import Problem
from bessemer.serve.work import Tables, input_columns, work_of


def sentences(count: int) -> list[dict[str, Any]]:
    """Return sentences of which each word is tagged: the capital ones name."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        who, whom, where = (str(rng.choice(names)) for names in (["Ada", "Bo", "Cy"], ["Di", "Ed", "Flo"], ["Rome", "Oslo"]))
        words = [who, "met", whom, "in", where, "on", f"day {number}".replace(" ", "-"), "in", "rain"]
        found.append({"id": number, "words": words, "ner": ["B", "O", "B", "O", "B", "O", "O", "O", "O"], "size": len(words)})
    return found


def lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("codes", [False, True])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_tags_are_found_without_being_named(tmp_path: Path, suffix: str, codes: bool) -> None:
    """Equally long lists, of texts or of codes; a column of sets beside them is no text."""
    rows = [{**row, "about": ["a", "b"][:1 + row["id"] % 2], "ner": [int(tag == "B") if codes else tag for tag in row["ner"]]}
            for row in sentences(60)]
    file = tmp_path / f"x.{suffix}"
    if suffix == "jsonl":
        lines(file, rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), file)
    found = inspect(file)
    assert (found.target, found.task, found.inputs, found.target_modality) == ("ner", "tags", ("words",), {"kind": "tags"})
    assert found.labels == ({"0": 360, "1": 180} if codes else {"O": 360, "B": 180})


def test_a_table_with_lists_of_words_is_a_table(tmp_path: Path) -> None:
    """Its lists are no input, as before, which is said."""
    found = inspect(lines(tmp_path / "x.jsonl", [{**row, "shop": "abc"[row["id"] % 3], "price": row["id"] * 1.5}
                                               for row in sentences(300)]), "price")
    assert found.table
    assert {column.name: column.reason for column in found.columns}["words"] == (
        "only lists of numbers, all of one length, are an input of a table; lists of words are a text (kind: text, lists: join), learnt "
        "from alone")


def test_from_init_to_what_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and texts are read alike, in training, in `predict`, in `evaluate`, in the server; what is neither is set aside."""
    monkeypatch.chdir(tmp_path)
    rows = sentences(120)
    strays = [{**rows[0], "id": 900, "words": "Bo met Ed", "ner": ["B", "O", "B"]}, {**rows[0], "id": 901, "words": ["a", ["b"]]},
              {**rows[0], "id": 902, "words": ["Bo", "met"]}]
    file, _ = write_recipe(lines(tmp_path / "x.jsonl", rows + strays), [], None, False, None)
    assert "words: {kind: text, lists: join, max_length: " in file.read_text()
    result = run(file, "finetune.model={kind: ngrams, buckets: 100}", "finetune.num_train_epochs=4", "finetune.learning_rate=1.0e-2",
                 until="finetune")
    bad = {row["row"]: row["reason"] for row in pq.read_table(tmp_path / "runs/x/prepare/quarantine.parquet").to_pylist()}
    assert bad == {122: "a list of lists or mappings", 123: "not one tag for each word of the text"}
    model = Model.load(result.stages["finetune"].folder)
    listed, said = (model.predict([{"words": value}]) for value in (["Bo", "met", "Ed"], "Bo met Ed"))
    assert listed == said
    assert [len(tags) for tags in listed] == [3]
    assert model.predict([["Bo", "met", "Ed"]]) == listed
    for words, wrong in ((["Bo", "met Ed"], "'met Ed', which has a space in it"), (["Bo", "\u3000"], "which is empty")):
        with pytest.raises(UserError, match="^row 2: the column 'words' holds the word .*" + wrong):
            model.predict([["Ed"], words])
    scored = model.evaluate(read_file(tmp_path / "x.jsonl", lambda message: None))
    assert (scored["rows"], scored["left_out"]["rows"]) == (121, 2)
    assert scored["metrics"]["accuracy"]["value"] > 0.9


def test_a_server_takes_lists_of_words(tmp_path: Path) -> None:
    rows = lines(tmp_path / "x.jsonl", sentences(60))
    result = run({"name": "x", "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": str(rows)}], "targets": {"ner": {"kind": "tags"}},
                    "inputs": {"words": {"kind": "text", "lists": "join", "tokenizer": {"kind": "wordpiece", "vocab_size": 100}}}},
        "finetune": {"model": {"kind": "ngrams", "buckets": 100}, "num_train_epochs": 1}}})
    form = open_form(result.stages["finetune"].folder)
    for work, taken in ((work_of(form, 100), "Bo met"), (Tables(form, 100), ("Bo met",))):
        assert work.take({"words": ["Bo", "met"]}) == taken
        for value, said in ((["Bo", 3], "expected a list of words, one text"), ([["Bo"]], "expected a list of words, one text"),
                            (["Bo", "met Ed"], "every word of a list gets one tag"),
                            ({"a": 1}, "holds an object"), (["long"] * 21, "holds a text of 104 characters; this server takes 100")):
            with pytest.raises(Problem) as found:
                work.take({"words": value})
            assert said in found.value.detail
    assert input_columns(work.predictor.schema)[0].modality["lists"] == "join"


def test_lists_are_refused_unless_they_are_asked_for() -> None:
    values = pa.array([["a", "b"]])
    made = module.text(make("modalities", {"kind": "text"}))
    assert not made.lists
    with pytest.raises(UserError, match="cannot be read as text"):
        made.clean(values)
    joining = module.text(make("modalities", {"kind": "text", "lists": "join"}))
    clean, why = joining.clean(pa.array([["a", "b"], [], None, ["c", None]]))
    assert (clean.to_pylist(), why.to_pylist()) == (["a b", "", None, None],
                                                    [None, "empty text", "missing", "a word of the list is missing"])
