"""The parts of the stage teach: teachers asked in blocks that survive a kill, equal rows left out, training rows written.

Legend: N rows, C classes, L labels of flags, P positions of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bessemer.core.errors import UserError
from bessemer.core.run import Cost, RunContext
from bessemer.core.schema import Role, Schema
from bessemer.data.shards import ShardReader, ShardWriter
from bessemer.stages._trained import MADE

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.config import Config
    from bessemer.core.types import Answer, Predictor

BLOCK = 2048
REHEARSED = 256
COPY_IDS = 1 << 42  # a copy is no row of the data, also where randomness is keyed by the row
SOURCE_IDS = 1 << 41
GIVEN, COPIED, FOREIGN = 0, 1, 2
LEAST = 1e-7
SPLITS = ("train", "validation", "test")


class Maker(Protocol):
    """What makes new rows of one kind of data; every draw is keyed by (seed, copy, row id)."""

    def begin(self, answers: dict[str, np.ndarray]) -> None:
        """Get ready, knowing what the teachers answer over the training rows."""

    def copies(self, rows: pa.Table, copy: int) -> pa.Table:
        """Return stored input columns and `row_id` (of the row that each is made from) of new rows; some rows may give none."""
        ...

    def foreign(self, rows: pa.Table) -> pa.Table:
        """Return stored input columns of clean raw rows."""
        ...

    def key_columns(self) -> tuple[str, ...]:
        """Return the stored columns that make rows equal."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return facts of the stage."""
        ...


class Teachers:
    """Models of the same data whose answers are averaged; what they say is stored as a student learns it."""

    def __init__(self, schema: Schema, data: Path, folders: Sequence[Path], names: Sequence[str], bf16: bool) -> None:
        from bessemer.core.forms import open_form
        from bessemer.modalities import codec_of, modality_of

        self.targets, self.bf16 = schema.by_role(Role.TARGET), bf16
        if not self.targets:
            raise UserError("the data have no target, so there is nothing that a teacher could answer; name one under targets in prepare")
        self.inputs = [column.name for column in schema.by_role(Role.INPUT) if not column.of]
        self.kinds = {column.name: modality_of(column).answer for column in self.targets}
        if "tags" in self.kinds.values():
            raise UserError("the target has a tag for each unit of a text, and teachers give one answer a row; leave the teachers out")
        self.codecs = {column.name: codec_of(column, data) for column in self.targets}
        self.predictors: list[Predictor] = [open_form(folder) for folder in folders]
        for name, predictor in zip(names, self.predictors, strict=True):
            for column in self.targets:
                own = next((item for item in predictor.schema.by_role(Role.TARGET) if item.name == column.name), None)
                if own is None or own.labels != column.labels:
                    raise UserError(f"models: '{name}' was not trained on the target '{column.name}' with the same labels as the data; "
                                    "teachers and students learn from one prepare stage")

    def answers(self, rows: pa.Table) -> dict[str, np.ndarray]:
        """Return target -> log-probabilities float32 [N, C], the scaled estimate float32 [N], or a logit a label float32 [N, L]."""
        with _rounding() if self.bf16 else nullcontext():
            found = [predictor.predict(rows.select(self.inputs)) for predictor in self.predictors]
        return {column.name: self._averaged(column.name, [answer[column.name] for answer in found]) for column in self.targets}

    def _averaged(self, target: str, each: list[Answer]) -> np.ndarray:
        import numpy as np
        import pyarrow as pa

        mean = np.mean([answer.values.astype(np.float64) for answer in each], axis=0)
        if self.kinds[target] == "number":
            scaled: np.ndarray = self.codecs[target].encode(pa.array(mean[:, 0]))["scaled"].to_numpy(zero_copy_only=False)
            return scaled.astype(np.float32)
        if self.kinds[target] == "flags":
            sure = np.clip(mean, LEAST, 1 - LEAST)
            return (np.log(sure) - np.log1p(-sure)).astype(np.float32)
        log = np.log(np.maximum(mean, LEAST))
        return (log - np.log(np.exp(log).sum(1, keepdims=True))).astype(np.float32)


def _rounding() -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16)


