"""Profile: what each column of prepared rows is like, how it differs between training and test, and how it goes with the targets.

One pass over each split in bounded memory: exact counts and moments, and for everything of ranks a sample of rows by position.
Legend: S sampled rows, B bins, V values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bessemer.core.keyed import uniform
from bessemer.core.schema import Column, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 20_000
BINS = 20
TOP = 20
MOST = 50_000
"""Different values of a category that are counted; what comes later is counted together."""
LEAK = 0.999
OTHER = "(other)"


@dataclass
class _Rows:
    """A sample of rows of bounded size, which depends on their order alone, and the count and missing values of all."""

    names: tuple[str, ...]
    count: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    values: dict[str, dict[str, int]] = field(default_factory=dict)
    table: Any = None
    keys: Any = None

    def add(self, table: pa.Table) -> None:
        """Take rows."""
        import numpy as np
        import pyarrow as pa

        if not len(table):
            return
        here = pa.table({name: _plain(table.column(name)) for name in self.names})
        for name in self.names:
            self.missing[name] = self.missing.get(name, 0) + here[name].null_count
            if pa.types.is_string(here.schema.field(name).type):
                self._tally(name, here[name])
        keys = uniform(0, 0, np.arange(self.count, self.count + len(table)), 1, 47)[:, 0]
        self.count += len(table)
        whole = here if self.table is None else pa.concat_tables([self.table, here])
        keys = keys if self.keys is None else np.concatenate([self.keys, keys])
        if len(whole) > ROWS:
            best = np.sort(np.argpartition(keys, ROWS - 1)[:ROWS])
            whole, keys = whole.take(pa.array(best)), keys[best]
        self.table, self.keys = whole.combine_chunks(), keys

    def _tally(self, name: str, column: pa.ChunkedArray) -> None:
        counts = self.values.setdefault(name, {})
        for entry in column.drop_null().value_counts().to_pylist():
            key = entry["values"] if entry["values"] in counts or len(counts) < MOST else OTHER
            counts[key] = counts.get(key, 0) + entry["counts"]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as float64, everything else as text; a list as how many items it has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind)):
        found = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(found), found, None)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pc.list_value_length(column).cast(pa.float64())
    return column.cast(pa.string())


def profile(train: Iterator[pa.Table], test: Iterator[pa.Table] | None, schema: Schema, targets: Sequence[str]) -> dict[str, Any]:
    """Return what the columns are like, in JSON values.

    Args:
        train: clean rows of the training split, under the schema's names.
        test: the same of the test split, or None.
        schema: whose input columns are profiled.
        targets: names of the target columns, which the rows hold too.

    Returns:
        `{"rows": {"train": n, "test": n}, "columns": {name: {"kind", "missing", "distribution", "drift", "targets", "flags"}}}`.
        distribution: of numbers 20 bins (`edges`, `train`, `test` shares) and moments; else the top values with their shares. drift:
        `psi` (population stability index), `total_variation`, and `ks` of numbers or `chi_square` and its `p` of values. targets: of
        each, `pearson` and `spearman`, or `eta` (correlation ratio), or `cramers_v`. flags: `constant`, `likely leak: <target>` (an
        association above 0.999), `identical to <column>`.
    """
    names = tuple(column.name for column in schema.columns if column.role.value == "input")
    wanted = tuple(dict.fromkeys((*names, *targets)))
    before, after = _Rows(wanted), _Rows(wanted)
    for table in train:
        before.add(table)
    for table in test if test is not None else ():
        after.add(table)
    found: dict[str, Any] = {"rows": {"train": before.count, "test": after.count}, "columns": {}}
    if not before.count:
        return found
    twins = _twins(before, names)
    for column in schema.columns:
        if column.name in names:
            found["columns"][column.name] = _one(column, before, after, targets, twins.get(column.name))
    return found


def _one(column: Column, before: _Rows, after: _Rows, targets: Sequence[str], twin: str | None) -> dict[str, Any]:
    name, missing = column.name, {"train": before.missing[column.name] / before.count}
    if after.count:
        missing["test"] = after.missing[name] / after.count
    number = name not in before.values
    shown, drift = _numbers(name, before, after) if number else _values(name, before, after)
    with_targets = {target: _association(before.table[name], before.table[target]) for target in targets}
    flags = ["constant"] if shown["distinct"] <= 1 else []
    for target, measures in with_targets.items():
        if any(value is not None and abs(value) > LEAK for value in measures.values()):
            flags.append(f"likely leak: {target}")
    if twin is not None:
        flags.append(f"identical to {twin}")
    return {"kind": column.modality["kind"], "missing": missing, "distribution": shown, "drift": drift, "targets": with_targets,
            "flags": flags}


def _numbers(name: str, before: _Rows, after: _Rows) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the histogram and moments of a number and its drift, by the samples."""
    import numpy as np

    one = before.table[name].drop_null().to_numpy()
    two = after.table[name].drop_null().to_numpy() if after.count else np.zeros(0)
    if not len(one):
        return {"distinct": 0, "edges": [], "train": []}, {}
    low, high = float(one.min()), float(one.max())
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    shown: dict[str, Any] = {
        "distinct": len(np.unique(one)), "edges": edges.tolist(), "train": (np.histogram(one, edges)[0] / len(one)).tolist(),
        "mean": float(one.mean()), "std": float(one.std()), "min": low, "max": high, "median": float(np.median(one))}
    if not len(two):
        return shown, {}
    shown["test"] = (np.histogram(two, edges)[0] / len(two)).tolist()
    # Drift is of bins equally full in training, so that one far value does not put all others into one bin.
    inner = np.unique(np.quantile(one, np.linspace(0, 1, 11)[1:-1]))
    shares = [np.bincount(np.searchsorted(inner, part, side="left"), minlength=len(inner) + 1) / len(part) for part in (one, two)]
    return shown, {"psi": psi(shares[0], shares[1]), "total_variation": float(np.abs(shares[0] - shares[1]).sum() / 2), "ks": ks(one, two)}


