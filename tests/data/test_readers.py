"""Sheets, labelled lines, class files, folders, databases and the hub's layout: what is read, rejected and refused."""

from __future__ import annotations

import datetime
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin, plugin_of
from bessemer.data.inspect import infer_source, inspect
from tests.data.test_sources import put, read

openpyxl = pytest.importorskip("openpyxl")


def notes(kind: str, **settings):
    entry = plugin("data/sources", kind)
    return [note for chunk in entry.function(entry.config.model_validate(settings)).read() for note in chunk.notes]


def sheet(folder: Path, rows, name="f.xlsx", **more) -> str:
    book = openpyxl.Workbook()
    for title, content in {"Sheet": rows, **more}.items():
        page = book.active if title == "Sheet" else book.create_sheet(title)
        for row in content:
            page.append(row)
    book.save(folder / name)
    return str(folder / name)


# ---- sheets ----------------------------------------------------------------------------------------------------------

def test_a_sheet_is_read_as_csv_would_hold_it(tmp_path):
    day, moment = datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 10, 5, 0)
    path = sheet(tmp_path, [[], ["text", "n", "flag", "day", None], ["a\nb", 2, True, day], ["é汉", 2.5, False, moment], [], [None, 1e20],
                            ["x", 1, None, None, "stray"], ["007", -3]])
    rows, numbers, rejected = read("excel", path=path)
    assert rows == [
        {"text": "a\nb", "n": "2", "flag": "true", "day": "2024-01-31"},
        {"text": "é汉", "n": "2.5", "flag": "false", "day": "2024-01-31 10:05:00"},
        {"text": None, "n": "1e+20", "flag": None, "day": None}, {"text": "007", "n": "-3", "flag": None, "day": None}]
    assert numbers == [3, 4, 6, 8]
    assert rejected == [{"row": 7, "reason": "a value in a column without a name", "content": "x | 1 |  |  | stray"}]
    assert read("excel", path=path, columns=("n", "text"))[0][0] == {"n": "2", "text": "a\nb"}
    assert [row["a\nb"] for row in read("excel", path=path, header_row=3, columns=("a\nb",))[0]] == ["é汉", None, "007"]


def test_sheets_by_name_and_number(tmp_path):
    path = sheet(tmp_path, [], notes=[["t"], ["one"]], Labels=[["t"], ["two"]])
    assert read("excel", path=path, sheet="Labels")[0] == read("excel", path=path, sheet=3)[0] == [{"t": "two"}]
    assert read("excel", path=sheet(tmp_path, [], "g.xlsx", notes=[["t"], ["one"]]))[0] == [{"t": "one"}]
    for settings, message in (
            ({}, r"has 2 sheets with rows \(notes, Labels\); name one: 'sheet: notes'"), ({"sheet": "Label"}, "did you mean 'Labels'"),
            ({"sheet": 4}, "has 3 sheets, no sheet 4; its sheets are: Sheet, notes, Labels"),
            ({"sheet": 1}, "the sheet 'Sheet' has no header"),
            ({"sheet": 2, "header_row": 2}, "the sheet 'notes' has a header but no rows"),
            ({"sheet": 2, "columns": ("u",)}, "has no column 'u'")):
        with pytest.raises(UserError, match=message):
            read("excel", path=path, **settings)
    with pytest.raises(UserError, match="the header names the column 't' twice"):
        read("excel", path=sheet(tmp_path, [["t", "t"], [1, 2]], "h.xlsx"))


def bomb(folder: Path, change) -> str:
    """Write a sheet whose members are altered by `change(name, bytes)`."""
    whole = zipfile.ZipFile(sheet(folder, [["t"], ["one"]], "whole.xlsx"))
    with zipfile.ZipFile(folder / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, change(name, whole.read(name)))
    return str(folder / "bomb.xlsx")


