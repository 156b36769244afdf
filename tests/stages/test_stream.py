"""The stage `stream`: its artifact serves every later stage; bad rows and altered files are told, never learnt from."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.schema import Schema
from bessemer.data.shards import ShardReader
from bessemer.stages._streams import open_stream, stream_tables
from bessemer.stages.stream import Stream, stream


class Run:
    def __init__(self, root: Path, seed: int = 3, rehearsal: int | None = None) -> None:
        self.seed, self.rehearsal, self.scratch, self.notes = seed, rehearsal, root / "scratch", []
        self.root = root
        self.scratch.mkdir(parents=True)

    @contextmanager
    def progress(self, *_: Any):
        yield self

    def advance(self, count: int) -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)

    def check(self) -> None:
        pass


def go(root: Path, settings: dict[str, Any], **run: Any) -> tuple[dict[str, Any], Path]:
    out = root / "out"
    out.mkdir(parents=True)
    base = {"targets": {"y": "number"}, "validation": 100, "test": 150, "fit_rows": 500}
    return stream(Stream.model_validate({**base, **settings}), {}, out, Run(root, **run)), out


def frame(rows: int, seed: int = 0) -> pa.Table:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 3))
    return pa.table({"x_1": x[:, 0], "x_2": x[:, 1].astype(np.float32), "colour": generator.choice(["red", "green", "blue"], rows),
                     "y": x @ [1.0, 2.0, 3.0], "n": np.arange(rows)})


COLUMNS = {"inputs": {"x_*": {"kind": "number", "scale": "standard"}, "colour": {"kind": "category"}}}


def test_computed_rows_are_learnt_and_held_out(tmp_path: Path) -> None:
    source = {"kind": "regression", "rows": 40_000, "features": 20, "informative": 5, "block_rows": 500}
    facts, out = go(tmp_path, {"source": source, "inputs": {"x": {"kind": "vector"}}, "shuffle": "none"})
    runs = 40_000 // 256
    assert (facts["rows"]["validation"], facts["rows"]["test"]) == (100, 150)
    assert 40_000 - 250 - 3 * runs <= facts["rows"]["train"] <= 39_750
    assert sorted(item.name for item in (out / "train").iterdir()) == ["stream.json"]
    spec = open_stream(out, 3)
    rows = spec.read(spec.order(0, 256)[3])
    assert rows.numbers.shape == (256, 20) and rows.numbers.dtype == np.float32 and rows.numbers.flags.writeable
    held = pa.concat_tables([*ShardReader(out / "validation").tables(), *ShardReader(out / "test").tables()])
    matrix = held[".numbers"].combine_chunks().flatten().to_numpy().reshape(-1, 20)
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(spec.read(np.arange(2000)).numbers, spec.read(np.arange(2000)).targets["y"])
    inverse = (held["y"].to_numpy() - held["y.scaled"].to_numpy()).std()
    assert model.score(matrix, held["y.scaled"].to_numpy()) > 0.999999 and inverse > 0
    training = {row.tobytes() for row in spec.read(np.arange(spec.count)).numbers}
    assert len(training) == spec.count and not training & {row.tobytes() for row in matrix}


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_files_of_every_kind_give_the_same_training_rows(tmp_path: Path, kind: str) -> None:
    table = frame(5000)
    file = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(table, file, row_group_size=700)
    elif kind == "arrow":
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as out_:
            out_.write_table(table, max_chunksize=700)
    else:
        csv.write_csv(table, file)
    facts, out = go(tmp_path, {"source": {"kind": "files", "path": str(file)}, **COLUMNS})
    assert [column.name for column in Schema.load(out).columns] == ["x_1", "x_2", "colour", "y"]
    spec = open_stream(out, 3)
    assert spec.count == facts["rows"]["train"] and facts["quarantined"] == 0
    rows = spec.read(np.concatenate(list(spec.order(0, 64))))
    ids = rows.row_ids
    assert len(np.unique(ids)) == spec.count
    schema = {column.name: column.facts for column in Schema.load(out).columns}
    expected = (table["x_1"].to_numpy()[ids] - schema["x_1"]["mean"]) / schema["x_1"]["std"]
    assert np.allclose(rows.numbers[:, 0], expected, atol=1e-5)
    assert np.allclose(rows.targets["y"], (table["y"].to_numpy()[ids] - schema["y"]["mean"]) / schema["y"]["std"], atol=1e-5)
    stored = pa.concat_tables(stream_tables(out, 3)).sort_by("row_id")
    assert np.array_equal(stored["row_id"].to_numpy(), np.sort(ids))
    assert np.array_equal(stored["x_1"].to_numpy(), table["x_1"].to_numpy()[np.sort(ids)])
    assert set(stored.column_names) >= {"row_id", "x_1", "x_2", "colour", "y", "y.scaled", ".numbers"}
    assert not set(np.sort(ids)) & set(pa.concat_tables([*ShardReader(out / "test").tables()])["x_1"].to_pylist())


def test_bad_rows_are_quarantined_with_their_line_or_left_out(tmp_path: Path) -> None:
    columns = [frame(3000)[name].to_pylist() for name in ("x_1", "x_2", "colour", "y")]
    lines = [f"{a:.6f},{b:.6f},{c},{y:.6f}" for a, b, c, y in zip(*columns, strict=True)]
    lines[10], lines[2000] = "1,2,red", "1,2,red,4,5"
    raw = "\n".join(["x_1,x_2,colour,y", *lines]).encode().replace(lines[1500].encode(), b"1,2,\xff,3")
    text = raw.replace(lines[2900].encode(), b"inf,1,red,2")
    (tmp_path / "rows.csv").write_bytes(text + b"\n")
    facts, out = go(tmp_path, {"source": {"kind": "files", "path": str(tmp_path / "rows.csv")}, **COLUMNS, "fit_rows": 10_000})
    found = {row["row"]: row["reason"] for row in pq.read_table(out / "quarantine.parquet").to_pylist()}
    assert found[11] == found[2001] == "wrong number of fields" and found[1501] == "not valid UTF-8"
    assert found.get(2901, "infinite") == "infinite"
    assert facts["stream_rows"] == 3000
    spec = open_stream(out, 3)
    ids = spec.read(np.arange(spec.count)).row_ids
    held = sum(facts["rows"][name] for name in ("validation", "test"))
    assert len(ids) < spec.count <= 3000 - held
    funnel = json.loads((out / "funnel.json").read_text())["sources"][0]
    assert funnel["rows_in"] == funnel["rows_out"] + sum(funnel["rejected"].values())


def test_a_column_that_becomes_text_is_cleaned_by_the_same_rule_in_training(tmp_path: Path) -> None:
    table = frame(4000)
    x = [f"{value:.9f}" for value in table["x_1"].to_pylist()]
    x[3990] = "strange"
    pq.write_table(table.set_column(0, "x_1", pa.array(x)), tmp_path / "rows.parquet", row_group_size=500)
    _, out = go(tmp_path, {"source": {"kind": "files", "path": str(tmp_path / "rows.parquet")}, **COLUMNS})
    spec = open_stream(out, 3)
    ids = spec.read(np.arange(spec.count)).row_ids
    assert 3990 not in ids and len(ids) in (spec.count - 1, spec.count)


def test_files_altered_or_gone_are_told(tmp_path: Path) -> None:
    names = [tmp_path / f"rows-{number}.parquet" for number in range(2)]
    for number, file in enumerate(names):
        pq.write_table(frame(2000, number), file, row_group_size=200)
    settings = {"source": {"kind": "files", "path": str(tmp_path / "rows-*.parquet")}, **COLUMNS}
    _, out = go(tmp_path, settings)
    spec = open_stream(out, 3)
    spec.read(np.arange(10))
    pq.write_table(frame(2000, 7), names[1], row_group_size=200)
    with pytest.raises(UserError, match="rows-1.parquet' was altered while it was read; let files rest"):
        spec.read(np.arange(spec.count))
    with pytest.raises(UserError, match="rows-1.parquet' was altered since its rows were prepared; run the recipe again"):
        open_stream(out, 3)
    _, out = go(tmp_path / "again", settings)
    spec = open_stream(out, 3)
    names[1].unlink()
    with pytest.raises(UserError, match="rows-1.parquet' was there and is gone"):
        spec.read(np.arange(spec.count))


def test_files_copied_back_are_the_same_files(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(frame(2000), file, row_group_size=200)
    settings = {"source": {"kind": "files", "path": str(file)}, **COLUMNS}
    _, out = go(tmp_path, settings)
    rows = np.arange(100)
    before = open_stream(out, 3).read(rows).numbers
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    os.utime(file, ns=(5, 5))
    assert np.array_equal(open_stream(out, 3).read(rows).numbers, before)
    _, again = go(tmp_path / "again", settings)
    assert (again / "train" / "stream.json").read_bytes() == (out / "train" / "stream.json").read_bytes()
    file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])  # of the same size
    with pytest.raises(UserError, match="was altered since its rows were prepared"):
        open_stream(out, 3)


def test_files_that_differ_are_told_by_name_and_column(tmp_path: Path) -> None:
    pq.write_table(frame(500), tmp_path / "a.parquet")
    other = frame(500).set_column(0, "x_1", pa.array(["no"] * 500))
    pq.write_table(other, tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet': the column 'x_1' holds string, but in '.*a.parquet' it holds double; make"):
        go(tmp_path / "1", {"source": {"kind": "files", "path": str(tmp_path / "*.parquet")}, **COLUMNS})
    pq.write_table(frame(500).set_column(0, "x_1", pa.array(range(500), pa.int32())), tmp_path / "b.parquet")
    facts, _ = go(tmp_path / "2", {"source": {"kind": "files", "path": str(tmp_path / "*.parquet")}, **COLUMNS})
    assert facts["stream_rows"] == 1000
    with pytest.raises(UserError, match="has no column 'x_9'"):
        go(tmp_path / "3", {"source": {"kind": "files", "path": str(tmp_path / "*.parquet")}, "inputs": {"x_9": "number"}})


def test_large_row_groups_are_copied_once_in_smaller_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bessemer.data.streams.files.LARGEST", 10_000)
    monkeypatch.setattr("bessemer.data.streams._copy.ROWS", 300)
    pq.write_table(frame(3000), tmp_path / "rows.parquet")
    facts, out = go(tmp_path, {"source": {"kind": "files", "path": str(tmp_path / "rows.parquet")}, **COLUMNS})
    assert facts["blocks"] == 10 and facts["stream_rows"] == 3000
    spec = open_stream(out, 3)
    assert len(np.unique(spec.read(np.arange(spec.count)).row_ids)) == spec.count


def test_rows_elsewhere_are_read_by_fsspec(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for number in range(2):
        with memory.open(f"/rows/part-{number}.parquet", "wb") as sink:
            pq.write_table(frame(1000, number), sink, row_group_size=300)
    facts, out = go(tmp_path, {"source": {"kind": "files", "path": "memory://rows/part-*.parquet"}, **COLUMNS})
    spec = open_stream(out, 3)
    assert facts["stream_rows"] == 2000 and len(spec.read(np.arange(spec.count)).row_ids) == spec.count
    with pytest.raises(UserError, match="there is no file 'memory:///rows/none.parquet'; correct the path in the recipe"):
        go(tmp_path / "2", {"source": {"kind": "files", "path": "memory://rows/none.parquet"}, **COLUMNS})
    with pytest.raises(UserError, match="nothing is known of 'memry://'; did you mean 'memory'"):
        go(tmp_path / "3", {"source": {"kind": "files", "path": "memry://rows/none.parquet"}, **COLUMNS})


def test_a_rehearsal_reads_little(tmp_path: Path) -> None:
    source = {"kind": "regression", "rows": 10**9, "features": 10, "informative": 2}
    facts, out = go(tmp_path, {"source": source, "inputs": {"x": {"kind": "vector"}}, "shuffle": "none", "validation": 100_000,
                               "fit_rows": 100_000}, rehearsal=1 << 20)
    assert facts["rows"]["validation"] == 512 and facts["fit_rows"] == 2048
    assert facts["rows"]["train"] > 999_000_000
    assert len(open_stream(out, 3).order(0, 4096)) == facts["rows"]["train"] // 4096 + (facts["rows"]["train"] % 4096 >= 2048)
