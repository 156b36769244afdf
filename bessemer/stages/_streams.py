"""Streams as the learning stages read them: training rows that are read block by block and stored nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.artifact import Stamps
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Role, Schema
from bessemer.core.task_spec import TableRows, TableSpec
from bessemer.core.types import Chunk, Codec, RowStream
from bessemer.data.clean import Plan, clean_rows
from bessemer.data.crosses import crosses_of
from bessemer.data.stream_reader import Decoded, Division, Reading, StreamReader
from bessemer.data.streams import Place

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import Vectors

STREAM = "stream.json"
ROWS = "rows"


@dataclass(frozen=True)
class Source:
    """How the training rows of an artifact are read: the content of `stream.json`.

    Attributes:
        source: plain config of the kind of stream.
        columns: that are read.
        numbers: columns that a copy stores as numbers.
        limit: bytes of a copy at most (a rehearsal), or None.
        stamps: of the files, when the stage read them: the SHA-256 of files here, so that a copy of the same bytes is as good.
        run_rows: rows of a run.
        held: split -> runs that are held out.
        shuffle: `"window"` or `"none"`.
        window: blocks.
    """

    source: dict[str, Any]
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    limit: int | None
    stamps: tuple[str, ...]
    run_rows: int
    held: dict[str, list[int]]
    shuffle: str
    window: int

    def save(self, data: Path) -> None:
        """Write `train/stream.json`."""
        (data / "train").mkdir()
        (data / "train" / STREAM).write_text(json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @staticmethod
    def load(data: Path) -> Source:
        """Read `train/stream.json`."""
        plain = json.loads((data / "train" / STREAM).read_text(encoding="utf-8"))
        return Source(**{**plain, **{name: tuple(plain[name]) for name in ("columns", "numbers", "stamps")}})

    def open(self, data: Path) -> RowStream:
        """Open the stream; files that are gone or were altered since the stage ran are a UserError that names one."""
        stream = open_source(make("data/streams", self.source), Place(data / ROWS, frozenset(self.numbers), self.columns, self.limit))
        for file, before, now in zip(stream.files, self.stamps, stamps(stream, data.parent), strict=False):
            if before != now:
                raise UserError(f"'{file}' was altered since its rows were prepared; run the recipe again, or put the file back")
        if len(stream.files) != len(self.stamps):
            raise UserError(f"'{stream.name}': {len(self.stamps)} files were prepared, {len(stream.files)} are there now; run the recipe "
                            "again")
        return stream

    def reading(self, seed: int) -> Reading:
        """Return how its rows are read in a run."""
        return Reading(seed, self.shuffle, self.window, self.columns)


def open_source(config: Any, place: Place) -> RowStream:
    """Return the stream of a config."""
    found: RowStream = plugin_of("data/streams", config).function(config, place)
    return found


def stamps(stream: RowStream, root: Path) -> tuple[str, ...]:
    """Return for each file of a stream what changes when its content does.

    Args:
        stream: whose files are looked at.
        root: of the run, which knows the SHA-256 of files that have not been touched since it read them.
    """
    found = []
    for file in stream.files:
        if isinstance(file, str):
            found.append(file)
            continue
        try:
            info = file.stat()
        except OSError:
            raise UserError(f"'{file}' was there and is gone; put it back and run again") from None
        found.append(_sha256(file.absolute(), root, info.st_size, info.st_mtime_ns))
    return tuple(found)


@lru_cache(maxsize=4096)
def _sha256(file: Path, root: Path, size: int, time: int) -> str:
    """Return the SHA-256 of a file of this size and time; read only where neither the run nor this session knows it."""
    return Stamps(root / ".stamps.json").sha256(file)


def plan_of(schema: Schema) -> Plan:
    """Return how the rows of a schema's columns are cleaned."""
    from bessemer.modalities import modality_of
    from bessemer.stages._columns import rules_of

    inputs, targets = ({column.name: modality_of(column) for column in schema.by_role(role) if not column.of}
                       for role in (Role.INPUT, Role.TARGET))
    weights = schema.by_role(Role.WEIGHT)
    return Plan({name: item.clean for name, item in inputs.items()}, {name: item.clean for name, item in targets.items()},
                weights[0].name if weights else None, crosses=crosses_of(schema), **rules_of(inputs, targets))