def test_sheets_that_would_fill_the_memory_are_refused(tmp_path):
    path = bomb(tmp_path, lambda name, data: data + b" " * 3_000_000 if "sheet1" in name else data)
    assert read("excel", path=path)[0] == [{"t": "one"}]
    with pytest.raises(UserError, match="unpacks to more than 1,000,000 bytes, the most that a sheet may"):
        read("excel", path=path, max_unpacked_bytes=1_000_000)
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "t", "far"
    book.save(tmp_path / "far.xlsx")
    with pytest.raises(UserError, match="span more than 20,000,000 places, the most that a sheet may; delete what stands far"):
        read("excel", path=str(tmp_path / "far.xlsx"))
    lying = Path(path).read_bytes().replace(len(zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml")).to_bytes(4, "little"),
        b"\x09\0\0\0")
    with pytest.raises(UserError, match="unpacks to more than 1,000,000"):
        read("excel", path=put(tmp_path, "lying.xlsx", lying), max_unpacked_bytes=1_000_000)


ODS = """<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.2">
<office:body><office:spreadsheet><table:table table:name="S">{rows}
<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>
</table:table></office:spreadsheet></office:body></office:document-content>"""


def ods(folder: Path, rows: str) -> str:
    with zipfile.ZipFile(folder / "f.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", '<?xml version="1.0"?><manifest:manifest xmlns:manifest='
                         '"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"><manifest:file-entry manifest:full-path="/" '
                         'manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>')
        archive.writestr("content.xml", ODS.format(rows=rows))
    return str(folder / "f.ods")


def test_open_document_sheets(tmp_path):
    def row(*values, **more):
        repeat = f' table:number-rows-repeated="{more["rows"]}"' if more else ""
        cells = "".join(f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>' for value in values)
        return f"<table:table-row{repeat}>{cells}</table:table-row>"

    assert read("excel", path=ods(tmp_path, row("t", "u") + row("one", "é") * 2))[0] == [{"t": "one", "u": "é"}] * 2
    with pytest.raises(UserError, match="span more than 1,000 places"):
        read("excel", path=ods(tmp_path, row("t") + row("one", rows=1001)), max_cells=1000)


def test_what_is_no_sheet(tmp_path):
    for name, data, message in (
            ("a.xlsx", b"text,label\n", "is no Excel or OpenDocument sheet"), ("b.xlsx", b"", "is empty"),
            ("c.xlsx", b"PK\x03\x04" + b"x" * 90, "is damaged or no sheet"),
            ("d.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"),
             "is encrypted; open it, save it without a password, and name that file")):
        with pytest.raises(UserError, match=message):
            read("excel", path=put(tmp_path, name, data))
    whole = Path(sheet(tmp_path, [["t"], ["one"]])).read_bytes()
    for cut in (100, len(whole) // 2, len(whole) - 30):
        with pytest.raises(UserError, match="is damaged or no sheet"):
            read("excel", path=put(tmp_path, "cut.xlsx", whole[:cut]))


# ---- lines and folders -----------------------------------------------------------------------------------------------

def test_labelled_lines(tmp_path):
    data = ("__label__a __label__b  x y \n__label__a\nno label\n__label__c z __label__d\n__label__a|b q\n__label__ü 汉字\n"
            "__label__ bare\n").encode()
    rows, numbers, rejected = read("fasttext", path=put(tmp_path, "f.txt", data + b"__label__a \xff\n"))
    assert rows == [{"label": "a|b", "text": "x y"}, {"label": "a", "text": None}, {"label": None, "text": "no label"},
                    {"label": "ü", "text": "汉字"}]
    assert numbers == [1, 2, 3, 6]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (4, "a label after the text, or without a name"), (5, "a label with the separator '|'"),
        (7, "a label after the text, or without a name"), (8, "not valid UTF-8")]
    other = put(tmp_path, "g.txt", b"#a.b #c text\n")
    assert read("fasttext", path=other, prefix="#", separator=", ")[0] == [{"label": "a.b, c", "text": "text"}]
    packed = put(tmp_path, "h.txt.gz", gzip.compress("__label__x été\n".encode("utf-16")))
    assert read("fasttext", path=packed, columns=("text",))[0] == [{"text": "été"}]


def test_a_file_a_class(tmp_path):
    put(tmp_path, "pos.txt", b"a\n\n\xff\nb")
    (tmp_path / "neg.txt.gz").write_bytes(gzip.compress("这家酒店的服务很好我们下次还会来的\n".encode("gb18030") * 3))
    rows, numbers, rejected = read("class_files", path=[str(tmp_path / "pos.txt"), str(tmp_path / "neg.txt.gz")],
                                   columns=("label", "text", "file", "line"))
    assert rows[:3] == [{"label": "pos", "text": "a", "file": "pos.txt", "line": 1},
        {"label": "pos", "text": "b", "file": "pos.txt", "line": 4},
                        {"label": "neg", "text": "这家酒店的服务很好我们下次还会来的", "file": "neg.txt.gz", "line": 1}]
    assert numbers == [1, 4, 5, 6, 7]
    assert rejected == [{"row": 3, "reason": "not valid UTF-8", "content": "pos.txt, line 3: \ufffd"}]
    assert [row["label"] for row in read("class_files", path=str(tmp_path), columns=("label",))[0]] == ["neg"] * 3 + ["pos"] * 2
    (tmp_path / "none").mkdir()
    (tmp_path / "other").mkdir()
    put(tmp_path / "other", "pos.txt", b"x\n")
    for path, message in ((str(tmp_path / "none"), "has no file that ends in .txt; expected one a class"),
                          ([str(tmp_path / "pos.txt"), str(tmp_path / "other/pos.txt")], "are both the class 'pos'"),
                          (str(tmp_path / "nose.txt"), "there is no file '.*nose.txt'")):
        with pytest.raises(UserError, match=message):
            read("class_files", path=path)


def test_a_folder_of_texts(tmp_path):
    for name, data in {
            "pos/a.txt": "été".encode(), "pos/deep/er/b.txt": "it’s a café, très déjà vu".encode("cp1252"),
            "neg/c.txt": b"x" * 101, "neg/d.txt": b"\0\1" * 20,
            "neg/e.txt": b"\x81\x8d", "neg/.f.txt": b"hidden", ".git/g.txt": b"hidden", "neg/h.md": b"other", "top.txt": b"none",
            "neg/i.txt": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path, name, data)
    rows, numbers, rejected = read("folder", path=str(tmp_path), columns=("label", "text", "file"), max_file_bytes=100)
    assert rows == [{"label": "neg", "text": "", "file": "neg/i.txt"}, {"label": "pos", "text": "été", "file": "pos/a.txt"},
                    {"label": "pos", "text": "it’s a café, très déjà vu", "file": "pos/deep/er/b.txt"},
                    {"label": None, "text": "none", "file": "top.txt"}]
    assert numbers == [4, 5, 6, 7]
    assert [(row["row"], row["reason"], row["content"]) for row in rejected] == [
        (1, "file longer than 100 bytes", "neg/c.txt"), (2, "a binary file, no text", "neg/d.txt"), (3, "not valid CP1252", "neg/e.txt")]
    assert notes("folder", path=str(tmp_path)) == [
        f"{tmp_path.name}: 2 hidden files (names that begin with a dot) are left out",
        f"{tmp_path.name}: 1 file is no UTF-8 (first: pos/deep/er/b.txt) and may be CP1252 or CP1250, which too few letters tell apart; it "
        "is read as CP1252: set encoding: cp1252 or encoding: cp1250 in the source to say which it is"]
    assert [row["label"] for row in read("folder", path=str(tmp_path), level=-1)[0]] == ["neg", "neg", "pos", "er", None]
    assert [row["label"] for row in read("folder", path=str(tmp_path), level=3)[0]] == [None, None, None, "er", None]
    for settings, message in (({"path": str(tmp_path / "no")}, "there is no folder"),
        ({"path": str(tmp_path / "top.txt")}, "is a file; expected"),
                              ({"path": str(tmp_path), "pattern": "*.rst"}, r"has no file '\*.rst'; expected texts in a folder for each")):
        with pytest.raises(UserError, match=message):
            read("folder", **settings)


# ---- databases -------------------------------------------------------------------------------------------------------

def database(folder: Path, *statements: str, name="f.db") -> str:
    with closing(sqlite3.connect(folder / name)) as opened, opened:
        opened.executescript("".join(f"{statement};\n" for statement in statements))
    return str(folder / name)


def test_sqlite(tmp_path):
    path = database(tmp_path, "CREATE TABLE r (text, label, n)", "INSERT INTO r VALUES ('é', 1, 2.5), (CAST(x'ff61' AS TEXT), 2, NULL), "
                    "('汉', '', x'6162'), (3.0, 1e300, -7)")
    rows, numbers, rejected = read("sqlite", path=path)
    assert rows == [{"text": "é", "label": "1", "n": "2.5"}, {"text": "汉", "label": None, "n": "ab"},
        {"text": "3", "label": "1e+300", "n": "-7"}]
    assert numbers == [1, 3, 4]
    assert rejected == [{"row": 2, "reason": "not valid UTF-8", "content": "\ufffda | 2 | "}]
    assert read("sqlite", path=path, query="SELECT n AS k, count(*) c FROM r WHERE n < 9 GROUP BY n ORDER BY n")[0] == [
        {"k": "-7", "c": "1"}, {"k": "2.5", "c": "1"}]
    assert read("sqlite", path=path, table="r", columns=("n",))[0][0] == {"n": "2.5"}


@pytest.mark.parametrize(("settings", "message"), [
    ({}, r"has 2 tables and views \(notes, rows\); name one: 'table: notes'"),
    ({"table": "row"}, "has no table 'row'; did you mean 'rows'"),
    ({"table": "notes"}, "the table 'notes' has no row"), ({"query": "SELECT x FROM rows"}, "the query fails: no such column: x"),
    ({"query": "DELETE FROM rows"}, "the query is no SELECT"), ({"query": "SELECT a, a FROM rows"}, "names the column 'a' twice"),
    ({"query": "SELECT random() FROM rows"}, r"may not do that \(not authorized to use function: random\)"),
    ({"query": "WITH x AS (SELECT 1) DELETE FROM rows"}, "may not do that|attempt to write"),
    ({"query": "SELECT 1; SELECT 2"}, "the query fails"),
    ({"table": "rows", "columns": ("b",)}, "has no column 'b'"), ({"table": "rows", "max_row_bytes": 1024}, "longer than 1,024 bytes"),
    ({"query": "SELECT * FROM sqlite_master, pragma_database_list"}, "may not do that")])
def test_sqlite_refuses(tmp_path, settings, message):
    path = database(tmp_path, "CREATE TABLE rows (a)", "INSERT INTO rows VALUES (hex(zeroblob(2000)))", "CREATE TABLE notes (a)")
    before = Path(path).read_bytes()
    with pytest.raises(UserError, match=message):
        read("sqlite", path=path, **settings)
    assert Path(path).read_bytes() == before


def test_sqlite_damage_and_logs_beside(tmp_path):
    with pytest.raises(UserError, match="is no SQLite file, or encrypted"):
        read("sqlite", path=put(tmp_path, "x.db", b"text,label\n"))
    path = database(tmp_path, "CREATE TABLE rows (a)", *(f"INSERT INTO rows VALUES ('{'x' * 900} {i}')" for i in range(60)))
    whole = Path(path).read_bytes()
    with pytest.raises(UserError, match="is damaged"):
        read("sqlite", path=put(tmp_path, "cut.db", whole[:9000]))
    entry = plugin("data/sources", "sqlite")
    assert entry.config(path=path).outside() == (Path(path),)
    put(tmp_path, "f.db-wal", b"x")
    assert entry.config(path=path).outside() == (Path(path), tmp_path / "f.db-wal")
    with pytest.raises(ValueError, match="a 'table' and a 'query' are given"):
        make("data/sources", {"kind": "sqlite", "path": path, "table": "a", "query": "SELECT 1"})


def test_sqlalchemy(tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    path = database(tmp_path, "CREATE TABLE r (id INTEGER PRIMARY KEY, text TEXT, at TIMESTAMP, cost NUMERIC(9, 2))",
                    "INSERT INTO r VALUES (9, 'b', '2024-01-31 10:05:00', 2.5), (1, 'a', NULL, 7)")
    monkeypatch.setenv("PLACE", path.lstrip("/"))
    settings = {"url": "sqlite:////${PLACE}", "version": 1}
    rows, numbers, _ = read("sqlalchemy", **settings, table="r")
    assert rows == [{"id": "1", "text": "a", "at": None, "cost": "7.00"},
        {"id": "9", "text": "b", "at": "2024-01-31 10:05:00", "cost": "2.50"}]
    assert numbers == [1, 2]
    assert read("sqlalchemy", **settings, query="SELECT text FROM r WHERE at < '2024-02-01 00:00:00' -- :x",
        columns=("text",))[0] == [{"text": "b"}]
    assert read("sqlalchemy", **settings, query="WITH x AS (SELECT 1 AS y) SELECT * FROM x")[0] == [{"y": "1"}]
    entry = plugin("data/sources", "sqlalchemy")
    named = entry.config.model_validate({"url": "sqlite:///${PLACE}", "version": 1, "query": "SELECT 1"})
    assert entry.function(named).name == "PLACE: a query (version 1)"
    config = entry.config.model_validate({**settings, "table": "r"})
    assert config.outside() == ("database version 1",) and path not in json.dumps(config.model_dump(mode="json"))
    for change, message in (
            ({"table": "s"}, "the database has no table 's'; known are: r"),
            ({"query": "SELECT z FROM r"}, "the database says: no such column: z"),
            ({"query": "DROP TABLE r"}, "the query is no SELECT"), ({"query": "SELECT * FROM r WHERE id = 0"}, "has no row"),
            ({"url": "sqlite:////${PLACES}"}, "the variable 'PLACES', which the environment does not have"),
            ({"url": "postgresql+nodriver://h/d"}, "SQLAlchemy knows no such kind of database"),
            ({"url": "mysql+pymysql://h/d"},
            r"the driver of 'mysql\+pymysql' is not installed \(pymysql\); install it: pip install pymysql"),
            ({"url": "sqlite:////nowhere/f.db"}, "the database says: unable to open database file")):
        with pytest.raises(UserError, match=message):
            read("sqlalchemy", **{**settings, **({} if "query" in change else {"table": "r"}), **change})


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/d", "mysql://h/d?password=secret", "postgresql://u:a${B}@h/d",
    "mssql://h/d?sslkey=x"])
