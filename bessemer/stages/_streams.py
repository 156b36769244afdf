"""Streams as the learning stages read them: training rows that are read block by block and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.task_spec import TableSpec

if TYPE_CHECKING:
    import pyarrow as pa

STREAM = "stream.json"


def open_stream(data: Path, seed: int) -> TableSpec:
    """Open the training rows of a stream stage's artifact."""
    raise NotImplementedError


def stream_tables(data: Path, seed: int) -> Iterator[pa.Table]:
    """Yield the training rows of a stream as prepare would store them (see FitSpec.train), in the stream's order of epoch 0."""
    raise NotImplementedError
