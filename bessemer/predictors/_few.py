"""A handful of rows of a table, read value by value: what a column made of a value before is remembered, a number is scaled alone.

A call of Arrow or NumPy costs microseconds however little it is given, and a row needs hundreds of them. The rules stay with the columns:
a value that is met for the first time goes through its column's own cleaning and encoding, numbers have the arithmetic of `Scaling.one`,
and rows in which anything is amiss are left to those who read many, whose errors they then are. Legend: N rows, F numbers, K codes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._scaling import Scaling
    from bessemer.modalities.vectors import Vectors
    from bessemer.predictors._cleaner import Cleaner

ROWS, CELLS = 32, 512
"""Rows, and values in all, at most; of more, calls that take all of them together cost less."""
MOST, ROOM, LONGEST = 4096, 2**20, 64
"""Values that a column remembers, features that these may have in all, and the longest text among them."""
LAYOUTS = 8
"""Tables' layouts (names and types of columns) of which it is remembered how they are read."""

NUMBERS = frozenset(("double", "float", "bool", "null", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))))
KEYS = frozenset(("string", "large_string", "bool", "null", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))
"""Types whose values in Python are the numbers that the modality reads; and those whose values are one where they are equal."""

Features = tuple["np.ndarray | None", "np.ndarray | None"]


class CleanRows:
    """Clean input columns of raw rows, each made when it is asked for."""

    def __init__(self, cleaner: Cleaner, rows: pa.Table, places: dict[str, int]) -> None:
        self._cleaner, self._rows, self._places = cleaner, rows, places

    def __len__(self) -> int:
        """Return N."""
        return len(self._rows)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column under the schema's name, [N]."""
        import pyarrow as pa

        return pa.chunked_array([self.array(name)])

    def array(self, name: str) -> pa.Array:
        """Return the same as one array."""
        from bessemer.data.crosses import crossed

        if name in self._cleaner.crosses:
            return crossed([self.array(base) for base in self._cleaner.crosses[name]])
        return self._cleaner.column(name, self._cleaner.opened(name, self._rows.column(self._places[name])))


