"""Opening the columns of sources that keep a value's type beside it (JSON lines), and finding values of mixed types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@lru_cache(1024)
def literal(value: str | float | None, kind: str = "string") -> pa.Scalar:
    """Return a value for Arrow's functions, made once: each time that they make one of a plain value, pyarrow looks for a package.

    Args:
        value: or None for null.
        kind: Arrow's name of the type.
    """
    import pyarrow as pa

    return pa.scalar(value, pa.type_for_alias(kind))


def is_typed(column: pa.ChunkedArray) -> bool:
    """Tell whether a column is `struct<type, value>`, as JSON lines give it."""
    import pyarrow as pa

    kind = column.type
    return pa.types.is_struct(kind) and [kind.field(i).name for i in range(kind.num_fields)] == ["type", "value"]


def texts(column: pa.ChunkedArray) -> pa.Array:
    """Return a column's values as one array; typed columns give the text of their values."""
    import pyarrow.compute as pc

    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # the latter copies even a single chunk
    return pc.struct_field(whole, "value") if is_typed(column) else whole


def no_texts(column: pa.ChunkedArray) -> pa.Array:
    """Return for each value why it is no text (a list or a mapping of JSON), null where it may be one: string [N]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_typed(column):
        return pa.nulls(len(column), pa.string())
    kinds = pc.struct_field(column.combine_chunks(), "type")
    nested = pc.fill_null(pc.is_in(kinds, value_set=pa.array(["list", "mapping"])), False)
    return pc.if_else(nested, pc.binary_join_element_wise("no text but a", kinds, " "), pa.scalar(None, pa.string()))


@dataclass
class OneType:
    """Checks that a label column holds one type from its first row to its last, over all chunks of all sources.

    Attributes:
        name: the column.
        kind: the type found so far.
        first: where it was found, for the message.
    """

    name: str
    kind: str | None = None
    first: str = ""

    def open(self, column: pa.ChunkedArray, numbers: np.ndarray, source: str) -> pa.Array:
        """Return the column with its real type; values of two types are a UserError that names two rows."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if not is_typed(column):
            return texts(column)
        whole = column.combine_chunks()
        kinds, values = pc.struct_field(whole, "type"), pc.struct_field(whole, "value")
        for kind in pc.unique(kinds.drop_null()).to_pylist():
            row = int(np.flatnonzero(pc.fill_null(pc.equal(kinds, kind), False).to_numpy(zero_copy_only=False))[0])
            here = f"row {numbers[row]} of '{source}' holds a {kind} ({values[row].as_py()[:60]!r})"
            if self.kind is None:
                self.kind, self.first = kind, here
            elif self.kind != kind:
                raise UserError(f"the column '{self.name}' holds labels of mixed types: {self.first}, {here}; write all of them "
                                "in one way")
        if self.kind == "number":
            whole_numbers = not pc.any(pc.match_substring_regex(values, r"[.eE]|\d{19}")).as_py()
            return values.cast(pa.int64() if whole_numbers else pa.float64())
        return values
