"""Columns of a sample whose lists hold a text that is cut into words already, as collections of tagged sentences come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.data.columns import is_typed, no_texts, of_type, texts

if TYPE_CHECKING:
    import pyarrow as pa

CUT = "lists of words, read as a text with a space between two"
FIT = 0.95
"""Part of the rows whose lists are as long as those of another column, from which one is believed to tag the other."""


def cut_words(table: pa.Table, target: str | None) -> tuple[tuple[str, ...], str | None]:
    """Return the columns that hold cut texts, and the column of their tags where none is named and one fits.

    A list in which a word comes twice is no set of labels. Of two columns whose lists are equally long in nearly every row, the one of
    fewer different values tags the other, whose values are texts.

    Args:
        table: the sample.
        target: the column to learn, or None.

    >>> import pyarrow as pa
    >>> cut_words(pa.table({"t": [["a", "b", "a"], ["c", "d"]], "y": [[0, 1, 0], [0, 0]]}), None)
    (('t',), 'y')
    >>> cut_words(pa.table({"genres": [["a", "b"], ["b", "c"]], "y": [1, 2]}), "y")
    ((), None)
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {name: _lists(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    lists = {name: values for name, values in found.items() if values is not None}
    running = {name: values for name, values in lists.items() if name != target and not pa.types.is_integer(values.type.value_type)
               and _repeats(values)}
    if target is not None or len(lists) < 2:
        return tuple(running), None
    different = {name: len(pc.unique(pc.list_flatten(values))) for name, values in lists.items()}
    for text in sorted(running, key=different.__getitem__, reverse=True):
        fits = [name for name in lists if name != text and different[name] < different[text] and _alike(lists[name], lists[text])]
        if fits:
            tags = max(fits, key=lambda name: (not pa.types.is_integer(lists[name].type.value_type), different[name]))
            return (text,), tags
    return tuple(running), None


def joined(table: pa.Table, names: tuple[str, ...]) -> pa.Table:
    """Return the table with these columns as texts, a space between two words."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in names:
        words = texts(table[name], lists=True).cast(pa.list_(pa.string()))
        table = table.set_column(table.column_names.index(name), name, pc.binary_join(words, " "))
    return table


def _lists(column: pa.ChunkedArray) -> pa.Array | None:
    """Return the values of a column of lists of texts or whole numbers, null where one is neither; None of another column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_typed(column) and 2 * len(of_type(column, "list")) <= len(column):
        return None
    values = texts(column, lists=True)
    kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not (
            pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return None
    return pc.if_else(no_texts(column, lists=True).is_null(), values, None)


def _repeats(values: pa.Array) -> bool:
    """Tell whether a row holds a value twice."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = pa.table({"row": pc.list_parent_indices(values), "word": pc.list_flatten(values)})
    return bool(pairs.group_by(["row", "word"]).aggregate([]).num_rows < len(pairs))


def _alike(some: pa.Array, others: pa.Array) -> bool:
    """Tell whether the lists of two columns are equally long in nearly every row that has both."""
    import pyarrow.compute as pc

    same = pc.equal(pc.list_value_length(some), pc.list_value_length(others)).drop_null()
    return len(same) > 0 and bool(pc.sum(same).as_py() >= FIT * len(same))