def test_a_password_is_never_written_into_a_recipe(url):
    with pytest.raises(ValueError, match="the URL holds a password; name a variable"):
        make("data/sources", {"kind": "sqlalchemy", "url": url, "version": "1", "table": "t"})
    make("data/sources", {"kind": "sqlalchemy", "url": "postgresql://u:${B}@h/d?password=${C}", "version": "1", "table": "t"})


def test_a_password_is_never_shown(monkeypatch):
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("DB_PASSWORD", "p@ss word")
    with pytest.raises(UserError) as error:
        read("sqlalchemy", url="sqlite:///nowhere/${DB_PASSWORD}/x.db", version="1", table="t")
    assert "p@ss" not in str(error.value) and "p%40ss" not in str(error.value)


# ---- the hub's layout ------------------------------------------------------------------------------------------------

def hub(folder: Path, files: dict[str, bytes], card: str = "") -> str:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    if card:
        (folder / "README.md").write_text(f"---\n{card}---\n# About\n", encoding="utf-8")
    return str(folder)


def parquet(metadata: dict | None = None, **columns) -> bytes:
    sink, table = pa.BufferOutputStream(), pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(metadata)}) if metadata else table, sink)
    return sink.getvalue().to_pybytes()


CLASSES = """dataset_info:
  features:
  - {name: text, dtype: string}
  - name: label
    dtype: {class_label: {names: {'0': neg, '1': pos}}}
"""


