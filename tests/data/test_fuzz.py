"""The readers of files and folders against seeded mutations of small ones.

Every mutation is read by the real source and cleaned: it ends with rows that are all accounted for, or with a UserError; never
with another exception, a crash, a hang or much memory. Mutations run in batches in a process of their own: a crash there is
caught, and names its seed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.data.clean import Feed, Plan, clean
from bessemer.data.quarantine import Quarantine

SECONDS, MEMORY, BATCH = 20, 1 << 30, 500
KINDS = ("csv", "parquet", "arrow", "excel", "sheet", "fasttext", "class_files", "folder", "sqlite", "hf")
COUNTED = ("csv", "parquet", "arrow", "folder", "sqlite")  # their rows are numbered without gaps


def csv_bytes(generator: random.Random) -> bytes:
    sign, end = generator.choice([",", ";", "\t"]), generator.choice(["\n", "\r\n"])
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=sign, lineterminator=end, quoting=generator.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer.writerow(["a", "b b", "ç", "d"])
    for row in range(generator.randrange(1, 40)):
        word = generator.choice(["x", "", 'say "hi"', "two\nlines", "汉字", "é"])
        writer.writerow([row, word, generator.random(), "end" * generator.randrange(3)])
    return stream.getvalue().encode()


def table(generator: random.Random) -> pa.Table:
    rows = generator.choice([generator.randrange(1, 60), generator.randrange(200, 600)])
    words = [generator.choice(["x", "", "汉字", None, "é" * 9]) for _ in range(rows)]
    columns = {
        "a": pa.array([generator.choice([None, generator.randrange(99)]) for _ in range(rows)], pa.int64()),
        "b b": pa.array(words, pa.string()), "ç": pa.array([generator.random() for _ in range(rows)]),
        "d": pa.array(words, pa.string()).dictionary_encode(),
        "e": pa.array([[1] * generator.randrange(3) for _ in range(rows)], pa.list_(pa.int32())),
        "f": pa.array([row * 10**6 for row in range(rows)], pa.timestamp("us", "UTC")), "g": pa.array(words, pa.large_string()),
        "h": pa.array([generator.random() < 0.5 for _ in range(rows)]), "i": pa.array(words, pa.string_view())}
    return pa.table({name: columns[name] for name in generator.sample(sorted(columns), generator.randrange(1, len(columns) + 1))})


def parquet_bytes(generator: random.Random) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table(generator), sink, compression=generator.choice(["none", "snappy", "zstd", "gzip"]), row_group_size=20,
                   use_dictionary=generator.random() < 0.5, data_page_version=generator.choice(["1.0", "2.0"]))
    return sink.getvalue().to_pybytes()


def arrow_bytes(generator: random.Random) -> bytes:
    sink, found = pa.BufferOutputStream(), table(generator)
    options = pa.ipc.IpcWriteOptions(compression=generator.choice([None, "lz4", "zstd"]))
    with generator.choice([pa.ipc.new_file, pa.ipc.new_stream])(sink, found.schema, options=options) as writer:
        writer.write_table(found, 20)
    return sink.getvalue().to_pybytes()


def excel_bytes(generator: random.Random) -> bytes:
    import openpyxl

    book, stream = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["a", "b b", "ç"])
    for row in range(generator.randrange(1, 40)):
        book.active.append([generator.choice([row, None, True, 1.5]), generator.choice(["x", "汉字", None]), "end"])
    book.save(stream)
    return stream.getvalue()


def sheet_bytes(generator: random.Random) -> bytes:
    """An .xlsx file whose members are mutated before they are packed, so that the archive itself is whole."""
    whole, stream = zipfile.ZipFile(io.BytesIO(excel_bytes(generator))), io.BytesIO()
    chosen = generator.choice([name for name in whole.namelist() if name.startswith(("xl/work", "xl/styles", "xl/shared"))])
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            data = whole.read(name)
            archive.writestr(name, mutated(data, generator) if name == chosen and generator.random() < 0.9 else data)
    return stream.getvalue()


def line_bytes(generator: random.Random) -> bytes:
    words = ["__label__a", "__label__b", "x", "汉字", "été", "a\tb"]
    text = "\n".join(" ".join(generator.choices(words, k=generator.randrange(6))) for _ in range(40)) + "\n__label__a x\n"
    return text.encode(generator.choice(["utf-8", "utf-8", "utf-16", "gb18030"]))


def sqlite_bytes(generator: random.Random) -> bytes:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(generator.choice(["PRAGMA page_size = 512", "PRAGMA page_size = 4096"]))
        database.execute("CREATE TABLE r (a INTEGER PRIMARY KEY, b TEXT, c)")
        database.executemany("INSERT INTO r VALUES (?, ?, ?)", [
            (row, generator.choice(["x", "汉字" * 90, None, ""]), generator.choice([1, 2.5, b"\xff", "y" * 700])) for row in range(60)])
        database.commit()
        return database.serialize()


def card_bytes(generator: random.Random) -> bytes:
    return f"""---
