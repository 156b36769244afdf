"""Finding crosses: which pairs of columns tell of the target what no sum over single columns tells, judged on validation rows.

An additive model (ridge regression on bins of numbers, a slope of each, and categories) is fitted once on training rows. Of each pair
of numbers the product is made orthogonal to it and given a slope (Frisch & Waugh 1933); of each pair of categories every cell is given
its shrunk mean residual. What that takes off the squared error of validation rows is the pair's gain. Labels are learnt as one number
(0 or 1) a class.

Legend: N training rows, M validation rows, T outputs, P features of the additive model, Q pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Pair = tuple[str, str]
COLUMNS, MOST, AGAIN = 40, 8, 32
BINS, WORDS, CLASSES = 32, 62, 10
SHRINK, WILD = 10.0, 10.0
LEAST = 1e-3
ERRORS = 4.0
"""How many standard errors a gain is above 0: one pair in 30,000 without any effect passes, and at most 780 are tried."""


@dataclass(frozen=True)
class Found:
    """A pair that helps.

    Attributes:
        of: its columns.
        gain: share of the target's variance that it explains on validation rows, beyond the additive model and the pairs before it.
        error: standard error of the gain.
    """

    of: tuple[str, ...]
    gain: float
    error: float


@dataclass(frozen=True, eq=False)
class _Column:
    """One column as codes, and numbers also as standardised values; training rows, then validation rows."""

    kind: str
    codes: tuple[np.ndarray, np.ndarray]
    size: int
    values: tuple[np.ndarray, np.ndarray] | None = None


def search(train: pa.Table, validation: pa.Table, kinds: Mapping[str, str], target: str) -> list[Found]:
    """Return at most 8 pairs that gain at least 0.001 of the variance and 4 standard errors, the best first.

    Args:
        train: clean rows.
        validation: clean rows.
        kinds: column -> `number` or `words`; the 40 that go best with the target alone are tried.
        target: a column of numbers or of words.
    """
    import numpy as np

    truth_NT, truth_MT, rows = _truths(train, validation, target)
    if min(len(truth_NT), len(truth_MT)) < 2 or not truth_NT.any():
        return []
    parts = tuple(table.filter(mask) for table, mask in zip((train, validation), rows, strict=True))
    columns = {name: _column(parts[0], parts[1], name, kind) for name, kind in kinds.items()}
    best = sorted(columns, key=lambda name: (-_association(columns[name], truth_NT), name))[:COLUMNS]
    columns = {name: columns[name] for name in kinds if name in best}
    pairs = [(a, b) for a, b in combinations(columns, 2) if columns[a].kind == columns[b].kind]
    model = _Additive(columns)
    rest_NT, rest_MT = model.residual(truth_NT, truth_MT)
    scored = [(_gain(rest_MT, said[1]), pair) for pair, said in model.each(pairs, rest_NT)]
    left = [pair for _, pair in sorted(scored, key=lambda item: (-item[0][0], item[1]))[:AGAIN]]
    found: list[Found] = []
    while left and len(found) < MOST:
        gains = {pair: _gain(rest_MT, said[1]) for pair, said in model.each(left, rest_NT)}
        pair = max(left, key=lambda item: gains[item][0])
        gain, error = gains[pair]
        if gain < LEAST or gain < ERRORS * error or not np.isfinite(gain):
            break
        found.append(Found(pair, round(gain, 6), round(error, 6)))
        [(_, (said_NT, said_MT))] = model.each([pair], rest_NT)
        rest_NT, rest_MT = rest_NT - said_NT, rest_MT - said_MT
        left.remove(pair)
    return found


class _Additive:
    """The additive model of all columns, and what pairs say beyond it."""

    def __init__(self, columns: Mapping[str, _Column]) -> None:
        import numpy as np

        self.columns = columns
        self.sides = (self._matrix(0), self._matrix(1))
        gram_PP = (self.sides[0].T @ self.sides[0]).toarray()
        self.inverse_PP = np.linalg.inv(gram_PP + np.eye(len(gram_PP)))

    def _matrix(self, side: int) -> Any:
        """Return the features of training (0) or validation (1) rows: a column of 1 for each code, and the values of numbers."""
        import numpy as np
        from scipy.sparse import csr_matrix, hstack

        parts = []
        for column in self.columns.values():
            count = len(column.codes[side])
            parts.append(csr_matrix((np.ones(count), column.codes[side], np.arange(count + 1)), shape=(count, column.size)))
            if column.values is not None:
                parts.append(csr_matrix(column.values[side][:, None]))
        return hstack(parts, format="csr")

    def residual(self, inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model, fitted on training rows, leaves of columns of training rows and of validation rows."""
        weights = self.inverse_PP @ (self.sides[0].T @ inner)
        return inner - self.sides[0] @ weights, outer - self.sides[1] @ weights

    def each(self, pairs: Sequence[Pair], rest_NT: np.ndarray) -> Iterator[tuple[Pair, tuple[np.ndarray, np.ndarray]]]:
        """Yield each pair with what it says of the residual on training rows [N, T] and on validation rows [M, T]."""
        numbers = [pair for pair in pairs if self.columns[pair[0]].kind == "number"]
        for start in range(0, len(numbers), 32):
            block = numbers[start:start + 32]
            inner_NQ, outer_MQ = self.residual(*self._products(block))
            for place, pair in enumerate(block):
                product_N = inner_NQ[:, place]
                slope_T = product_N @ rest_NT / (product_N @ product_N + SHRINK)
                yield pair, (product_N[:, None] * slope_T, outer_MQ[:, place, None] * slope_T)
        for pair in pairs:
            if self.columns[pair[0]].kind == "words":
                yield pair, self._cells(pair, rest_NT)

    def _products(self, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
        """Return the products of numbers, as a cross would be scaled: training rows [N, Q], validation rows [M, Q]."""
        import numpy as np

        found: list[tuple[np.ndarray, np.ndarray]] = []
        for first, second in pairs:
            a, b = self.columns[first].values, self.columns[second].values
            assert a is not None and b is not None
            found.append((a[0] * b[0], a[1] * b[1]))
        sides = [np.stack([item[side] for item in found], axis=1) for side in (0, 1)]
        mean, spread = sides[0].mean(axis=0), np.maximum(sides[0].std(axis=0), 1e-12)
        return np.clip((sides[0] - mean) / spread, -WILD, WILD), np.clip((sides[1] - mean) / spread, -WILD, WILD)

    def _cells(self, pair: Pair, rest_NT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shrunk mean residual of the cell of two categories that each row is in."""
        import numpy as np

        a, b = (self.columns[name] for name in pair)
        cells = [a.codes[side] * b.size + b.codes[side] for side in (0, 1)]
        count = np.bincount(cells[0], minlength=a.size * b.size)
        sums = [np.bincount(cells[0], weights=rest_NT[:, place], minlength=len(count)) for place in range(rest_NT.shape[1])]
        mean = np.stack(sums, axis=1) / (count + SHRINK)[:, None]
        return mean[cells[0]], mean[cells[1]]


def _gain(rest_MT: np.ndarray, said_MT: np.ndarray) -> tuple[float, float]:
    """Return by how much the squared error of validation rows falls, as a share of the target's variance, and its standard error."""
    import numpy as np

    fall_M = (np.square(rest_MT) - np.square(rest_MT - said_MT)).sum(axis=1)
    return float(fall_M.mean()), float(fall_M.std() / np.sqrt(len(fall_M)))


def _truths(train: pa.Table, validation: pa.Table, target: str) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return what is learnt, [N, T] and [M, T], of mean 0 and of variance 1 in all, and which rows have it (bool of each table)."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [table[target].combine_chunks() for table in (train, validation)]
    rows = [column.is_valid().to_numpy(zero_copy_only=False) for column in columns]
    known = [column.drop_null() for column in columns]
    if pa.types.is_string(known[0].type):
        counts = known[0].value_counts().to_pylist()
        labels = [item["values"] for item in sorted(counts, key=lambda item: (-item["counts"], item["values"]))[:CLASSES]]
        codes = [pc.fill_null(pc.index_in(column, value_set=pa.array(labels, pa.string())), -1).to_numpy() for column in known]
        found = [(item[:, None] == np.arange(len(labels))).astype(np.float64) for item in codes]
    else:
        numbers = [column.cast(pa.float64()).to_numpy() for column in known]
        low, high = np.quantile(numbers[0], [0.005, 0.995]) if len(numbers[0]) else (0.0, 0.0)
        found = [np.clip(item, low, high)[:, None] for item in numbers]
    if not len(found[0]):
        return found[0], found[1], rows
    mean, spread = found[0].mean(axis=0), float(np.sqrt(found[0].var(axis=0).sum())) or 1.0
    return (found[0] - mean) / spread, (found[1] - mean) / spread, rows


def _column(train: pa.Table, validation: pa.Table, name: str, kind: str) -> _Column:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [table[name].combine_chunks() for table in (train, validation)]
    if kind == "words":
        counts = columns[0].drop_null().value_counts().to_pylist()
        known = [item["values"] for item in sorted(counts, key=lambda item: (-item["counts"], item["values"]))[:WORDS]]
        places = [pc.fill_null(pc.index_in(column, value_set=pa.array(known, pa.string())), len(known)) for column in columns]
        codes = [pc.if_else(column.is_null(), len(known) + 1, place).to_numpy().astype(np.int64)
                 for column, place in zip(columns, places, strict=True)]
        return _Column(kind, (codes[0], codes[1]), len(known) + 2)
    values = [column.cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False) for column in columns]
    some = values[0][np.isfinite(values[0])]
    some = some if len(some) else np.zeros(1)
    edges = np.unique(np.quantile(some, np.linspace(0, 1, BINS + 1)[1:-1]))
    codes = [np.where(np.isfinite(item), np.searchsorted(edges, item), len(edges) + 1) for item in values]
    limits, middle = np.quantile(some, [0.001, 0.999]), float(np.median(some))
    plain = [np.clip(np.where(np.isfinite(item), item, middle), *limits) for item in values]
    mean, spread = plain[0].mean(), plain[0].std() or 1.0
    return _Column(kind, (codes[0], codes[1]), len(edges) + 2, ((plain[0] - mean) / spread, (plain[1] - mean) / spread))


def _association(column: _Column, truth_NT: np.ndarray) -> float:
    """Return the share of variance that the codes alone explain on training rows, less what as many codes of chance would."""
    import numpy as np

    codes, rows = column.codes[0], len(truth_NT)
    count = np.bincount(codes, minlength=column.size)
    sums = [np.bincount(codes, weights=truth_NT[:, place], minlength=column.size) for place in range(truth_NT.shape[1])]
    return float(sum((item**2 / np.maximum(count, 1)).sum() for item in sums) / rows) - ((count > 0).sum() - 1) / rows
