"""Memory does not grow with the rows: files are read a part at a time, and rows are cleaned in pieces that change nothing."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Source
from bessemer.data import clean
from bessemer.data.clean import Feed, Plan
from bessemer.data.memory import give_back
from bessemer.data.quarantine import Quarantine


def written(file: Path, groups: int) -> Path:
    draw = np.random.default_rng(0)
    with pq.ParquetWriter(file, pa.schema([("text", pa.string())]), compression="none", use_dictionary=False) as writer:
        for _ in range(groups):
            writer.write_table(pa.table({"text": [draw.bytes(500).hex() for _ in range(2000)]}))
    return file


def most_held(file: Path) -> int:
    config = make("data/sources", {"kind": "parquet", "path": str(file)})
    source: Source = plugin_of("data/sources", config).function(config)
    before = pa.total_allocated_bytes()
    tracemalloc.start()  # what Python's file gives Arrow is in Python's memory
    try:
        return max(pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0] for chunk in source.read() if len(chunk.table))
    finally:
        tracemalloc.stop()


def test_a_parquet_file_is_never_held_whole(tmp_path: Path) -> None:
    # 16,384 rows of 1,000 bytes at a time: past that, more of them take no more memory
    held = [most_held(written(tmp_path / f"{groups}.parquet", groups)) for groups in (10, 30)]
    assert held[1] < 1.2 * held[0]


def test_what_is_freed_is_given_back() -> None:
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    del (held := [pa.allocate_buffer(1 << 20) for _ in range(8)])[:]
    give_back()
    assert pool.bytes_allocated() == before and held == []


@pytest.mark.parametrize("size", [1, 300, 1 << 20])
def test_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    lines = [f"row {i},{'' if i % 7 == 0 else 'ab'[i % 2]}\n" for i in range(100)]
    (tmp_path / "a.csv").write_text("".join(["text,label\n", *lines, "x,y,z\n"]))
    config = make("data/sources", {"kind": "csv", "path": str(tmp_path / "a.csv")})
    monkeypatch.setattr(clean, "PIECE_BYTES", size)
    columns = {kind: plugin_of("modalities", made).function(made).clean for kind in ("text", "category")
               for made in [make("modalities", kind)]}
    steps: list[int] = []
    with Quarantine(tmp_path / "q.parquet", ()) as quarantine:
        counts = clean.clean([Feed(plugin_of("data/sources", config).function(config))], Plan({"text": columns["text"]},
                             {"label": columns["category"]}), tmp_path / "clean.parquet", quarantine, steps.append)
    assert sum(steps) == 100 and (len(steps) > 2) == (size < 1 << 20)  # the ragged row comes in a chunk of no rows
    assert (counts[0].rows_in, counts[0].kept) == (101, 85)
    table = pq.read_table(tmp_path / "clean.parquet")
    assert table["row"].to_pylist() == [i + 1 for i in range(100) if i % 7]
    assert table["row_id"].to_pylist() == [i for i in range(100) if i % 7]
    assert sorted(pq.read_table(tmp_path / "q.parquet")["row"].to_pylist()) == [*range(1, 101, 7), 101]