@dataclass(frozen=True, eq=False)
class _Column:
    """An encoded column.

    Attributes:
        name: under the schema.
        numbers, codes: its features among those of a row.
        bases: the raw columns that it is made of: itself, or those of a cross.
        scaling: of a number.
        limits: of a number that is no cross: the smallest and the largest, and whether it may be missing.
        known: types of the bases -> their values -> its features.
    """

    name: str
    numbers: slice
    codes: slice
    bases: tuple[str, ...]
    scaling: Scaling | None
    limits: tuple[float, float, bool] | None
    known: dict[tuple[str, ...], dict[Hashable, Features]] = field(default_factory=dict)

    @cached_property
    def most(self) -> int:
        """Return how many values are remembered of each type."""
        return min(MOST, ROOM // max(1, self.numbers.stop - self.numbers.start + self.codes.stop - self.codes.start))


class _Layout(NamedTuple):
    """How tables of one layout are read.

    Attributes:
        schema: their own, of Arrow.
        places: input column -> its place.
        values: input columns whose values are taken as Python's.
        plain: numbers that are taken as they are; `at`: where all their features go.
        recalled: columns whose values are looked up, with the memory.
        other: columns that are read in no quicker way.
    """

    schema: pa.Schema
    places: dict[str, int]
    values: list[tuple[str, int]]
    plain: list[_Column]
    at: np.ndarray
    recalled: list[tuple[_Column, dict[Hashable, Features]]]
    other: list[_Column]


class Few:
    """Reads a handful of raw rows; see `read`."""

    def __init__(self, cleaner: Cleaner, vectors: Vectors) -> None:
        self.cleaner, self.vectors = cleaner, vectors
        self.columns = []
        for column in vectors.columns:
            n0, n1, c0, c1 = vectors.info["columns"][column.name]
            self.columns.append(_Column(column.name, slice(n0, n1), slice(c0, c1), column.of or (column.name,),
                                        vectors.scalings.get(column.name), None if column.of else cleaner.limits.get(column.name)))
        read = {base for column in self.columns for base in column.bases}
        self.rows = CELLS // max(1, len(self.columns)) if read >= {column.name for column in cleaner.columns} else 0
        self.shape = vectors.info["numbers"], len(vectors.info["cardinalities"])
        self.layouts: list[_Layout] = []

    def read(self, rows: pa.Table) -> tuple[CleanRows, np.ndarray, np.ndarray] | None:
        """Return clean columns, numbers float32 [N, F] and codes int32 [N, K], bit for bit those of `Cleaner` and `Vectors.encode`.

        None: these rows are not for here: too many, or something is amiss in them.
        """
        import numpy as np
        import pyarrow as pa

        count = len(rows)
        if not 0 < count <= min(ROWS, self.rows):
            return None
        layout = self._layout(rows)
        clean = CleanRows(self.cleaner, rows, layout.places)
        out = np.empty((count, self.shape[0]), np.float32), np.empty((count, self.shape[1]), np.int32)
        try:
            values = {name: rows.column(place).to_pylist() for name, place in layout.values}
            if layout.plain and not _scaled(layout, values, out[0]):
                return None
            for column, known in layout.recalled:
                keys = values[column.bases[0]] if len(column.bases) == 1 else list(zip(*map(values.get, column.bases), strict=True))
                for row, key in enumerate(keys):
                    features = known.get(key)
                    if features is None:
                        features = self._features(column, CleanRows(self.cleaner, rows.slice(row, 1), layout.places))
                        if len(known) < column.most and all(len(values[base][row]) <= LONGEST for base in column.bases
                                                            if isinstance(values[base][row], str)):
                            known[key] = features
                    _write(column, row, features, out)
            for column in layout.other:
                _write(column, slice(None), self._features(column, clean), out)
        except (UserError, pa.ArrowException, UnicodeDecodeError):
            return None  # it is said by those who know the row and look at the columns in order
        return clean, *out

    def _layout(self, rows: pa.Table) -> _Layout:
        """Return how a table is read; a column that it lacks is a UserError."""
        import numpy as np

        schema = rows.schema
        for known in self.layouts:
            if known.schema.equals(schema):
                return known
        places = self.cleaner.places(rows.column_names)
        kinds = {name: str(schema.types[place]) for name, place in places.items()}
        own = {column.name: tuple(kinds[base] for base in column.bases) for column in self.columns}
        plain = [column for column in self.columns if column.limits is not None and own[column.name][0] in NUMBERS]
        recalled = [column for column in self.columns if column not in plain and KEYS.issuperset(own[column.name])]
        wanted = {base for column in (*plain, *recalled) for base in column.bases}
        at = np.array([place for column in plain for place in range(column.numbers.start, column.numbers.stop)], np.int64)
        found = _Layout(schema, places, [item for item in places.items() if item[0] in wanted], plain, at,
                        [(column, column.known.setdefault(own[column.name], {})) for column in recalled],
                        [column for column in self.columns if column not in plain and column not in recalled])
        self.layouts = [found, *self.layouts[:LAYOUTS - 1]]
        return found

    def _features(self, column: _Column, clean: CleanRows) -> Features:
        """Return what a column makes of clean rows: its numbers and codes, None for none."""
        import numpy as np

        values = clean.array(column.name)
        if column.scaling is not None:
            return np.array([column.scaling.one(value) for value in values.to_pylist()], np.float32), None
        found = self.vectors.coded(column.name, values)
        return found.get("numbers"), found.get("codes")


def _scaled(layout: _Layout, values: Mapping[str, Sequence[float | None]], out_NF: np.ndarray) -> bool:
    """Write the features of numbers that are taken as they are; tell whether nothing is amiss with any."""
    for row in range(len(out_NF)):
        found: list[float] = []
        for column in layout.plain:
            assert column.scaling is not None and column.limits is not None
            value, (low, high, holes) = values[column.name][row], column.limits
            if not (holes if value is None else low <= value <= high):  # not a number is within no limits
                return False
            found += column.scaling.one(value)
        out_NF[row, layout.at] = found
    return True


def _write(column: _Column, row: int | slice, features: Features, out: tuple[np.ndarray, np.ndarray]) -> None:
    numbers, codes = features
    if numbers is not None:
        out[0][row, column.numbers] = numbers
    if codes is not None:
        out[1][row, column.codes] = codes
