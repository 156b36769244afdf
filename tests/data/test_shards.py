from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from bessemer.core.errors import UserError
from bessemer.data import shards
from bessemer.data.shards import ShardReader, ShardWriter


def test_rows_come_back_by_position_over_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS", 100)
    table = pa.table({"row_id": range(1000), "t": [f"text {i}" for i in range(1000)],
                      "t.ids": pa.array([list(range(i % 5)) for i in range(1000)], pa.list_(pa.int32()))})
    for name, step in (("a", 37), ("b", 400)):
        writer = ShardWriter(tmp_path / name)
        for start in range(0, 1000, step):
            writer.add(table.slice(start, step))
        writer.close()
        assert writer.total == 1000
    assert len(list((tmp_path / "a").iterdir())) == 10
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    reader = ShardReader(tmp_path / "a")
    positions = np.random.default_rng(0).integers(0, 1000, 64)
    assert len(reader) == 1000
    assert reader.take(positions).to_pylist() == table.take(positions).to_pylist()
    assert reader.take(np.array([], np.int64)).num_rows == 0
    assert reader.stored("row_id").tolist() == list(range(1000))
    assert reader.lengths("t.ids").tolist() == [i % 5 for i in range(1000)]
    assert pa.concat_tables(reader.tables(rows=64)).to_pylist() == table.to_pylist()
    with pytest.raises(IndexError, match="positions must be 0 to 999"):
        reader.take(np.array([1000]))


def test_damaged_or_absent_shards(tmp_path):
    with pytest.raises(UserError, match="holds no prepared rows"):
        ShardReader(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="the test split of .* has no rows, and this reads some; give prepare's split a 'test' part"):
        ShardReader(tmp_path / "test")
    (tmp_path / "00000.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="00000.arrow' is damaged"):
        len(ShardReader(tmp_path))