class Parts:
    """Pieces of work kept in the stage's state, so that a kill costs one piece at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """Return a piece: as it was kept, or made now and kept."""
        import pyarrow as pa

        file = self.folder / f"{name}.arrow"
        if not file.is_file():
            made, part = make(), file.with_suffix(".part")
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, made.schema) as out:
                out.write_table(made)
            part.replace(file)
        with pa.OSFile(str(file), "rb") as source:
            return pa.ipc.open_file(source).read_all()


class Seen:
    """Which rows there have been, by a 64-bit hash of their stored inputs."""

    def __init__(self) -> None:
        import numpy as np

        self.known = np.zeros(0, np.uint64)

    def new(self, hashes: np.ndarray) -> np.ndarray:
        """Return which rows are the first of their kind, bool [N], and remember them."""
        import numpy as np

        first = np.zeros(len(hashes), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        place = np.minimum(np.searchsorted(self.known, hashes), max(0, len(self.known) - 1))
        if len(self.known):
            first &= self.known[place] != hashes
        self.known = np.sort(np.concatenate([self.known, hashes[first]]))
        return first


def hashes(rows: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """Return a hash of each row, uint64 [N]: of lists of tokens, and of fixed-size lists of numbers."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.core.keyed import _mix

    total = np.zeros(len(rows), np.uint64)
    for number, name in enumerate(columns):
        lists = rows[name].combine_chunks()
        if isinstance(lists, pa.ChunkedArray):
            lists = lists.combine_chunks()
        size = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        flat = lists.flatten().to_numpy(zero_copy_only=False)
        start = np.cumsum(size) - size
        place = (np.arange(len(flat)) - np.repeat(start, size)).astype(np.uint64)
        salt = np.uint64(number + 1)
        each = _mix(_mix((place << np.uint64(8)) + salt) ^ flat.astype(np.int32 if flat.dtype.kind == "i" else np.float32).view(np.uint32))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)])
        total = _mix(total + sums[start + size] - sums[start] + size.astype(np.uint64))
    return total