configs:
- config_name: default
  data_files:
  - {{split: train, path: "data/tr*"}}
  - split: {generator.choice(["test", "dev"])}
    path: [data/te.csv]
dataset_info:
  features:
  - {{name: a, dtype: string}}
  - name: b
    dtype: {{class_label: {{names: {{'0': neg, '1': pos}}}}}}
---
# About
""".encode()


WHOLE = {"csv": csv_bytes, "parquet": parquet_bytes, "arrow": arrow_bytes, "excel": excel_bytes, "sheet": excel_bytes,
    "fasttext": line_bytes,
         "class_files": line_bytes, "folder": line_bytes, "sqlite": sqlite_bytes, "hf": card_bytes}


def laid(kind: str, data: bytes, folder: Path) -> Path:
    """Write the bytes where a source of this kind finds them; return what it is named by."""
    place = {"folder": "set/pos/a.txt", "hf": "set/README.md"}.get(kind, "f")
    for name, other in {"folder": {"neg/b.txt": b"other"}, "hf": {"data/tr.csv": b"a,b\nx,1\ny,0\n",
        "data/te.csv": b"a,b\nz,\n"}}.get(kind, {}).items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(other)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_bytes(data)
    return folder / "set" if kind in ("folder", "hf") else folder / place


def mutated(data: bytes, generator: random.Random) -> bytes:
    for _ in range(generator.choice([1, 1, 1, 2, 4])):
        place = generator.randrange(len(data) or 1)
        near = max(0, len(data) - 1 - int(generator.expovariate(1 / 200)))  # where the footer of Parquet lies
        place = generator.choice([place, near])
        size = generator.choice([1, 2, 4, 8, 30, 200])
        what = generator.randrange(9)
        if what == 0:
            data = data[:place] + bytes([(data[place] if data else 0) ^ (1 << generator.randrange(8))]) + data[place + 1:]
        elif what == 1:
            data = data[:place]
        elif what == 2:
            data = data[:place] + generator.randbytes(size) + data[place:]
        elif what == 3:
            data = data[:place] + data[place:place + size] * 2 + data[place + size:]
        elif what == 4:
            data = data[:place] + data[place + size:]
        elif what == 5:
            quote = data.find(b'"', place)
            data = data[:quote] + data[quote + 1:] if quote >= 0 else data.replace(b'"', b"", 1)
        elif what == 6:
            sign = generator.choice([b"\x00", b"\xff", b'"', b"\n", b"\r", b",", b"\xef\xbf", b"\xed\xa0\x80"])
            data = data[:place] + sign + data[place:]
        elif what == 7:
            number = generator.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(data), len(data) + 1])
            data = data[:place] + number.to_bytes(4, "little") + data[place + 4:]
        else:
            data = data[:place] + bytes([generator.choice([0, 1, 127, 128, 255])]) * size + data[place + size:]
    return data


def made(kind: str, seed: int) -> bytes:
    generator = random.Random(f"{kind} {seed}")
    return sheet_bytes(generator) if kind == "sheet" else mutated(WHOLE[kind](generator), generator)


def as_words(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Clean like the simplest modality: every value is text, checked as text; none is refused."""
    values.validate(full=True)
    words = pa.array(list(map(str, values.to_pylist())), pa.string()) if pa.types.is_nested(values.type) else values.cast(pa.string())
    return words, pa.nulls(len(values), pa.string())


