"""Speed of reading number columns from Parquet and scaling them, on one core, beside scikit-learn on the decoded array, in turn."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from benchmarks.record import record, spread
from bessemer.core.pick import dump_plugin
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities import column_folder
from bessemer.modalities.number import Number, number
from bessemer.modalities.vectors import Vectors, open_vectors

ROUNDS, PEER_ROUNDS, ROWS, COLUMNS = 5, 2, 200_000, 100


def fitted(folder: Path, scale: str, table: pa.Table) -> Vectors:
    """Fit every column on the first rows and return the encoder."""
    config, columns = Number(scale=scale), []
    for name in table.column_names:
        own = column_folder(folder, name)
        own.mkdir(parents=True)
        labels, facts = number(config).fit(iter([table[name].slice(0, 20_000).combine_chunks().cast(pa.float64())]), 0, own)
        columns.append(Column(name=name, role=Role.INPUT, modality=dump_plugin("modalities", config), labels=labels, facts=facts))
    return open_vectors(Schema(columns=tuple(columns)), folder)


def main() -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    generator = np.random.default_rng(0)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = generator.standard_normal((ROWS, COLUMNS)) * np.where(np.arange(COLUMNS) % 2, 1.0, 100.0)
        values[:, ::3] = np.exp(values[:, ::3].clip(-8, 8))
        for kind in (np.float32, np.float64):
            table = pa.table({f"c{place}": values[:, place].astype(kind) for place in range(COLUMNS)})
            file = folder / f"{np.dtype(kind)}.parquet"
            pq.write_table(table, file, use_dictionary=False, compression="none", row_group_size=65536)
            for scale in ("standard", "quantile"):
                vectors = fitted(folder / f"{scale}-{np.dtype(kind)}", scale, table)
                rows += measured(file, scale, vectors, table)
    record("columns", "Columns of numbers", ("stored as", "scaling", "what", "MB/s of float32, median (range)"), rows,
           f"{ROWS:,} rows of {COLUMNS} number columns in an uncompressed Parquet file in the page cache, one thread, {ROUNDS} rounds in "
           f"turn after one to warm up ({PEER_ROUNDS - 1} of scikit-learn's quantiles). scikit-learn is given the decoded float64 array; "
           "reading it from the file is not in its time. Targets: read and standardise ≥ 500 MB/s, read and quantile ≥ 150 MB/s.")


def measured(file: Path, scale: str, vectors: Vectors, table: pa.Table) -> list[tuple[str, ...]]:
    """Time reading, scaling, both, and scikit-learn's scaling."""
    whole = np.column_stack([table[name].to_numpy() for name in table.column_names]).astype(np.float64)
    peer = StandardScaler(copy=True) if scale == "standard" else QuantileTransformer(output_distribution="normal", subsample=None)
    peer.fit(whole[:20_000])

    def read_and_scale() -> None:
        with pq.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                vectors.encode(opened.read_row_group(group, use_threads=False))

    calls = {"read and scale": read_and_scale, "scale": lambda: vectors.encode(table), "scikit-learn, scale": lambda: peer.transform(whole)}
    taken: dict[str, list[float]] = {label: [] for label in calls}
    for turn in range(ROUNDS + 1):
        for label, call in calls.items():
            if label.startswith("scikit") and scale == "quantile" and turn >= PEER_ROUNDS:
                continue
            started = time.perf_counter()
            call()
            if turn:
                taken[label].append(ROWS * COLUMNS * 4 / 1e6 / (time.perf_counter() - started))
    return [(str(table.schema.types[0]), scale, label, spread(found)) for label, found in taken.items()]


if __name__ == "__main__":
    main()