def open_stream(data: Path, seed: int) -> TableSpec:
    """Open the training rows of a stream stage's artifact."""
    from bessemer.modalities.vectors import open_vectors
    from bessemer.stages._tables import target_info

    schema, vectors = Schema.load(data), open_vectors(Schema.load(data), data)
    reader = _reader(data, seed, schema, vectors)

    def truth(name: str) -> np.ndarray:
        raise GuardError(f"the training rows of a stream are never held together, so the column '{name}' cannot be read whole; this is a "
                         "fault of Bessemer, please report it")

    return TableSpec(schema, reader.read, reader.count, vectors.info, target_info(schema, data), truth, seed, order=reader.order,
                     left_out=lambda: reader.left_out)


def stream_tables(data: Path, seed: int) -> Iterator[pa.Table]:
    """Yield the training rows of a stream as prepare would store them (see FitSpec.train), in the stream's order of epoch 0."""
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import open_vectors
    from bessemer.stages._columns import stored

    schema = Schema.load(data)
    plan, vectors, codecs = plan_of(schema), open_vectors(schema, data), _codecs(schema, data)
    reader = _reader(data, seed, schema, vectors)
    for block, rows in reader.blocks(0):
        chunk = reader.stream.read(block, reader.reading.columns)
        table, kept = clean_rows(chunk, plan)
        good = np.zeros(len(chunk.table), bool)
        good[rows[rows < len(good)]] = True
        kept = np.ones(len(good), bool) if kept is None else kept
        table = table.filter(pa.array(good[kept]))
        ids = pa.array(np.flatnonzero(good & kept) + reader.stream.starts[block])
        if len(table):
            yield stored(table.append_column("row_id", ids), schema, codecs, vectors)


def _codecs(schema: Schema, data: Path) -> dict[str, Codec]:
    from bessemer.modalities import codec_of

    return {column.name: codec_of(column, data) for column in schema.columns if column.role != Role.WEIGHT}


def _reader(data: Path, seed: int, schema: Schema, vectors: Vectors) -> StreamReader:
    import numpy as np

    source = Source.load(data)
    stream = source.open(data)
    division = Division(stream.starts, source.run_rows, {name: np.array(runs, np.int64) for name, runs in source.held.items()})
    plan, codecs = plan_of(schema), _codecs(schema, data)
    return StreamReader(stream, division, source.reading(seed), lambda chunk: decode(chunk, plan, codecs, vectors))


def decode(chunk: Chunk, plan: Plan, codecs: Mapping[str, Codec], vectors: Vectors) -> Decoded:
    """Return a block's rows ready for a network; those that cleaning rejects, or whose label is unknown, are left out."""
    import numpy as np
    import pyarrow as pa

    bad = len(chunk.rejected) if chunk.rejected is not None else 0
    table, kept = clean_rows(chunk, plan)
    targets, known = _targets(table, tuple(plan.targets), codecs)
    if not known.all():
        table, targets = table.filter(pa.array(known)), {name: values[known] for name, values in targets.items()}
        places = np.arange(len(chunk.table)) if kept is None else np.flatnonzero(kept)
        kept = np.zeros(len(chunk.table), bool)
        kept[places[known]] = True
    numbers, codes = vectors.encode(table)
    weights = table["weight"].to_numpy() if plan.weight else np.ones(len(table), np.float32)
    rows = TableRows(_writable(numbers), codes.astype(np.int64), targets, weights, np.zeros(len(table), np.int64))
    if kept is None and not bad:
        return Decoded(rows)
    good = np.concatenate([np.ones(len(chunk.table), bool) if kept is None else kept, np.zeros(bad, bool)])
    return Decoded(rows, np.where(good, np.cumsum(good) - 1, -1))


def _targets(table: pa.Table, names: Sequence[str], codecs: Mapping[str, Codec]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return what is learnt of each target, and the rows whose labels are all known, bool [N]."""
    import numpy as np

    from bessemer.data.shards import flat

    found, known = {}, np.ones(len(table), bool)
    for name in names:
        values = table[name].combine_chunks()
        encoded = codecs[name].encode(values)
        part = next(part for part in ("scaled", "codes", "flags") if part in encoded)
        found[name] = flat(encoded[part])
        if part == "codes":
            known &= (found[name] >= 0) | values.is_null().to_numpy(zero_copy_only=False)
    return found, known


class _Owner:
    """Keeps an array alive under a view of it that says it may be written; see `_writable`."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}


def _writable(array: np.ndarray) -> np.ndarray:
    """Return a view over memory that Arrow marks as read-only: torch takes no other without a copy. Nothing writes to it."""
    import numpy as np

    return array if array.flags.writeable or not array.size else np.asarray(_Owner(array))
