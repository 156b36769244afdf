"""Lists of JSON lines are what the same rows are in Parquet; what is no value is set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.api import run
from bessemer.core.errors import UserError
from bessemer.core.registry import plugin, plugin_of
from bessemer.core.types import Chunk
from bessemer.data.clean import Feed, Plan, clean
from bessemer.data.columns import texts
from bessemer.data.inspect import infer_source, inspect
from bessemer.data.quarantine import Quarantine

ROWS: dict[str, tuple[str, list[Any]]] = {
    "multilabel": ("target", [None, ["b", "a"], [], None, ["Küche, \"x\" [1]"], ["a", None]]),
    "tags": ("target", [["O", "B"], [], None, ["B"]]),
    "vector": ("input", [[0.25, 1], [], None, [3, 4], [1.5, None]]),
}


def _cleaned(tmp_path: Path, file: Path, kind: str, role: str) -> tuple[list[Any], list[tuple[int, str]]]:
    model = plugin("modalities", kind)
    made = model.function(model.config())
    config = infer_source(file)
    plan = Plan({"x": made.clean} if role == "input" else {}, {"x": made.clean} if role == "target" else {}, unlabelled=True,
                lists=frozenset({"x"} if made.lists else ()))
    out = tmp_path / f"{file.name}.clean"
    with Quarantine(tmp_path / f"{file.name}.bad", ()) as quarantine:
        clean([Feed(plugin_of("data/sources", config).function(config))], plan, out, quarantine, lambda rows: None)
    bad = pq.read_table(tmp_path / f"{file.name}.bad").to_pylist()
    return pq.read_table(out)["x"].to_pylist(), [(row["row"], row["reason"]) for row in bad]


@pytest.mark.parametrize("kind", ROWS)
def test_lists_are_what_parquet_holds(tmp_path: Path, kind: str) -> None:
    role, values = ROWS[kind]
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.parquet"
    lines.write_text("".join(json.dumps({"x": value}, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    pq.write_table(pa.table({"x": values}), table)
    assert _cleaned(tmp_path, lines, kind, role) == _cleaned(tmp_path, table, kind, role)


def test_rows_whose_values_are_no_labels_are_set_aside(tmp_path: Path) -> None:
    values = ["a", {"secret": "mail@example.org"}, "b", ["a"], None]
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"x": value}) + "\n" for value in values))
    kept, bad = _cleaned(tmp_path, file, "category", "target")
    assert kept == ["a", "b", None]
    assert bad == [(2, "no single value but a mapping"), (4, "no single value but a list")]
    file.write_text("".join(json.dumps({"x": value}) + "\n" for value in [["a"], [["a"]], ["[b]"], {"a": 1}]))
    kept, bad = _cleaned(tmp_path, file, "multilabel", "target")
    assert kept == [["a"], ["[b]"]]
    assert bad == [(2, "a list of lists or mappings"), (4, "no single value but a mapping")]


def test_a_file_of_lists_looks_as_it_does_in_parquet(tmp_path: Path) -> None:
    rows = [{"text": f"a text of some words {i}", "about": ["a", "b"][:i % 3] if i else None, "x": [i, i / 2]} for i in range(60)]
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.parquet"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), table)
    one, other = (inspect(file, "about") for file in (lines, table))
    assert (one.columns, one.task, one.inputs, one.target_modality) == (other.columns, other.task, other.inputs, other.target_modality)
    assert one.task == "multilabel"


def test_elements_keep_their_type(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for values, kind in (([[1, 2], []], pa.int64()), ([[1, 0.5]], pa.float64()), ([[1, "a"]], pa.string()), ([[True]], pa.string()),
                         ([[]], pa.string())):
        file.write_text("".join(json.dumps({"x": value}) + "\n" for value in values))
        config = infer_source(file)
        chunk: Chunk
        (chunk,) = plugin_of("data/sources", config).function(config).read()
        found = texts(chunk.table["x"], lists=True)
        assert found.type.value_type == kind


@pytest.mark.parametrize(("kind", "values", "wanted"), [
    ("multilabel", ["b|a", ["c|d", "a"], None, [], "c", [None], ["a"]], [["a", "b"], ["a", "c|d"], None, [], ["c"], [], ["a"]]),
    ("tags", [["O", "B"], "B O O", None, "O", ["B"]], [["O", "B"], ["B", "O", "O"], None, ["O"], ["B"]])])
def test_lists_and_texts_of_one_column_are_each_read_as_such(tmp_path: Path, kind: str, values: list[Any], wanted: list[Any]) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"x": value}) + "\n" for value in values))
    assert _cleaned(tmp_path, file, kind, "target") == (wanted, [])


def test_a_column_of_lists_and_some_texts_looks_like_several_labels(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for lists, kind in ((3, "multilabel"), (1, "category")):
        rows = [{"text": f"a text of some words {i}", "about": ["a", "b"][:i % 3] if i % 4 < lists else "ab"[i % 2]} for i in range(60)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert (inspect(file, "about").target_modality or {})["kind"] == kind


def test_a_stray_mapping_among_lists_does_not_make_labels_of_json(tmp_path: Path) -> None:
    rows = [{"text": f"row {i} of many", "about": ["a"] if i % 2 else ["a", "b"]} for i in range(60)]
    file = tmp_path / "stray.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "a stray", "about": {"a": 1}}]), encoding="utf-8")
    found = inspect(file, "about")
    assert (found.task, found.target_modality) == ("multilabel", {"kind": "multilabel"})


TODO = ("write one value a row (in SQL by array_to_string or unnest), or give the column a kind that takes lists: vector for an input, "
        "multilabel or tags for a target")


@pytest.mark.parametrize(("kind", "role", "said"), [
    ("category", "input", "labels; expected text, whole numbers or true/false"),
    ("number", "input", "numbers; expected numbers, true/false or text"), ("text", "input", "text; expected text or numbers"),
    ("date", "input", "dates; expected dates, timestamps or text"),
    ("category", "target", "labels; expected text, whole numbers or true/false"),
    ("number", "target", "numbers; expected numbers, true/false or text")])
def test_lists_for_a_kind_of_single_values_name_the_file_the_column_and_what_to_do(tmp_path: Path, kind: str, role: str, said: str) -> None:
    lines, table = tmp_path / "x.jsonl", tmp_path / "x.parquet"
    lines.write_text('{"x": ["a", "b"], "y": 1}\n' * 12)
    pq.write_table(pa.table({"x": [["a", "b"]] * 12, "y": [1] * 12}), table)
    query = {"kind": "sql", "query": "SELECT list(z) AS x, y FROM t GROUP BY y", "tables": {
        "t": {"kind": "sql", "query": "SELECT unnest(x) AS z, y FROM t", "tables": {"t": str(table)}}}}
    columns: tuple[dict[str, Any], dict[str, Any]] = {"x": {"kind": kind}}, {"y": {"kind": "number"}}
    inputs, targets = columns if role == "input" else columns[::-1]
    found = []
    for source in ({"kind": "parquet", "path": str(table)}, query, {"kind": "jsonl", "path": str(lines)}):
        with pytest.raises(UserError) as caught:
            run({"name": "lists", "output_dir": str(tmp_path / "run"), "stages": {"prepare": {
                "sources": [source], "inputs": inputs, "targets": targets}}})
        found.append(str(caught.value))
    assert found[0] == f"column 'x' of '{table.name}': a column of type list<element: string> cannot be read as {said}; {TODO}"
    assert found[1] == f"column 'x' of 'a query over t': a column of type list<l: string> cannot be read as {said}; {TODO}"
    what = "no single value" if role == "target" else "no text"
    assert found[2] == ("every row was set aside or left out, so there is nothing to learn from: "
                        f"""{what} but a list (12 rows, such as '["a","b"]' in column 'x') of {lines.name}; {TODO}""")
