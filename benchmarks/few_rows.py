"""python -m benchmarks.few_rows: what reading a handful of rows of a table costs, value by value and by the way of many rows, in turn."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.record import record, spread
from bessemer.core.pick import dump_plugin, make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities import column_folder
from bessemer.modalities.vectors import open_vectors
from bessemer.predictors._cleaner import Cleaner
from bessemer.predictors._few import Few

ROUNDS, CALLS = 7, 100
SHAPES = ((6, 8, 1), (6, 8, 8), (6, 8, 32), (100, 0, 1), (0, 20, 1))
"""Number columns, columns of categories, rows."""


def fitted(folder: Path, table: pa.Table) -> Schema:
    """Fit every column on a table."""
    columns = []
    for name in table.column_names:
        config = make("modalities", "number" if name.startswith("n") else "category")
        own = column_folder(folder, name)
        own.mkdir(parents=True)
        labels, facts = plugin_of("modalities", config).function(config).fit(iter([table[name].combine_chunks()]), 0, own)
        columns.append(Column(name=name, role=Role.INPUT, modality=dump_plugin("modalities", config), labels=labels, facts=facts))
    return Schema(columns=tuple(columns))


def main() -> None:
    pa.set_cpu_count(1)
    generator, rows = np.random.default_rng(0), []
    for numbers, codes, count in SHAPES:
        whole = pa.table({**{f"n{place}": np.exp(generator.standard_normal(20_000)) for place in range(numbers)},
                          **{f"c{place}": generator.choice([f"word {word}" for word in range(20)], 20_000) for place in range(codes)}})
        with tempfile.TemporaryDirectory() as name:
            schema = fitted(Path(name), whole)
            cleaner, vectors = Cleaner(schema), open_vectors(schema, Path(name))
        few, parts = Few(cleaner, vectors), [whole.slice(place * count, count).combine_chunks() for place in range(CALLS)]
        taken: dict[str, list[float]] = {"as many": [], "one by one": []}
        for turn in range(ROUNDS + 1):
            for label, call in (("as many", lambda part: vectors.encode(cleaner(part))), ("one by one", few.read)):  # noqa: B023
                started = time.perf_counter()
                for part in parts:
                    call(part)
                if turn:
                    taken[label].append((time.perf_counter() - started) / CALLS * 1e6)
        rows += [(f"{numbers} numbers, {codes} categories", str(count), label, spread(found)) for label, found in taken.items()]
    record("few_rows", "A handful of rows", ("columns", "rows", "read", "microseconds a call, median (range)"), rows,
           f"{ROUNDS} rounds in turn of {CALLS} tables after one to warm up, one thread; both give the same bits.")


if __name__ == "__main__":
    main()