def outcome(kind: str, file: Path, folder: Path) -> str:
    """Read and clean one file as prepare does; return what became of its rows."""
    config = make("data/sources", {"kind": {"sheet": "excel"}.get(kind, kind), "path": str(file)})
    try:
        source = plugin_of("data/sources", config).function(config)
        first = next(iter(source.read()))
        names = first.table.column_names
        if not names:
            raise UserError("no columns")
        config = config.model_copy(update={"columns": tuple(names)})
        source = plugin_of("data/sources", config).function(config)
        with Quarantine(folder / "quarantine.parquet") as quarantine:
            renamed = {name: f"c{position}" for position, name in enumerate(names)}
            plan = Plan({renamed[name]: as_words for name in names}, {})
            counts = clean([Feed(source, rename=renamed)], plan, folder / "clean.parquet", quarantine, lambda rows: None)
    except UserError as error:
        assert "\n" not in str(error).strip() or kind == "csv", str(error)
        return "refused"
    (count,) = counts
    set_aside = sum(quarantine.reasons.get(count.name, {}).values())
    assert count.rows_in == count.kept + set_aside == count.kept + quarantine.count
    assert pq.read_metadata(folder / "clean.parquet").num_rows == count.kept if count.kept else True
    numbers = pq.read_table(folder / "quarantine.parquet")["row"].to_pylist()
    if count.kept:
        numbers += pq.read_table(folder / "clean.parquet")["row"].to_pylist()
    assert len(set(numbers)) == len(numbers) == count.rows_in
    if kind in COUNTED:
        assert sorted(numbers) == list(range(1, count.rows_in + 1)), "a row was lost between others"
    return "quarantined" if set_aside else "read"


def worker(kind: str, first: int, last: int) -> None:
    """Run mutations; say each seed before it, so that a crash names it."""
    with tempfile.TemporaryDirectory() as folder:  # load the libraries, which need memory of their own
        assert outcome(kind, laid(kind, WHOLE[kind](random.Random(2)), Path(folder)), Path(folder)) in ("read", "quarantined")
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else None
    if now:
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))  # more is a fault that names its seed
    tally: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, last):
            print(f"seed {seed}", flush=True)
            signal.alarm(SECONDS)  # no handler: the process dies, which names the seed
            found = outcome(kind, laid(kind, made(kind, seed), Path(folder)), Path(folder))
            tally[found] = tally.get(found, 0) + 1
    signal.alarm(0)
    print(json.dumps(tally))


def fuzz(kind: str, count: int, start: int = 0) -> tuple[dict[str, int], list[str]]:
    """Run `count` mutations; return how many were read, quarantined or refused, and every fault with its seed."""
    tally: dict[str, int] = {}
    faults: list[str] = []
    first, end = start, start + count
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"}
    while first < end and len(faults) < 20:
        last = min(end, first + BATCH)
        done = subprocess.run([sys.executable, "-W", "error", "-m", "tests.data.test_fuzz", kind, str(first), str(last)], text=True,
                              capture_output=True, env=environment, cwd=Path(__file__).parents[2], timeout=SECONDS * 30, check=False)
        lines = done.stdout.splitlines()
        if done.returncode == 0:
            for name, number in json.loads(lines[-1]).items():
                tally[name] = tally.get(name, 0) + number
            first = last
            continue
        seed = next((int(line.split()[1]) for line in reversed(lines) if line.startswith("seed ")), first)
        error = done.stderr.strip().splitlines()
        faults.append(f"{kind} seed {seed}: " + (f"killed by signal {-done.returncode}" if done.returncode < 0 else
                                                 " / ".join(error[-3:]) if error else f"exit {done.returncode}"))
        first = seed + 1
    return tally, faults


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_read_quarantined_or_refused(kind):
    tally, faults = fuzz(kind, 300)
    assert not faults, "\n".join(faults)
    assert sum(tally.values()) == 300 and set(tally) & {"read", "quarantined"}
    assert "refused" in tally or kind in ("fasttext", "class_files", "folder")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_thousand_mutations_of_each(kind):
    tally, faults = fuzz(kind, 5000)
    assert not faults, "\n".join(faults)
    assert sum(tally.values()) == 5000


if __name__ == "__main__":
    worker(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
