"""Files that commands name are read as the sources of the run: fields, marks and signs that neither name nor content shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bessemer.api import Model, run
from bessemer.core.errors import UserError
from bessemer.data.as_run import as_in_run
from bessemer.data.named_file import named_source


def folder_of(root: Path, *sources: dict[str, Any], **stages: Any) -> Path:
    """Return the folder of a run of which nothing is there but its recipe."""
    root.mkdir(exist_ok=True)
    (root / "recipe.yaml").write_text(yaml.safe_dump({"name": "x", "stages": {"prepare": {"sources": list(sources)}, **stages}}),
                                      encoding="utf-8")
    return root


def kind(config: Any) -> str:
    return type(config).__name__


def test_lines_have_the_fields_of_the_run(tmp_path: Path) -> None:
    """Without them the labels would be answered as if they were texts."""
    file = tmp_path / "new.txt"
    file.write_text("вкусно\tgood\n", encoding="utf-8")
    made = folder_of(tmp_path / "run", {"kind": "lines", "path": "a.txt", "columns": ["text", "label"]})
    config, said = named_source(file, run=made)
    assert config.columns == ("text", "label")
    assert said == f"{file}: read as lines with columns: [text, label], as the run's sources are"
    assert named_source(file)[0].columns == ("label", "text")
    file.write_text("one text a line\n", encoding="utf-8")
    with pytest.raises(UserError, match="expected 'label<TAB>text', found 0 tabs"):
        named_source(file)
    alone = folder_of(tmp_path / "alone", {"kind": "lines", "path": "a.txt", "columns": ["text"]})
    assert named_source(file, run=alone)[0].columns == ("text",)


def test_lines_with_labels_have_the_marks_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text("#good #b вкусно\n", encoding="utf-8")
    made = folder_of(tmp_path / "run", {"kind": "fasttext", "path": "a.txt", "prefix": "#", "separator": ";"})
    config, _ = as_in_run(file, made)
    assert (kind(config), config.prefix, config.separator) == ("FastText", "#", ";")
    file.write_text("no label\n__label__a вкусно\n", encoding="utf-8")  # told by its own content, and the sign is the run's
    config, _ = as_in_run(file, folder_of(tmp_path / "run", {"kind": "fasttext", "path": "a.txt", "separator": ";"}))
    assert (config.prefix, config.separator) == ("__label__", ";")
    assert kind(as_in_run(file, None)[0]) == "FastText"


def test_sources_that_differ_say_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text("__label__a x\n", encoding="utf-8")
    sources = [{"kind": "fasttext", "path": "a.txt", "separator": ";"}, {"kind": "fasttext", "path": "b.txt"}]
    assert as_in_run(file, folder_of(tmp_path / "run", *sources))[0].separator == "|"
    joined = {"kind": "sql", "query": "SELECT 1", "tables": {"a": sources[0], "b": {"kind": "csv", "path": "b.csv"}}}
    assert as_in_run(file, folder_of(tmp_path / "run", joined))[0].separator == ";"
    learnt = {"update-001": {"kind": "update", "sources": [sources[1]]}}  # rows of later, read by an older version
    assert as_in_run(file, folder_of(tmp_path / "run", sources[0], **learnt))[0].separator == ";"


def test_a_delimiter_holds_where_the_header_has_it(tmp_path: Path) -> None:
    made = folder_of(tmp_path / "run", {"kind": "csv", "path": "a.csv", "delimiter": "#"})
    (tmp_path / "some.csv").write_text("text#label\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("text,label\n", encoding="utf-8")
    assert [as_in_run(tmp_path / f"{name}.csv", made)[0].delimiter for name in ("some", "other")] == ["#", None]


def test_folders_have_the_pattern_of_the_run(tmp_path: Path) -> None:
    for name in ("a/good/1.md", "b/bad/2.md", "flat/1.txt", "flat/2.txt"):
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_text("x", encoding="utf-8")
    made = folder_of(tmp_path / "run", {"kind": "folder", "path": "a", "pattern": "*.md", "level": -1})
    config, _ = as_in_run(tmp_path / "texts", made)
    assert (kind(config), config.pattern, config.level) == ("Folder", "*.md", -1)
    plain = folder_of(tmp_path / "run", {"kind": "folder", "path": "a", "level": 2})
    config, _ = as_in_run(tmp_path / "texts/flat", plain)  # a text a file, as was learnt, and not a text a line
    assert (kind(config), config.level) == ("Folder", 1)
    assert kind(as_in_run(tmp_path / "texts/flat", None)[0]) == "ClassFiles"


def test_rows_of_several_labels_are_scored(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    lines = ["__label__a|c __label__b red", "__label__b green", "neither", "__label__a|c blue"]
    file.write_text("".join(f"{line} {number}\n" for number in range(20) for line in lines), encoding="utf-8")
    run({"name": "x", "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": {"sources": [{"kind": "fasttext", "path": str(file), "separator": ";"}], "inputs": {"text": {"kind": "text"}},
                    "targets": {"label": {"kind": "multilabel", "separator": ";", "empty": "none"}}},
        "finetune": {"model": {"kind": "tfidf_linear"}}}})
    found = Model.load(tmp_path / "run").evaluate(file)
    assert (found["rows"], found["left_out"]["rows"]) == (80, 0)
    assert found["metrics"]["subset_accuracy"]["value"] == 1.0
