"""Every plug-in of `data/sources` keeps the contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.config import Config
from bessemer.testing.sources import SourceContract
from tests.contract.each import Examples, example, kinds

ROWS = 9
CATALOGUE = {"train": b"a\tb\nd\tstring\nclass\t\nearn\tone\nacq\ttwo\n\tno label\n" + b"earn\tmore\n" * 6}


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


# Each file holds ROWS rows, some of which cannot be read where the format has such.
EXAMPLES: Examples = {
    "csv": _file("rows.csv", lambda: b"text,label\n" + b'"a\nb",1\n' * 4 + b"x,1,2\n\xff,1\n" + b"c,\n" * 3),
    "lines": _file("rows.txt", lambda: b"1\ta\tb\n" * 4 + b"no tab\n\xff\t1\n" + b"2\tc\n" * 3),
    "jsonl": _file("rows.jsonl", _objects),
    "parquet": _file("rows.parquet", _parquet),
    "catalogue": lambda folder: {"name": "planted"}}


class TestEachSource(SourceContract):
    @pytest.fixture(autouse=True, params=kinds("data/sources"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("data/sources", self.kind, EXAMPLES, folder)

    def rows(self) -> int:
        return ROWS