def test_splits_by_the_names_of_files_and_classes_by_the_card(tmp_path):
    path = hub(tmp_path / "set", {
        "data/train-00000-of-00002.parquet": parquet(text=["a"], label=[1]),
        "data/train-00001-of-00002.parquet": parquet(text=["b"], label=[0]),
        "data/validation-00000-of-00001.parquet": parquet(text=["c"], label=[-1]),
        "data/test-00000-of-00001.parquet": parquet(text=["d"], label=[1])},
        CLASSES)
    rows, numbers, _ = read("hf", path=path)
    assert [tuple(row.values()) for row in rows] == [("a", "pos", "train"), ("b", "neg", "train"), ("c", None, "validation"),
        ("d", "pos", "test")]
    assert numbers == [1, 2, 3, 4]
    assert [row["text"] for row in read("hf", path=path, parts=("test", "train"), columns=("text",))[0]] == ["a", "b", "d"]
    entry = plugin("data/sources", "hf")
    assert [file.name[:5] for file in entry.config(path=path).outside()] == ["READM", "train", "train", "valid", "test-"]
    with pytest.raises(UserError, match="has no split 'tests'; did you mean 'test'"):
        read("hf", path=path, parts=("tests",))
    assert infer_source(tmp_path / "set").path == path


def test_files_by_the_card_and_classes_by_the_file(tmp_path):
    own = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    files = {"en/a.parquet": parquet(own, label=[1]), "en/b.parquet": parquet(own, label=[0]),
             "zh/c.parquet": parquet(label=[5])}
    path = hub(tmp_path, files, """configs:
- config_name: english
  data_files:
  - {split: train, path: en/a.*}
  - {split: test, path: [en/b.parquet]}
- {config_name: chinese, data_files: "zh/*.parquet"}
""")
    assert read("hf", path=path, config_name="english")[0] == [{"label": "yes", "split": "train"}, {"label": "no", "split": "test"}]
    assert read("hf", path=path, config_name="chinese")[0] == [{"label": 5, "split": "train"}]
    for name, message in ((None, "has the configurations english, chinese; name one"), ("french", "has no configuration 'french'")):
        with pytest.raises(UserError, match=message):
            read("hf", path=path, **({"config_name": name} if name else {}))