def _values(name: str, before: _Rows, after: _Rows) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the most frequent values of a category and its drift, by the counts of all rows."""
    import numpy as np

    one, two = before.values[name], after.values.get(name, {})
    every = sorted(set(one) | set(two), key=lambda value: (-one.get(value, 0), -two.get(value, 0), value))
    total = max(1, sum(one.values())), max(1, sum(two.values()))
    shown: dict[str, Any] = {"distinct": len(one), "top": [
        {"value": value, "train": one.get(value, 0) / total[0], **({"test": two.get(value, 0) / total[1]} if after.count else {})}
        for value in every[:TOP]]}
    if not two or not one:
        return shown, {}
    counts = np.array([[one.get(value, 0) for value in every], [two.get(value, 0) for value in every]], float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    statistic, p = chi_square(counts)
    return shown, {"psi": psi(shares[0], shares[1]), "total_variation": float(np.abs(shares[0] - shares[1]).sum() / 2),
                   "chi_square": statistic, "p": p, "new_values": float(shares[1][counts[0] == 0].sum())}


def psi(one_B: np.ndarray, two_B: np.ndarray, least: float = 1e-4) -> float:
    """Return the population stability index of two distributions, sum (q - p) ln(q / p); a share is `least` at least."""
    import numpy as np

    p_B, q_B = np.maximum(one_B, least), np.maximum(two_B, least)
    return float(((q_B - p_B) * np.log(q_B / p_B)).sum())


def ks(one: np.ndarray, two: np.ndarray) -> float:
    """Return the two-sample statistic of Kolmogorov and Smirnov."""
    import numpy as np

    one, two = np.sort(one), np.sort(two)
    every = np.concatenate([one, two])
    below = np.searchsorted(one, every, side="right") / len(one) - np.searchsorted(two, every, side="right") / len(two)
    return float(np.abs(below).max())


def chi_square(counts: np.ndarray) -> tuple[float, float]:
    """Return Pearson's statistic of a table of counts without empty rows or columns, and its p value."""
    from scipy.special import chdtrc

    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    free = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return statistic, float(chdtrc(free, statistic)) if free else 1.0