class Session:
    """One run of the stage: pieces in order, each asked of the teachers; then the training rows."""

    def __init__(self, schema: Schema, data: Path, out: Path, run: RunContext, teachers: Teachers, maker: Maker) -> None:
        import numpy as np

        self.schema, self.data, self.out, self.run = schema, data, out, run
        self.teachers, self.maker = teachers, maker
        self.reader = ShardReader(data / "train")
        self.parts = Parts(run.state / "parts")
        self.seen = Seen()
        self.counts = {"given": 0, "copies": 0, "unlabelled": 0, "equal_left_out": 0}
        self.pieces: list[str] = []
        self.whole = len(self.reader)  # rows that the real run asks about
        self.answers: dict[str, np.ndarray] = {}
        self.positions = np.arange(len(self.reader))
        # Of rows that were taught before, what is said now counts, and each stays a row of the data, a made one or a further one.
        past = {MADE, *(f"{name}.teacher" for name in teachers.kinds)}
        self.columns = tuple(name for name in self.reader.columns if name not in past)
        self.highest = int(self.reader.stored("row_id").max(initial=0))
        self.step = self.free = COPY_IDS * (1 + self.highest // COPY_IDS)
        if run.rehearsal and len(self.positions) > REHEARSED:
            spread = np.linspace(0, len(self.positions) - 1, REHEARSED).astype(np.int64)
            firsts = [np.unique(self.reader.stored(name), return_index=True)[1] for name, kind in teachers.kinds.items() if kind == "label"]
            self.positions = np.unique(np.concatenate([spread, *firsts]))

    def _blocks(self, most: int | None = None) -> Iterator[np.ndarray]:
        rows = self.positions if most is None else self.positions[:most]
        for start in range(0, len(rows), BLOCK):
            self.run.check()
            yield rows[start:start + BLOCK]

    def given(self) -> None:
        """Ask about the training rows, and remember every row that there is."""
        import time

        import numpy as np

        keys = self.maker.key_columns()
        for split in SPLITS:
            if (self.data / split).is_dir():
                for table in ShardReader(self.data / split).tables(keys, 65_536):
                    self.seen.new(hashes(table, keys))
        found, started = [], time.perf_counter()
        with self.run.progress("asking about the data", len(self.positions), "rows") as progress:
            for index, rows in enumerate(self._blocks()):
                table = self.parts.table(f"given-{index:06d}", lambda rows=rows: self._asked(self.reader.take(rows)))  # type: ignore[misc]
                found.append(_plain(table))
                progress.advance(len(rows))
        self.run.cost(Cost("asking teachers", time.perf_counter() - started, len(self.positions), len(self.reader)))
        self.answers = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        self.counts["given"] = len(self.positions)
        self.maker.begin(self.answers)

    def _asked(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        return pa.table({f"{name}.teacher": _column(values) for name, values in self.teachers.answers(rows).items()})

    def copies(self, copy: int, number: int) -> None:
        """Make one new row from each training row, and ask about it."""
        import time

        most, started = (REHEARSED // 4 if self.run.rehearsal else None), time.perf_counter()
        base, self.free = self.free, self.free + self.step
        if self.free + self.step >= 1 << 63:
            raise UserError("data: too many rows were made of rows that were made before; no numbers are left to tell them apart: give "
                            "the data of prepare, or fewer copies")
        total = len(self.positions[:most])
        self.whole += len(self.reader)
        if self.run.rehearsal and copy:
            return
        with self.run.progress(f"new rows {copy + 1} of {number}", total, "rows") as progress:
            for index, rows in enumerate(self._blocks(most)):
                block = self.reader.take(rows, self.columns)
                self._piece(f"copy-{copy:04d}-{index:06d}", lambda block=block: self.maker.copies(block, copy), block, "copies",  # type: ignore[misc]
                            base)
                progress.advance(len(rows))
        self.run.cost(Cost("new rows", time.perf_counter() - started, total, len(self.reader) * number))

    def _piece(self, name: str, make: Callable[[], pa.Table], block: pa.Table | None, count: str, base: int) -> None:
        """Make rows, leave out equal ones, ask about the rest; what was kept by an earlier, killed run is taken as it is."""
        import pyarrow as pa

        keys, left = self.maker.key_columns(), [0]

        def made() -> pa.Table:
            rows = make()
            fresh = Seen()
            fresh.known = self.seen.known
            new = fresh.new(hashes(rows, keys))
            left[0] = int((~new).sum())
            rows = rows.filter(pa.array(new))
            whole = completed(rows, self.reader.take(self.positions[:0], self.columns), block, base)
            asked = self._asked(whole) if len(whole) else _nothing(self._asked(self.reader.take(self.positions[:1])))
            for column in asked.column_names:
                whole = whole.append_column(column, asked[column])
            code = pa.array([COPIED if count == "copies" else FOREIGN] * len(whole), pa.int8())
            return whole.append_column(MADE, code).replace_schema_metadata({"left": str(left[0])})

        table = self.parts.table(name, made)
        self.seen.new(hashes(table, keys))
        self.counts["equal_left_out"] += int((table.schema.metadata or {})[b"left"])
        self.counts[count] += len(table)
        self.pieces.append(name)

    def sources(self, sources: Sequence[Config], most: int | None = None) -> None:
        """Read, clean and encode further rows, and ask about them, or about `most` of them, evenly spread."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from bessemer.data import clean as cleaning
        from bessemer.data.quarantine import Quarantine
        from bessemer.stages._streams import plan_of
        from bessemer.stages._updating import _feed

        plain = Schema(columns=self.schema.by_role(Role.INPUT))
        file, limit = self.run.scratch / "clean.parquet", self.run.rehearsal
        with Quarantine(self.out / "quarantine.parquet") as quarantine, self.run.progress("reading", None, "rows") as progress:
            counts = cleaning.clean([_feed(item, plain) for item in sources], plan_of(plain), file, quarantine, progress.advance)
        for count in counts:
            self.run.note(f"{count.name}: {count.rows_in:,} rows in = {count.kept:,} to ask about"
                          + (f" + {count.rows_in - count.kept:,} left out" if count.rows_in > count.kept else ""))
        with pq.ParquetFile(file, pre_buffer=False) as found:
            count = found.metadata.num_rows
            asked = count if most is None else min(most, count)
            if asked < count:
                self.run.note(f"of {count:,} further rows {asked:,} are asked about")
        base = SOURCE_IDS + (self.free if self.highest >= SOURCE_IDS else 0)
        with (pq.ParquetFile(file, pre_buffer=False) as found, self.run.progress("asking about further rows", asked, "rows") as progress):
            self.whole += asked
            for index, batch in enumerate(found.iter_batches(BLOCK, use_threads=False)):
                self.run.check()
                place = np.arange(index * BLOCK, index * BLOCK + len(batch))
                drawn = (place + 1) * asked // count > place * asked // count
                rows = pa.Table.from_batches([batch]).filter(pa.array(drawn))
                self._piece(f"source-{index:06d}", lambda rows=rows: self.maker.foreign(rows), None, "unlabelled", base)  # type: ignore[misc]
                progress.advance(len(rows))
                if limit:
                    break

    def write(self) -> dict[str, Any]:
        """Write the training rows: those of the data first and unchanged, then the new ones."""
        import pyarrow as pa

        writer = ShardWriter(self.out / "train")
        for index, rows in enumerate(self._blocks()):
            table = self.reader.take(rows, self.columns)
            answers = self.parts.table(f"given-{index:06d}", lambda: pa.table({}))
            for name in answers.column_names:
                table = table.append_column(name, answers[name])
            made = self.reader.take(rows, [MADE])[MADE] if MADE in self.reader.columns else pa.array([GIVEN] * len(table), pa.int8())
            writer.add(table.append_column(MADE, made))
        for name in self.pieces:
            table = self.parts.table(name, lambda: pa.table({})).replace_schema_metadata(None)
            if len(table):
                writer.add(table)
        writer.close()
        sizes = {split: len(ShardReader(self.data / split)) for split in SPLITS[1:] if (self.data / split).is_dir()}
        part = float(self.run.input_manifests["data"].facts.get("rehearsal_part", 1.0))
        shown = {"rehearsal_part": part * min(1.0, writer.total / self.whole)} if self.run.rehearsal else {}
        return {"rows": {"train": writer.total, **sizes}, **self.counts, **self._agreement(), **shown}

    def _agreement(self) -> dict[str, Any]:
        """Return the share of the labelled training rows whose label the teachers give."""
        found = {}
        for name, kind in self.teachers.kinds.items():
            if kind == "label":
                truth = self.reader.stored(name)[self.positions]
                right = self.answers[name].argmax(1) == truth
                found[name] = round(float(right[truth >= 0].mean()), 6) if (truth >= 0).any() else None
        return {"teachers_agree_with_labels": found}


def completed(made: pa.Table, like: pa.Table, block: pa.Table | None, base: int) -> pa.Table:
    """Return new rows with every column of the training rows (`like`): no target, the weight of the row that each was made from (or 1)."""
    import numpy as np
    import pyarrow as pa

    ids = made["row_id"].to_numpy()
    found = {}
    for field in like.schema:
        if field.name == "row_id":
            found[field.name] = pa.array(ids + base, pa.int64())
        elif field.name in made.column_names:
            found[field.name] = made[field.name].combine_chunks().cast(field.type)
        elif field.name == "weight":
            weights = np.ones(len(made), np.float32)
            if block is not None:
                order = np.argsort(block["row_id"].to_numpy())
                weights = block["weight"].to_numpy()[order[np.searchsorted(block["row_id"].to_numpy()[order], ids)]]
            found[field.name] = pa.array(weights, field.type)
        else:
            found[field.name] = _missing(field.type, len(made))
    return pa.table(found)


def _missing(kind: pa.DataType, count: int) -> pa.Array:
    """Return a column that says nothing: -1, nan, False, or a list of -1."""
    import numpy as np
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(np.full(count * kind.list_size, -1), kind.value_type), kind.list_size)
    if pa.types.is_floating(kind):
        return pa.array(np.full(count, np.nan), kind)
    return pa.array(np.zeros(count, bool)) if pa.types.is_boolean(kind) else pa.array(np.full(count, -1), kind)


def _column(values: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _plain(table: pa.Table) -> dict[str, np.ndarray]:
    from bessemer.data.shards import flat

    return {name.removesuffix(".teacher"): flat(table[name].combine_chunks()) for name in table.column_names}


def _nothing(table: pa.Table) -> pa.Table:
    return table.slice(0, 0)
