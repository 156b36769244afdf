"""Opening the columns of sources that keep a value's type beside it (JSON lines), and finding values of mixed types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa

    Cleaning = Callable[[pa.Array], tuple[pa.Array, pa.Array]]


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


def texts(column: pa.ChunkedArray, *, lists: bool = False) -> pa.Array:
    """Return a column's values as one array; typed columns give the text of their values.

    With `lists`, typed columns give lists where all are lists, and where some are lists of texts: a single value is a list of one then.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if lists and holds_lists(column):
        return _opened(column.combine_chunks())
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # the latter copies even a single chunk
    if not is_typed(column):
        return whole
    values = pc.struct_field(whole, "value")
    if not lists or not pc.any(pc.equal(pc.struct_field(whole, "type"), "list")).as_py():
        return values
    opened = _opened(whole)
    if opened.type.value_type != pa.string():
        return values
    single = values.is_valid().to_numpy(zero_copy_only=False) & opened.is_null().to_numpy(zero_copy_only=False)
    return pc.if_else(pa.array(single), one_each(values), opened)


def one_each(values: pa.Array) -> pa.ListArray:
    """Return a list of one for each value; null where it is."""
    import numpy as np
    import pyarrow as pa

    whole = pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values)
    return pa.ListArray.from_arrays(whole.offsets, values, mask=values.is_null())


def holds_lists(column: pa.ChunkedArray) -> bool:
    """Tell whether a typed column holds lists and, mappings aside, nothing else."""
    import pyarrow.compute as pc

    if not is_typed(column):
        return False
    kinds = set(pc.unique(pc.struct_field(column.combine_chunks(), "type").drop_null()).to_pylist())
    return "list" in kinds and kinds <= {"list", "mapping"}


