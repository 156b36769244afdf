"""Texts and rows on the command line, one beside another: each is read as what it is, or it is said how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bessemer.api import Model, run
from bessemer.app.answers import _given, show_predictions
from bessemer.core.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("given")
    (root / "x.jsonl").write_text("".join(json.dumps({"отзыв": f"{'good' if n % 2 else 'bad'} soup {n}", "y": n % 2}) + "\n"
                                          for n in range(60)))
    run({"name": "x", "output_dir": str(root / "run"), "stages": {
        "prepare": {"sources": [{"kind": "jsonl", "path": str(root / "x.jsonl"), "rename": {"отзыв": "text"}}],
                    "inputs": {"text": {"kind": "text"}}, "targets": {"y": {"kind": "category"}}},
        "finetune": {"model": {"kind": "tfidf_linear"}}}})
    return root / "run"


def test_rows_beside_texts_are_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Model.load(folder)
    given = ["good soup", '{"text": "bad soup"}', '{"отзыв": "good"}', "{no object"]
    table, named = _given(model, given)
    assert named
    assert model.table(table)["text"].to_pylist() == ["good soup", "bad soup", "good", "{no object"]
    assert not capsys.readouterr().err
    assert _given(model, given[:1])[1] is False


def test_a_name_that_no_column_has_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_predictions(folder, ["good", '{"txt": "bad soup"}'], None)
    said = " ".join(capsys.readouterr().err.split())
    assert "text 2 is a JSON object without the column 'text', and is read as a text as it stands" in said


@pytest.mark.parametrize(("row", "why"), [('{"text": null}', "missing"), ('{"text": "  "}', "empty text")])
def test_a_row_that_cannot_be_predicted_names_its_column(folder: Path, row: str, why: str) -> None:
    with pytest.raises(UserError, match=f"^row 2 cannot be predicted: column 'text': {why}; correct it$"):
        show_predictions(folder, ["good", row], None)
