"""Every plug-in of `data/streams` keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bessemer.core.config import Config
from bessemer.testing.streams import StreamContract
from tests.contract.each import Examples, example, kinds


def _files(folder: Path) -> dict[str, Any]:
    table = pa.table({"n": list(range(50)), "word": [str(number) for number in range(50)]})
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out:
        out.write_table(table, max_chunksize=20)
    (folder / "b.csv").write_bytes(b"n,word\n" + b"1,a\n" * 5 + b"1\n\xff,b\n" + b"2,c\n")
    return {"path": [str(folder / "a.arrow"), str(folder / "b.csv")]}


EXAMPLES: Examples = {"files": _files, "regression": lambda folder: {"rows": 70, "features": 12, "block_rows": 30, "noise": 1.0}}


class TestEachStream(StreamContract):
    @pytest.fixture(autouse=True, params=kinds("data/streams"))
    def _each(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def config(self, folder: Path) -> Config:
        return example("data/streams", self.kind, EXAMPLES, folder)
