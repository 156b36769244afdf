"""Rows a second of training on rows that are never held, beside the loops that people write; and memory over rows.

python -m benchmarks stream; `python -m benchmarks.stream memory ROWS` trains on so many computed rows and prints its memory.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.record import record, spread
from bessemer.core.events import Events
from bessemer.core.recipe import make_recipe
from bessemer.core.run import Options, RunContext, Stop, execute
from bessemer.core.task_spec import TableRows
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job
from bessemer.engine.loop import fit
from bessemer.nn.table import TableConfig, TableNetwork
from bessemer.stages._learning import batch_shape, make_task, open_split

FEATURES, HIDDEN, BATCH, ROUNDS, ROWS, THREADS = 1000, 100, 4096, 3, 524_288, 2
SHARD_ROWS, HELD, PASSES = 400_000, 4096, 2
BATCHES, BATCH_ROWS = (200, 1024, 4096), 262_144
MEMORY_ROWS = (1_000_000, 10_000_000)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return TableNetwork(TableConfig(num_numbers=FEATURES, cardinalities=(), num_outputs=1, hidden_sizes=(HIDDEN,), dropout=0.0)).train()


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((count, FEATURES), np.float32)
    return x, x[:, :10] @ generator.random(10, np.float32)


def loop(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The usual loop: the same network, optimiser and clipping; return rows a second."""
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    no_codes, done, started = torch.zeros(max(BATCHES), 0, dtype=torch.int64), 0, time.perf_counter()
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(net(x, no_codes[:len(x)])[:, 0, 0], y).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        done += len(x)
    return done / (time.perf_counter() - started)


def prepared(folder: Path, source: dict[str, Any], shuffle: str) -> Path:
    """Run the stage `stream` and return its artifact."""
    stage = {"source": source, "inputs": {"x": {"kind": "vector"}}, "targets": {"y": {"kind": "number", "transform": "none"}},
             "validation": HELD, "test": HELD, "fit_rows": 4096, "shuffle": shuffle}
    recipe = make_recipe({"name": "bench", "output_dir": str(folder), "stages": {"stream": stage}}, "benchmark")
    return execute(recipe, Events(), Options()).stages["stream"].folder


def engine(spec: Any, count: int, batch: int = BATCH) -> float:
    """Train through the engine on `count` rows of a split; return rows a second, start and first blocks included.

    As in recipes/million.yaml: two threads compute a half of each batch, beside those that read, clean and encode.
    """
    torch.set_num_threads(1)
    try:
        return _engine(spec, count, batch)
    finally:
        torch.set_num_threads(THREADS)


def held(spec: Any, x: np.ndarray, y: np.ndarray, count: int) -> Any:
    """Return the split as `count` rows that are in memory, read in their order, over and over where there are fewer."""
    weights, ids = np.ones(len(x), np.float32), np.arange(len(x))
    codes = np.zeros((len(x), 0), np.int64)

    def read(positions: np.ndarray) -> TableRows:
        part = slice(int(positions[0]), int(positions[-1]) + 1)
        return TableRows(x[part], codes[part], {"y": y[part]}, weights[part], ids[part])

    def order(epoch: int, size: int) -> list[np.ndarray]:
        return [np.arange(size) + start % len(x) for start in range(0, count - size + 1, size)]

    return replace(spec, read=read, order=order, count=count)


