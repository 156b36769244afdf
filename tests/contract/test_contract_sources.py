"""Every plug-in of `data/sources` keeps the contract."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.config import Config
from bessemer.core.registry import plugin
from bessemer.core.types import DataSet
from bessemer.testing.sources import SourceContract
from tests.contract.each import Examples, example, kinds

ROWS = 9


def data_set(name: str) -> DataSet:
    entry = plugin("datasets", name)
    found: DataSet = entry.function(entry.config())
    return found


def _file(name: str, content: Callable[[], bytes]) -> Callable[[Path], dict[str, Any]]:
    def settings(folder: Path) -> dict[str, Any]:
        (folder / name).write_bytes(content())
        return {"path": str(folder / name)}

    return settings


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": [f"row {row}" for row in range(ROWS)], "label": [None, *range(ROWS - 1)]}), sink)
    return sink.getvalue().to_pybytes()


def _objects() -> bytes:
    rows = [json.dumps({"text": f"row {row}", "label": row}).encode() for row in range(ROWS - 2)]
    return b"\n".join([*rows[:3], b"no object", b'{"text": "\xff"}', *rows[3:]])


def _arrow() -> bytes:
    sink = pa.BufferOutputStream()
    found = pa.table({"text": pa.array([f"row {row}".encode() for row in range(ROWS)]), "label": [None, *range(ROWS - 1)]})
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found, 4)
    return sink.getvalue().to_pybytes()


def _two(folder: Path) -> dict[str, Any]:
    (folder / "left.csv").write_bytes(b"key,text\n" + b"a,x\n" * 4 + b"b,x,y\n\xff,x\n" + b"c,z\n" * 3)
    (folder / "right.jsonl").write_bytes(b'{"key": "a", "label": 1}\n{"key": "b", "label": 2}\n')
    return {"left": str(folder / "left.csv"), "right": {"kind": "jsonl", "path": str(folder / "right.jsonl")}}


def _joined(folder: Path) -> dict[str, Any]:
    return {**_two(folder), "on": ["key"], "how": "inner"}


def _query(folder: Path) -> dict[str, Any]:
    two = _two(folder)
    return {"query": "SELECT * FROM notes LEFT JOIN labels USING (key) UNION ALL SELECT key, label, label FROM labels",
            "tables": {"notes": two["left"], "labels": two["right"]}}


def _sheet(folder: Path) -> dict[str, Any]:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["text", "label", None])
    for row in range(ROWS):
        sheet.append([f"row {row}", row / 2, "stray" if row == 4 else None])
    book.save(folder / "rows.xlsx")
    return {"path": str(folder / "rows.xlsx")}


def _classes(folder: Path) -> dict[str, Any]:
    (folder / "pos.txt").write_bytes(b"a\nb\n\xff\nc\n")
    (folder / "neg.txt").write_bytes(b"d\n\ne\r\n\xff\nf\ng")
    return {"path": [str(folder / "pos.txt"), str(folder / "neg.txt")], "columns": ["text", "label", "file", "line"]}


def _texts(folder: Path) -> dict[str, Any]:
    for row in range(ROWS):
        file = folder / "texts" / "ab"[row % 2] / f"{row}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\xff\xfe\xff" if row == 3 else f"row {row}".encode())
    return {"path": str(folder / "texts")}


def _database(folder: Path) -> Path:
    with closing(sqlite3.connect(folder / "rows.sqlite")) as database, database:
        database.execute("CREATE TABLE notes (text TEXT, label INTEGER)")
        database.executemany("INSERT INTO notes VALUES (CAST(? AS TEXT), ?)", [(b"\xff" if row == 2 else f"row {row}".encode(), row)
                                                                              for row in range(ROWS)])
    return folder / "rows.sqlite"


def _hub(folder: Path) -> dict[str, Any]:
    (folder / "hub" / "data").mkdir(parents=True)
    (folder / "hub/data/train.jsonl").write_bytes(b'{"text": "a", "label": 0}\n' * 3 + b'no\n')
    (folder / "hub/data/test.jsonl").write_bytes(b'{"text": "e", "label": 1}\nno\n{"text": "f", "label": 0}\n' + b'{"text": "g"}\n' * 2)
    return {"path": str(folder / "hub"), "columns": ["text", "split"]}


def _planted(folder: Path) -> dict[str, Any]:
    (member,) = data_set("tweets").resource.members
    (folder / member).parent.mkdir(parents=True, exist_ok=True)
    (folder / member).write_bytes(b"sentiment,confidence,text\n" + b"negative,0.5,no\npositive,,yes\nneutral,1,so\n" * 3)
    return {"name": "tweets"}


# Each file holds ROWS rows, some of which cannot be read where the format has such.
EXAMPLES: Examples = {
    "csv": _file("rows.csv", lambda: b"text,label\n" + b'"a\nb",1\n' * 4 + b"x,1,2\n\xff,1\n" + b"c,\n" * 3),
    "lines": _file("rows.txt", lambda: b"1\ta\tb\n" * 4 + b"no tab\n\xff\t1\n" + b"2\tc\n" * 3),
    "jsonl": _file("rows.jsonl", _objects),
    "parquet": _file("rows.parquet", _parquet),
    "arrow": _file("rows.arrow", _arrow),
    "excel": _sheet,
    "fasttext": _file("rows.txt", lambda: b"__label__a __label__b x y\n" * 4 + b"x __label__a\n\xff\n" + b"__label__b z\n" * 3),
    "class_files": _classes,
    "folder": _texts,
    "sqlite": lambda folder: {"path": str(_database(folder))},
    "sqlalchemy": lambda folder: {"url": f"sqlite:///{_database(folder)}", "version": 1, "query": "SELECT rowid, label FROM notes"},
    "hf": _hub,
    "join": _joined,
    "sql": _query,
    "catalogue": _planted}


class TestEachSource(SourceContract):
    @pytest.fixture(autouse=True, params=kinds("data/sources"))
    def _each(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.kind = request.param
        monkeypatch.setattr("bessemer.data.sources.catalogue.fetch", lambda resource: tmp_path)

    def config(self, folder: Path) -> Config:
        return example("data/sources", self.kind, EXAMPLES, folder)

    def rows(self) -> int:
        return ROWS
