from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin


def read(kind: str, **settings):
    entry = plugin("data/sources", kind)
    source = entry.function(entry.config.model_validate(settings))
    chunks = list(source.read())
    rows = [row for chunk in chunks for row in chunk.table.to_pylist()]
    numbers = [int(number) for chunk in chunks for number in chunk.numbers]
    rejected = [row for chunk in chunks if chunk.rejected is not None for row in chunk.rejected.to_pylist()]
    return rows, numbers, rejected


def put(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return str(folder / name)


def test_csv_keeps_row_numbers_across_rejected_rows(tmp_path):
    data = b'\xef\xbb\xbfa,b\r\n1,2\r\n1,2,3\r\n\r\n"x\ny","say ""hi"""\r\n\xff\xfe,2\r\n\xff,2,3\r\n6,\r\n'
    rows, numbers, rejected = read("csv", path=put(tmp_path, "f.csv", data))
    assert rows == [{"a": "1", "b": "2"}, {"a": "x\ny", "b": 'say "hi"'}, {"a": "6", "b": None}]
    assert numbers == [1, 3, 6]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "expected 2 fields, found 3"), (4, "not valid UTF-8"), (5, "expected 2 fields, found 3")]
    assert rejected[1]["content"] == "\ufffd\ufffd | 2"


def test_csv_numbers_hold_over_many_blocks_and_split_characters(tmp_path):
    lines = [f"é汉😀{i},{i}{',x' if i % 7 == 3 else ''}" for i in range(1, 3000)]
    path = put(tmp_path, "f.csv", ("a,b\n" + "\n".join(lines)).encode())
    rows, numbers, rejected = read("csv", path=path, max_row_bytes=1024)
    assert [row["a"] for row in rows] == [f"é汉😀{i}" for i in range(1, 3000) if i % 7 != 3]
    assert numbers == [i for i in range(1, 3000) if i % 7 != 3]
    assert [row["row"] for row in rejected] == [i for i in range(1, 3000) if i % 7 == 3]
    broken = ("a,b\n" + "\n".join(lines)).encode().replace("汉😀2000,".encode(), b"\xe6\xb1,")
    rows, numbers, rejected = read("csv", path=put(tmp_path, "g.csv", broken), max_row_bytes=1024)
    assert [row["row"] for row in rejected if row["reason"] == "not valid UTF-8"] == [2000]
    assert len(rows) + len(rejected) == 2999


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_csv_finds_the_delimiter_outside_quotes(tmp_path, sign):
    path = put(tmp_path, "f.tsv", f'"a,;\t|x"{sign}b{sign}c\n1{sign}2{sign}3\n'.encode())
    assert list(read("csv", path=path)[0][0].values()) == ["1", "2", "3"]


@pytest.mark.parametrize(("data", "message"), [
    (b"", "is empty; expected CSV with at least one row"),
    (b"a,b\n", "has a header but no rows; expected at least one"),
    (b"a,b", "has a header but no rows; expected at least one"),
    (b"a,a\n1,2\n", "the header names the column 'a' twice (columns 1 and 2); give each column its own name"),
    (b"a,b\n\x00\x00\x00\x00\x01,2\n", "is a binary file (byte 4 is NUL); expected CSV as UTF-8 text"),
    (b'a,b\n1,2\n3,"4\n5,6\n7,8\n', "data row 2: a quote (\") is opened and never closed"),
    (b'a,b\n1,2\n"3,4\n5,6\n7,8\n', "data row 2: a quote (\") is opened and never closed"),
    (b"a,b\n1,2\n" + b"x" * 9000 + b",2\n3,4\n", "line 3: a line longer than 2,048 bytes"),
    (b'a,b\n1,2\n"' + b"x\n" * 5000, "after data row 1: a row longer than 2,048 bytes"),
])
def test_csv_bad_files(tmp_path, data, message):
    path = put(tmp_path, "f.csv", data)
    with pytest.raises(UserError) as error:
        read("csv", path=path, max_row_bytes=2048)
    assert message in str(error.value)
    assert f"'{path}'" in str(error.value)