def test_packed_text_files_of_the_hub(tmp_path):
    path = hub(tmp_path, {"train.jsonl.gz": gzip.compress(b'{"text": "a", "label": 1}\nbad\n'),
                          "dev.jsonl.zst": pa.compress(b'{"text": "b", "label": 0}\n', "zstd", asbytes=True)}, CLASSES)
    rows, numbers, rejected = read("hf", path=path, columns=("label", "split"))
    assert rows == [{"label": "pos", "split": "train"}, {"label": "neg", "split": "validation"}] and numbers == [1, 3]
    assert [(row["row"], row["reason"]) for row in rejected] == [(2, "not valid JSON")]


@pytest.mark.parametrize(("files", "card", "message"), [
    ({"a.py": b"x"}, "", "only code .a.py., which is never run"), ({"a.md": b"x"}, "", "has no file of rows; expected Parquet"),
    ({"train.parquet": b"PAR1"}, "", "is damaged or no Parquet file"),
    ({"a.csv": b"label\n7\n"}, CLASSES, "holds the class 7, but the data set names 2"),
    ({"a.csv": b"t\nx\n"}, 'configs:\n- {data_files: "b.csv"}\n', "names 'b.csv' for the split 'train', and there is no such file"),
    ({"a.csv": b"t\nx\n", "b.csv": b"u\nx\n"}, "", "differ in the column"),
    ({"a.csv": b"t\nx\n"}, "configs: [\n", "this is not valid YAML"),
    ({"train.csv": b"t\nx\n", "test.jsonl": b'{"t": 1}\n'}, "", "but in the files before it string; make the files alike")])
