"""Feature crosses: derived input columns, computed from clean columns by one function for preparing, streaming, updating and serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    import pyarrow as pa

SIGN = "×"
LARGEST = 1e150
"""The largest product: that which the modality `number` reads; a larger one is missing."""


def name_of(columns: Sequence[str]) -> str:
    """Return the name of a cross.

    >>> name_of(["a", "b"])
    'a × b'
    """
    return f" {SIGN} ".join(columns)


def crosses_of(schema: Schema) -> dict[str, tuple[str, ...]]:
    """Return the derived input columns of a schema: name -> the columns that each is made of."""
    return {column.name: column.of for column in schema.by_role(Role.INPUT) if column.of}


def bases(names: Sequence[str], crosses: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the columns that must be read for these, each once: a cross stands for those that it is made of."""
    return list(dict.fromkeys(base for name in names for base in crosses.get(name, (name,))))


def crossed(columns: Sequence[pa.Array]) -> pa.Array:
    """Return the cross of clean columns, row by row: null where any is null.

    Of numbers their product, float64; null where it is beyond 1e150 either way. Of words the words together, `a × b`; a `×` within a
    word is doubled, so that different words never give one cross. No row depends on another.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(columns[0].type) or pa.types.is_large_string(columns[0].type):
        return pc.binary_join_element_wise(*(pc.replace_substring(item.cast(pa.string()), SIGN, SIGN * 2) for item in columns),
                                           pa.scalar(f" {SIGN} "))
    found = columns[0].cast(pa.float64())
    for item in columns[1:]:
        found = pc.multiply(found, item.cast(pa.float64()))
    return pc.if_else(pc.less_equal(pc.abs(found), LARGEST), found, pa.scalar(None, pa.float64()))


def with_crosses(columns: Mapping[str, pa.Array], crosses: Mapping[str, tuple[str, ...]]) -> dict[str, pa.Array]:
    """Return clean columns and, after them, their crosses; a column that has a cross's name gives way to it."""
    return {**columns, **{name: crossed([columns[base] for base in of]) for name, of in crosses.items()}}