def _association(column: pa.ChunkedArray, target: pa.ChunkedArray) -> dict[str, float | None]:
    """Return how a column goes with a target in the rows that have both; None where one of them does not vary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    both = pc.and_(column.is_valid(), target.is_valid())
    one, two = column.filter(both), target.filter(both)
    words = pa.types.is_string(one.type), pa.types.is_string(two.type)
    if words == (False, False):
        x, y = one.to_numpy(), two.to_numpy()
        return {"pearson": pearson(x, y), "spearman": pearson(ranks(x), ranks(y))}
    if words == (True, True):
        return {"cramers_v": cramers_v(_codes(one), _codes(two))}
    number, word = (two, one) if words[0] else (one, two)
    return {"eta": eta(_codes(word), number.to_numpy())}


def _codes(words: pa.ChunkedArray) -> np.ndarray:
    import numpy as np

    return np.asarray(words.combine_chunks().dictionary_encode().indices.to_numpy(), np.int64)


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks; equal values share the mean of theirs."""
    import numpy as np

    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    found: np.ndarray = (np.cumsum(count) - (count - 1) / 2)[place]
    return found


def pearson(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return the correlation of two samples; None where one is constant."""
    import numpy as np

    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    x, y = x - x.mean(), y - y.mean()
    return float((x @ y) / np.sqrt((x @ x) * (y @ y)))


def eta(codes: np.ndarray, values: np.ndarray) -> float | None:
    """Return the correlation ratio: the root of the share of a number's variance that lies between groups, less what chance gives.

    The share is adjusted for the number of groups (epsilon squared, Kelley 1935), so that a key of every row is no leak by itself.
    """
    import numpy as np

    groups = len(np.unique(codes))
    if groups < 2 or len(values) <= groups or np.ptp(values) == 0:
        return None
    values = values - values.mean()
    count = np.bincount(codes)
    mean = np.bincount(codes, weights=values) / np.maximum(count, 1)
    inside = float(((values - mean[codes]) ** 2).sum()) / (len(values) - groups)
    return float(np.sqrt(max(0.0, 1.0 - inside / (float((values**2).sum()) / (len(values) - 1)))))


def cramers_v(one: np.ndarray, two: np.ndarray) -> float | None:
    """Return Cramer's V with the correction of Bergsma (2013), so that many rare values are no association by themselves."""
    import numpy as np

    rows, columns, n = len(np.unique(one)), len(np.unique(two)), len(one)
    if rows < 2 or columns < 2:
        return None
    # Chi-square over the cells that occur alone, since a table of many values is mostly empty: n (sum c^2 / (r k) - 1).
    cell, count = np.unique(one * (int(two.max()) + 1) + two, return_counts=True)
    a, b = np.bincount(one)[cell // (int(two.max()) + 1)], np.bincount(two)[cell % (int(two.max()) + 1)]
    phi = max(0.0, float((count.astype(float) ** 2 / (a.astype(float) * b)).sum()) - 1 - (rows - 1) * (columns - 1) / (n - 1))
    r, k = rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)
    least = min(r, k) - 1
    return float(np.sqrt(phi / least)) if least > 1e-12 else None


def _twins(rows: _Rows, names: Sequence[str]) -> dict[str, str]:
    """Return the columns that equal an earlier one in every sampled row, with its name."""
    import hashlib

    import numpy as np

    seen: dict[bytes, str] = {}
    found = {}
    for name in names:
        column = rows.table[name].combine_chunks()
        if len(column) == column.null_count:
            continue
        if name in rows.values:
            coded = column.dictionary_encode()
            body = repr(coded.dictionary.to_pylist()).encode() + coded.indices.fill_null(-1).to_numpy().tobytes()
        else:
            body = np.ascontiguousarray(column.fill_null(float("nan")).to_numpy(zero_copy_only=False)).tobytes()
        key = hashlib.sha256(body).digest()
        if key in seen:
            found[name] = seen[key]
        seen.setdefault(key, name)
    return found