def of_type(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """Return the values of a typed column that are of one type."""
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    return column.filter(pc.equal(pc.struct_field(whole, "type"), kind))


def with_lists(table: pa.Table) -> pa.Table:
    """Return a table whose typed columns of nothing but lists are lists, as Parquet holds them."""
    for place, name in enumerate(table.column_names):
        if holds_lists(table[name]) and no_texts(table[name], lists=True).null_count == len(table):
            table = table.set_column(place, name, texts(table[name], lists=True))
    return table


def _opened(column: pa.StructArray) -> pa.Array:
    """Return lists written as JSON: of whole numbers, numbers or texts, as all their elements allow; what is no list is null."""
    import duckdb
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.if_else(pc.equal(pc.struct_field(column, "type"), "list"), pc.struct_field(column, "value"), literal(None))
    with duckdb.connect() as database:
        database.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        rows = database.from_arrow(pa.table({"line": flat}))
        kinds = "list_distinct(flatten(list(list_transform(from_json(line, '[\"JSON\"]'), lambda item: json_type(item)))))"
        found = set(rows.aggregate(f"{kinds} AS kinds").fetchall()[0][0] or ()) - {"NULL"}
        whole = found <= {"UBIGINT", "BIGINT"}
        kind = "BIGINT" if found and whole else "DOUBLE" if found and found <= {"UBIGINT", "BIGINT", "DOUBLE"} else "VARCHAR"
        try:
            lists = rows.project(f"from_json(line, '[\"{kind}\"]') AS found").to_arrow_table()["found"]
        except duckdb.Error:  # whole numbers beyond 64 bits
            lists = rows.project("from_json(line, '[\"DOUBLE\"]') AS found").to_arrow_table()["found"]
    return lists.combine_chunks() if lists.num_chunks != 1 else lists.chunk(0)


ONE_VALUE = ("write one value a row (in SQL by array_to_string or unnest), or give the column a kind that takes lists: vector for an "
             "input, multilabel or tags for a target")
"""What to do where a column holds lists and its kind takes none."""


def no_texts(column: pa.ChunkedArray, *, lists: bool = False, what: str = "no text") -> pa.Array:
    """Return for each value why it is no text (a list or a mapping of JSON), null where it may be one: string [N].

    Args:
        column: its values.
        lists: whether a list is a value, unless it holds lists or mappings.
        what: what is said of others.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not is_typed(column):
        return pa.nulls(len(column), pa.string())
    kinds = pc.struct_field(column.combine_chunks(), "type")
    nothing = literal(None)
    nested = pc.fill_null(pc.is_in(kinds, value_set=pa.array(["mapping"] if lists else ["list", "mapping"])), False)
    why = pc.if_else(nested, pc.binary_join_element_wise(f"{what} but a", kinds, " "), nothing)
    if not lists or not pc.any(pc.equal(kinds, "list")).as_py():
        return why
    inner = pc.replace_substring_regex(pc.struct_field(column.combine_chunks(), "value"), r'"(?:[^"\\]|\\.)*"', "")
    deep = pc.and_(pc.equal(kinds, "list"), pc.match_substring_regex(inner, r"^\s*\[[^\[{]*[\[{]"))
    return pc.if_else(pc.fill_null(deep, False), literal("a list of lists or mappings"), why)


@dataclass
class OneType:
    """Checks that a label column holds one type from its first row to its last, over all chunks of all sources.

    Attributes:
        name: the column.
        lists: whether its values may be lists; mappings, and lists elsewhere, are null here, as `wrong` tells.
        kind: the type of single values found so far.
        first: where it was found, for the message.
    """

    name: str
    lists: bool = False
    kind: str | None = None
    first: str = ""

    def wrong(self, column: pa.ChunkedArray) -> pa.Array:
        """Return for each value why it is no label: string [N], null where it may be one."""
        return no_texts(column, lists=self.lists, what="no single value")

    def clean(self, column: pa.ChunkedArray, where: tuple[np.ndarray, str], function: Cleaning) -> tuple[pa.Array, pa.Array]:
        """Return what `function` makes of the values of `open`, and why some are no label; of lists and single values each apart.

        Args:
            column: its values, [N].
            where: the rows' numbers, [N], and their source's name.
            function: values -> (clean values, reasons).
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        numbers, source = where
        whole = column.combine_chunks()
        listed = pc.equal(pc.struct_field(whole, "type"), "list").fill_null(False) if self.lists and is_typed(column) else None
        if listed is None or not 0 < listed.true_count < len(listed) - whole.null_count:
            return function(self.open(column, numbers, source))
        parts = [(mask, mask.to_numpy(zero_copy_only=False)) for mask in (listed, pc.invert(listed))]
        found = [function(self.open(pa.chunked_array([whole.filter(mask)]), numbers[here], source)) for mask, here in parts]
        back = pa.array(np.argsort(np.concatenate([np.flatnonzero(here) for _, here in parts]), kind="stable"))
        values, why = (pa.concat_arrays([part[place] for part in found]).take(back) for place in (0, 1))
        return values, why

    def open(self, column: pa.ChunkedArray, numbers: np.ndarray, source: str) -> pa.Array:
        """Return the column with its real type; values of two types are a UserError that names two rows."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if not is_typed(column):
            return texts(column)
        whole = column.combine_chunks()
        fine = self.wrong(column).is_null()
        kinds, values = (pc.if_else(fine, pc.struct_field(whole, part), literal(None)) for part in ("type", "value"))
        unlike = pc.unique(kinds.drop_null()).to_pylist()
        for kind in unlike if unlike != ["list"] else ():
            row = int(np.flatnonzero(pc.fill_null(pc.equal(kinds, kind), False).to_numpy(zero_copy_only=False))[0])
            here = f"row {numbers[row]} of '{source}' holds a {kind} ({values[row].as_py()[:60]!r})"
            if self.kind is None:
                self.kind, self.first = kind, here
            elif self.kind != kind:
                raise UserError(f"the column '{self.name}' holds labels of mixed types: {self.first}, {here}; write all of them "
                                "in one way")
        if unlike == ["list"]:
            return texts(pa.chunked_array([pa.StructArray.from_arrays([kinds, values], ["type", "value"])]), lists=True)
        if self.kind == "number":
            whole_numbers = not pc.any(pc.match_substring_regex(values, r"[.eE]|\d{19}")).as_py()
            return values.cast(pa.int64() if whole_numbers else pa.float64())
        return values