def test_folders_that_are_no_data_set(tmp_path, files, card, message):
    with pytest.raises(UserError, match=message):
        read("hf", path=hub(tmp_path, files, card))


def test_a_name_of_the_hub_offline(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    root = tmp_path / "hub" / "datasets--org--set"
    hub(root / "snapshots" / commit, {"train.csv": b"text,label\na,1\n"}, CLASSES)
    (root / "refs").mkdir()
    (root / "refs/main").write_text(commit)
    code = ("import sys, json; from bessemer.core.registry import plugin; from bessemer.core.errors import UserError\n"
            "entry = plugin('data/sources', 'hf')\n"
            "for name in ('org/set', 'org/none'):\n"
            "    try:\n"
            "        config = entry.config(name=name)\n"
            "        chunks = list(entry.function(config).read())\n"
            "        print(json.dumps([config.outside(), chunks[0].table.to_pylist(), chunks[0].notes]))\n"
            "    except UserError as error: print(json.dumps(str(error)))\n")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found, none = map(json.loads, done.stdout.splitlines())
    assert found == [[f"org/set@{commit}"], [{"text": "a", "label": "pos", "split": "train"}], [f"org/set: commit {commit} of the hub"]]
    assert "the data set 'org/none' cannot be fetched from the hub" in none and "HF_HUB_OFFLINE is set" in none


def test_a_title_above_a_sheets_table(tmp_path):
    path = sheet(tmp_path, [["Export 2024"], [], ["text", "label"], *([f"t{i}", "ab"[i % 2]] for i in range(30))])
    rows = read("excel", path=path)[0]
    said = notes("excel", path=path)
    assert rows[0] == {"text": "t0", "label": "a"} and len(rows) == 30
    assert said == ["f.xlsx: row 1 ('Export 2024') is a title, row 3 names the columns (header_row: 3)"]
    assert read("excel", path=path, columns=("label",))[0][0] == {"label": "a"}
    found = inspect(Path(path), "label")
    assert [column.name for column in found.columns] == ["text", "label"] and found.notes == tuple(said)
    assert read("excel", path=path, header_row=3)[0][0] == {"text": "t0", "label": "a"}
    one = sheet(tmp_path, [["text"], ["t0"], ["t1"]], name="one.xlsx")
    with pytest.raises(UserError, match="has no column 'label'; its columns are: text$"):
        read("excel", path=one, columns=("label",))
    strays = sheet(tmp_path, [["text"], *([f"t{i}", "a"][:1 + (i < 9)] for i in range(30))], name="strays.xlsx")
    assert [row["text"] for row in read("excel", path=strays)[0]] == [f"t{i}" for i in range(9, 30)]  # cells beside the table are no title


# ---- several of them, and what a file says of itself -------------------------------------------------------------------

def test_joins_and_queries_over_the_new_sources(tmp_path):
    notes_ = sheet(tmp_path, [["id", "text"], [1, "one"], [2, "two"]])
    labels = database(tmp_path, "CREATE TABLE r (id, label)", "INSERT INTO r VALUES (1, 'a'), (2, 'b')")
    assert read("join", left=notes_, right=labels, on=["id"])[0] == [
        {"id": "1", "text": "one", "label": "a"}, {"id": "2", "text": "two", "label": "b"}]
    put(tmp_path, "c.txt", b"__label__z two\n")
    rows, _, _ = read("sql",
        query="SELECT n.text, r.label, f.label AS other FROM n JOIN r USING (id) LEFT JOIN f ON f.text = n.text ORDER BY id",
                      tables={"n": notes_, "r": labels, "f": {"kind": "fasttext", "path": str(tmp_path / "c.txt")}})
    assert rows == [{"text": "one", "label": "a", "other": None}, {"text": "two", "label": "b", "other": "z"}]


def test_numbers_of_databases_and_lists_of_json_lines_in_a_query(tmp_path):
    base = database(tmp_path, "CREATE TABLE r (id INTEGER, price REAL, code TEXT, odd INTEGER, big INTEGER)",
                    *(f"INSERT INTO r VALUES ({i}, {i}.5, '0{i}', {i if i < 50 else chr(39) + 'x' + chr(39)}, {2 ** 62 + i})"
                      for i in range(100)))
    put(tmp_path, "l.jsonl", "".join(json.dumps(
        {"id": i, "about": ["Küche", "b"][:i % 3], "v": [i, 0.5], "n": [i] if i else None, "deep": [[i]], "map": {"a": i},
         "mixed": [1] if i else "a"}) + "\n" for i in range(100)).encode())
    tables = {"r": base, "l": {"kind": "jsonl", "path": str(tmp_path / "l.jsonl")}}
    rows, *_ = read("sql", query="SELECT r.* FROM r WHERE r.id < 20 AND price > 9 ORDER BY id DESC", tables=tables)
    assert [row["id"] for row in rows] == list(range(19, 8, -1))
    assert rows[0] == {"id": 19, "price": 19.5, "code": "019", "odd": "19", "big": 2 ** 62 + 19}
    told = [f"l.jsonl: the column '{name}' holds {what}, which are JSON text here" for name, what in (
        ("deep", "lists of lists or mappings"), ("map", "mappings"), ("mixed", "lists beside other values"))]
    made = plugin("data/sources", "sql")
    (chunk,) = made.function(make("data/sources", {"kind": "sql", "query": "SELECT id FROM l", "tables": tables})).read()
    assert list(chunk.notes) == told
    rows, *_ = read("sql", query="SELECT l.* EXCLUDE (deep, map, mixed) FROM l JOIN r ON CAST(l.id AS INT) = r.id ORDER BY r.id LIMIT 3",
                    tables=tables)
    assert rows == [{"id": "0", "about": [], "v": [0.0, 0.5], "n": None}, {"id": "1", "about": ["Küche"], "v": [1.0, 0.5], "n": [1]},
                    {"id": "2", "about": ["Küche", "b"], "v": [2.0, 0.5], "n": [2]}]
    assert len(read("sql", query="SELECT id FROM l JOIN r USING (id)", tables=tables)[0]) == 100
    with pytest.raises(UserError, match=r"; write CAST\(… AS …\): what CSV and JSON lines hold is text here"):
        read("sql", query="SELECT id FROM l WHERE id < 5", tables=tables)
    put(tmp_path, "a.csv", b"id,t\n1,x\n3,y\n")
    rows, *_ = read("join", left=str(tmp_path / "a.csv"), right={"kind": "jsonl", "path": str(tmp_path / "l.jsonl"),
                                                                "columns": ("id", "about")}, on=["id"])
    assert rows == [{"id": "1", "t": "x", "about": ["Küche"]}, {"id": "3", "t": "y", "about": []}]


def test_a_zip_of_one_file_is_unpacked(tmp_path):
    def zipped(name: str, **members: str) -> str:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        return str(tmp_path / name)

    path = zipped("a.zip", **{"rows.csv": "t\n" + "x\n" * 100_000})
    assert len(read("csv", path=path)[0]) == 100_000 and infer_source(Path(path)).path == path
    assert read("jsonl", path=zipped("b.jsonl.zip", **{"b.jsonl": '{"t": 1}\n'}))[1] == [1]
    with pytest.raises(UserError, match=r"holds 2 files \(a, b\); expected a zip of one file"):
        read("csv", path=zipped("c.csv.zip", a="t\nx\n", b="t\nx\n"))
    whole = Path(path).read_bytes()
    with pytest.raises(UserError, match="cannot be unpacked"):
        read("csv", path=put(tmp_path, "d.csv.zip", whole[:-30]))
    stream = io.BytesIO(whole)
    locked = bytearray(stream.getvalue())
    locked[6] |= 1
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UserError, match=r"cannot be unpacked \(zip: it is encrypted\)"):
        read("csv", path=put(tmp_path, "e.csv.zip", bytes(locked)))


