"""Size is the bytes of the files; memory is of a fresh process that holds no torch unless the form needs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.core.forms import open_form, read_forms
from bessemer.measure.memory import peak_memory
from bessemer.measure.size import needed, size


def test_size_is_the_bytes_of_what_a_form_needs(finished: Path) -> None:
    folder = finished / "runs/tiny/export"
    form = read_forms(folder)[0]
    found = size(folder, form.name)
    names = {path.relative_to(folder).as_posix() for path in needed(folder, form.name)}
    assert names == {"predictor.json", "schema.json", "columns/text/tokenizer.json", "model_dynamic_int8.onnx"}
    assert found["form"] == sum((folder / name).stat().st_size for name in names - {"predictor.json"})
    assert found["weights"] == (folder / "model_dynamic_int8.onnx").stat().st_size
    manifest = json.loads((folder / "manifest.json").read_text())
    assert found["folder"] == sum(item["size"] for item in manifest["files"].values())


def test_a_form_answers_with_only_the_files_that_are_counted(finished: Path, tmp_path: Path) -> None:
    rows = pa.table({"text": ["The room number 7 was lovely today.", "第7次，服务很差。"]})
    for stage in ("export", "finetune", "baseline"):
        folder = finished / "runs/tiny" / stage
        for form in read_forms(folder):
            copy = tmp_path / stage / form.name
            for path in needed(folder, form.name):
                (copy / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy / path.relative_to(folder))
            before, after = (open_form(place, form.name).predict(rows)["label"].values for place in (folder, copy))
            assert before.tobytes() == after.tobytes()


def test_memory_is_of_a_fresh_process(finished: Path) -> None:
    folder, rows = finished / "runs/tiny/export", pa.table({"text": ["The room number 7 was lovely today."] * 16})
    found = peak_memory(folder, "onnx-int8", rows)
    assert not found["torch"]
    assert 0 < found["loaded"]["anonymous"] <= found["answering"]["anonymous"] <= found["peak"] < 2e9
    assert found["loaded"]["mapped"] <= found["answering"]["mapped"]


def test_memory_of_a_form_that_is_not_there_is_a_sentence(finished: Path) -> None:
    with pytest.raises(UserError, match="cannot be measured: .*has no form 'onnx-int4'"):
        peak_memory(finished / "runs/tiny/export", "onnx-int4", pa.table({"text": ["a"]}))