def test_missing_files_folders_and_columns(tmp_path, monkeypatch):
    path = put(tmp_path, "reviews.csv", b"text,label\n1,2\n")
    with pytest.raises(UserError, match="there is no file '.*review.csv'; did you mean 'reviews.csv'?"):
        read("csv", path=str(tmp_path / "review.csv"))
    with pytest.raises(UserError, match="is a folder, not a file"):
        read("csv", path=str(tmp_path))
    with pytest.raises(UserError, match=r"no file matches '.*\*.tsv'"):
        read("csv", path=str(tmp_path / "*.tsv"))
    with pytest.raises(UserError, match="has no column 'lable'; did you mean 'label'. its columns are: text, label"):
        read("csv", path=path, columns=("text", "lable"))

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="there is no permission to read '.*reviews.csv'"):
        read("csv", path=path)


def test_several_files_are_stacked_in_order_of_name(tmp_path):
    put(tmp_path, "b.csv", b"a,b\n3,4\n")
    put(tmp_path, "a.csv", b"b,a\n2,1\n")
    rows, numbers, _ = read("csv", path=str(tmp_path / "*.csv"), columns=("a", "b"))
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert numbers == [1, 1]


def test_jsonl_keeps_types_and_rejects_bad_lines(tmp_path):
    data = (b'\xef\xbb\xbf{"t":"x","l":1}\r\n{bad\n\n[1]\n{"t":"\xff","l":1}\n{"t":{"k":[1,2]},"l":1.0}\n{"l":true,"a/b\'\\"":"z"}\n'
            b'{"t":null,"l":"1"}')
    path = put(tmp_path, "f.jsonl", data)
    rows, numbers, rejected = read("jsonl", path=path, columns=("t", "l", "a/b'\""))
    assert [row["l"] for row in rows] == [{"type": "number", "value": "1"}, {"type": "number", "value": "1.0"},
                                          {"type": "boolean", "value": "true"}, {"type": "text", "value": "1"}]
    assert [row["t"] and row["t"]["value"] for row in rows] == ["x", '{"k":[1,2]}', None, None]
    assert rows[2]["a/b'\""] == {"type": "text", "value": "z"}
    assert numbers == [1, 6, 7, 8]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "not valid JSON"), (4, "not a JSON object"), (5, "not valid UTF-8")]
    with pytest.raises(UserError, match="has no column 'tt'"):
        read("jsonl", path=path, columns=("tt",))


@pytest.mark.parametrize("kind", ["jsonl", "lines"])
def test_a_long_line_is_rejected_with_its_number(tmp_path, kind):
    good = json.dumps({"t": "x"}) if kind == "jsonl" else "x\ty"
    path = put(tmp_path, "f.txt", f"{good}\n{'z' * 9_000_000}\n{good}\n".encode())
    rows, numbers, rejected = read(kind, path=path, max_row_bytes=100_000)
    assert (len(rows), numbers) == (2, [1, 3])
    assert [(row["row"], row["reason"], len(row["content"])) for row in rejected] == [(2, "line longer than 100000 bytes", 200)]


def test_lines_need_their_tab(tmp_path):
    rows, numbers, rejected = read("lines", path=put(tmp_path, "f.txt", b"pos\tgood\tfilm\r\nneg\n\xff\tx\n\nneg\tbad"))
    assert rows == [{"label": "pos", "text": "good\tfilm"}, {"label": "neg", "text": "bad"}]
    assert numbers == [1, 5]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (2, "expected 2 fields between tabs, found 1"), (3, "not valid UTF-8")]


def test_parquet_reads_and_refuses_damage_and_other_types(tmp_path):
    pq.write_table(pa.table({"t": ["x", "y"], "l": [1, 2]}), tmp_path / "a.parquet")
    rows, numbers, _ = read("parquet", path=str(tmp_path / "a.parquet"), columns=("l",))
    assert (rows, numbers) == ([{"l": 1}, {"l": 2}], [1, 2])
    pq.write_table(pa.table({"t": ["x"], "l": ["1"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet': the column 'l' holds string, but in '.*a.parquet' it holds int64"):
        read("parquet", path=str(tmp_path / "*.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    for cut in (whole[:50], whole[:-1], whole[60:], whole[:4] + b"\x00" * 60 + whole[64:]):
        with pytest.raises(UserError, match="c.parquet' is damaged or no Parquet file"):
            read("parquet", path=put(tmp_path, "c.parquet", cut))