def test_what_files_and_folders_say_they_are(tmp_path):
    words = ["a fine film with a heart", "dull and far too long for me"]
    rows = [(f"{words[row % 2]} {row}", ("pos", "neg")[row % 2]) for row in range(60)]
    (tmp_path / "lines").mkdir()
    for text, label in rows:
        with (tmp_path / "lines" / f"{label}.txt").open("a") as stream:
            stream.write(text + "\n")
        file = tmp_path / "texts" / label / f"{text[-2:].strip()}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    labelled = "".join(f"__label__{label} {text}\n" for text, label in rows)
    found = {
        "excel": Path(sheet(tmp_path, [["text", "label"], *rows])), "class_files": tmp_path / "lines", "folder": tmp_path / "texts",
        "fasttext": Path(put(tmp_path, "f.txt", labelled.encode())), "sqlite": Path(database(tmp_path, "CREATE TABLE r (text, label)", *(
            f"INSERT INTO r VALUES ('{text}', '{label}')" for text, label in rows)))}
    for kind, path in found.items():
        seen = inspect(path)
        assert (seen.kind, seen.target, seen.inputs, seen.rows, seen.task) == (kind, "label", ("text",), 60, "classification")
        assert plugin_of("data/sources", seen.source).name == kind
    os.rename(tmp_path / "texts", tmp_path / "inner")
    (tmp_path / "outer").mkdir()
    os.rename(tmp_path / "inner", tmp_path / "outer" / "inner")
    assert inspect(tmp_path / "outer").source.level == -1
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is a folder; name a file, or a folder of data: Parquet"):
        infer_source(tmp_path / "empty")
