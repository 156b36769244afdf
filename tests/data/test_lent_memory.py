"""Memory is lent again only when nobody holds it; the rows of an Arrow file are told from its headers alone."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from bessemer.data.memory import ALIGNED, LEAST, Memory
from bessemer.data.streams._batches import batch_rows


def test_memory_is_lent_again_when_its_last_view_is_gone() -> None:
    memory = Memory()
    first = memory.array((1024, 1024), np.float32)
    place = first.ctypes.data
    assert first.shape == (1024, 1024) and first.dtype == np.float32 and first.flags.writeable and first.flags.c_contiguous
    assert place % ALIGNED == 0
    held = torch.from_numpy(first[5:9])
    held.fill_(7)
    del first
    gc.collect()
    second = memory.array((1024, 1024), np.float32)
    second.fill(1)
    assert second.ctypes.data != place and bool((held == 7).all())
    del held
    gc.collect()
    assert memory.array((1000, 1024), np.int32).ctypes.data == place  # another shape and type of about the same size


def test_small_arrays_are_ordinary_ones_and_no_more_is_kept_than_was_said() -> None:
    memory = Memory(kept=2)
    assert memory.array((LEAST - 1,), np.uint8).base is None
    made = [memory.array((LEAST,), np.uint8) for _ in range(5)]
    assert len({item.ctypes.data for item in made}) == 5
    made.clear()
    gc.collect()
    assert [len(free) for free in memory._free.values()] == [2]


@pytest.mark.parametrize("legacy", [False, True])
def test_rows_of_batches_are_told_without_reading_them(tmp_path: Path, legacy: bool) -> None:
    sizes = [3, 0, 4096, 1, 70_000]
    words = pa.array(["a", "b"]).dictionary_encode()
    schema = pa.schema([("x", pa.float32()), ("s", pa.string()), ("d", words.type)], metadata={"k": "v"})
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink:
        with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(use_legacy_format=legacy)) as out:
            for size in sizes:
                indices = pa.array(np.zeros(size, np.int32))
                out.write_batch(pa.record_batch([pa.array(np.ones(size, np.float32)), pa.array(["w"] * size, pa.string()),
                                                 pa.DictionaryArray.from_arrays(indices, words.dictionary)], schema=schema))
    with pa.OSFile(str(tmp_path / "rows.arrow"), "rb") as source:
        assert batch_rows(source) == sizes
    with (tmp_path / "rows.arrow").open("rb") as source:
        assert batch_rows(source) == sizes


def test_a_file_without_batches_has_none_and_a_damaged_footer_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "none.arrow"
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("x", pa.int8())])):
        pass
    with file.open("rb") as source:
        assert batch_rows(source) == []
    content = bytearray(file.read_bytes())
    content[-10:-6] = b"\xff\xff\xff\x7f"
    file.write_bytes(content)
    with file.open("rb") as source, pytest.raises(pa.ArrowInvalid, match="footer"):
        batch_rows(source)