def _engine(spec: Any, count: int, batch: int) -> float:
    spent = [0.0]

    def validate() -> dict[str, float]:
        spent[0] = time.perf_counter()  # the one validation comes after the last step: what follows it is not counted
        return {"loss": 0.0}

    with tempfile.TemporaryDirectory() as folder:
        context = RunContext("bench", "k", 0, None, Path(folder), Path(folder) / "state", Events(), Stop(), {})
        steps = count // batch
        config = TrainingConfig(num_train_epochs=max(1, -(-count // spec.count)), max_steps=steps, learning_rate=1e-3, warmup_ratio=0.0,
                                per_device_train_batch_size=batch, gradient_threads=THREADS, logging_steps=100)
        job = Job(network(), make_task(None, spec), config, batch_shape(config, spec), context, validate, ("loss", False),
                  order=lambda epoch: spec.order(epoch, batch))
        started = time.perf_counter()
        fit(job)
    return steps * batch / (spent[0] - started)


def shards(folder: Path, x: np.ndarray, y: np.ndarray) -> Path:
    """Write float32 rows as Arrow files of batches of 4,096 rows."""
    kind = pa.schema([("x", pa.list_(pa.float32(), FEATURES)), ("y", pa.float32())])
    for number, start in enumerate(range(0, len(x), 50_000)):
        part = slice(start, start + 50_000)
        table = pa.table([pa.FixedSizeListArray.from_arrays(pa.array(x[part].reshape(-1)), FEATURES), pa.array(y[part])], schema=kind)
        with pa.OSFile(str(folder / f"{number:03d}.arrow"), "wb") as sink, pa.ipc.new_file(sink, kind) as out:
            out.write_table(table, max_chunksize=4096)
    return folder


def loader(data: torch.utils.data.TensorDataset, *, bulk: bool) -> Iterator[Any]:
    """Shuffled batches; `bulk`: a batch is taken by one indexing, as the documentation of `torch.utils.data` advises."""
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    if bulk:
        return iter(DataLoader(data, sampler=BatchSampler(RandomSampler(data), BATCH, drop_last=True), batch_size=None))
    return iter(DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True))


def scikit(x: np.ndarray, y: np.ndarray, batch: int = BATCH) -> float:
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(HIDDEN,), batch_size=batch, alpha=0.0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.partial_fit(x[:batch], y[:batch])
        started, done = time.perf_counter(), 0
        for start in range(0, len(x) - batch + 1, batch):
            model.partial_fit(x[start:start + batch], y[start:start + batch])
            done += batch
    return done / (time.perf_counter() - started)


def anonymous() -> float:
    """Return the process's anonymous memory in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1000


@contextmanager
def sampled(values: list[float]) -> Iterator[None]:
    """Sample the memory ten times a second while the block runs."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            values.append(anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def memory(count: int) -> dict[str, float]:
    """Train on so many computed rows; return the largest and the median anonymous memory and rows a second."""
    values: list[float] = []
    with tempfile.TemporaryDirectory() as folder, sampled(values):
        data = prepared(Path(folder), {"kind": "regression", "rows": count + 65_536, "features": FEATURES}, "none")
        rate = engine(open_split(data, "train", 0), count)
    return {"rows": count, "largest_mb": max(values), "median_mb": statistics.median(values), "rate": rate}


def beside_scikit(x: np.ndarray, y: np.ndarray, specs: dict[str, Callable[[], Any]]) -> list[tuple[str, ...]]:
    """Rows of the table: the engine beside scikit-learn at several batches, in turn; each part is of scikit-learn's rows a second."""
    lines: list[tuple[str, ...]] = []
    for batch in BATCHES:
        found: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            found.setdefault("rows in memory, in their order, scikit-learn MLPRegressor.partial_fit", []).append(
                scikit(x[:BATCH_ROWS], y[:BATCH_ROWS], batch) / 1000)
            for name, spec in specs.items():
                found.setdefault(f"{name}, engine", []).append(engine(spec(), BATCH_ROWS, batch) / 1000)
        base = next(iter(found.values()))
        lines += [(f"batch {batch:,}: {name}", spread(values), "", "",
                   f"{statistics.median(a / b for a, b in zip(values, base, strict=True)):.2f}") for name, values in found.items()]
    return lines


def main() -> None:
    x, y = rows(SHARD_ROWS)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    fixed = (tensors.tensors[0][:BATCH].clone(), tensors.tensors[1][:BATCH].clone())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        source = {"kind": "files", "path": str(shards(folder / "rows", x, y) / "*.arrow")}
        computed = prepared(folder / "computed", {"kind": "regression", "rows": 4 * ROWS, "features": FEATURES}, "none")
        stored = prepared(folder / "stored", source, "window")
        specs: dict[str, Callable[[], Any]] = {
            "computed rows": lambda: open_split(computed, "train", 0),
            "Arrow files (float32, in the page cache), shuffled in windows": lambda: open_split(stored, "train", 0),
            "rows in memory, in their order": lambda: held(open_split(stored, "train", 0), x, y, SHARD_ROWS)}
        ways: dict[str, Callable[[], float]] = {
            "one resident batch, hand-written loop (no data at all)": lambda: loop(iter([fixed] * (ROWS // BATCH))),
            "one resident batch, engine (no data at all)": lambda: engine(
                held(open_split(stored, "train", 0), x[:BATCH], y[:BATCH], ROWS), ROWS),
            **{f"{name}, engine": lambda spec=spec: engine(spec(), PASSES * (SHARD_ROWS - 2 * HELD))  # type: ignore[misc]
               for name, spec in specs.items()},
            "rows in memory, DataLoader(TensorDataset, shuffle=True)": lambda: loop(loader(tensors, bulk=False)),
            "rows in memory, DataLoader with a BatchSampler (bulk indexing)": lambda: loop(loader(tensors, bulk=True))}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(way() / 1000)
        bases = list(found.values())[:2]
        lines: list[tuple[str, ...]] = [
            (name, spread(values), *(f"{statistics.median(a / b for a, b in zip(values, base, strict=True)):.2f}" for base in bases), "")
            for name, values in found.items()]
        lines += beside_scikit(x, y, specs)
    for count in MEMORY_ROWS:
        text = subprocess.run([sys.executable, "-m", "benchmarks.stream", "memory", str(count)], check=True, capture_output=True, text=True)
        item = json.loads(text.stdout.splitlines()[-1])
        lines.append((f"anonymous memory, {count:,} computed rows consumed once", f"{item['largest_mb']:.0f} MB at most, "
                      f"{item['median_mb']:.0f} MB median; {item['rate'] / 1000:.1f} thousand rows/s", "", "", ""))
    head = ("way", "thousand rows a second, median (range)", "of the first, median of rounds", "of the second",
            "of scikit-learn at this batch")
    record("stream", "Training on rows that are never held", head, lines,
           f"Network {FEATURES}-{HIDDEN}-1, ReLU, float32, batches of {BATCH:,} rows for all where no other number stands, AdamW (fused; "
           f"scikit-learn: its Adam), clipping. {ROUNDS} rounds, in turn, of {ROWS:,} resident rows, {PASSES} passes over {SHARD_ROWS:,} "
           f"rows, stored or in memory, by the engine (without the {2 * HELD:,} that are held out; as many computed rows), and one by a "
           f"DataLoader. Beside scikit-learn, whose own batch is 200: {BATCH_ROWS:,} rows for each. Hand-written loops and scikit-learn "
           f"compute by {THREADS} threads within an operator; the engine by `gradient_threads: {THREADS}`, one thread within an operator, "
           "beside those that read. The engine's times hold its guards, curves, and reading, cleaning and encoding of rows.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory(int(sys.argv[2]))))
    else:
        main()
