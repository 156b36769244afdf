"""Rows that a caller hands over in Python, as a table: a table, columns, rows, a data frame, texts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest

if TYPE_CHECKING:
    import pyarrow as pa


def table_of(rows: Any, inputs: Sequence[str], aliases: Mapping[str, Sequence[str]] | None = None) -> pa.Table:
    """Return rows as a table.

    Args:
        rows: a pyarrow table or record batch, a mapping of columns, a list of rows (mappings), a data frame of pandas or another
            library (`__arrow_c_stream__`, `__dataframe__` or `to_dict`), or a list of texts where there is one input column.
        inputs: names of the input columns, for texts and for messages, and of which every row of a list must hold those that one holds.
        aliases: input column -> other names under which a row may hold it.

    Raises:
        UserError: what is none of these, columns of unequal lengths, or a row without an input column that others have.
    """
    import pyarrow as pa

    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, Mapping):
        return _of_columns(rows)
    if isinstance(rows, (str, bytes)):
        raise UserError("expected a list of texts, not one text; write predict([text])" if len(inputs) == 1
                        else f"expected rows, not one text; the model reads the columns {_list(inputs)}")
    flat = isinstance(rows, (pa.Array, pa.ChunkedArray)) or getattr(rows, "ndim", 2) == 1  # texts, as numpy or pandas hold them
    if not flat and any(hasattr(rows, name) for name in ("__arrow_c_stream__", "__dataframe__", "to_dict")):
        return _of_frame(rows)
    return _of_sequence(rows, inputs, aliases or {})


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _of_columns(columns: Mapping[Any, Any]) -> pa.Table:
    import pyarrow as pa

    found = {}
    check_names(columns)
    for name, values in columns.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
            raise UserError(f"the column '{name}' is one value ({values!r:.40}), not a list; give a list for every column, and one row as "
                            "[row]")
        found[str(name)] = _array(str(name), values)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        shortest, longest = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise UserError(f"the columns have different lengths: '{shortest}' has {lengths[shortest]}, '{longest}' {lengths[longest]}; give "
                        "every column a value a row (None where it is missing)")
    return pa.table(found)


def _array(name: str, values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    whole = hasattr(values, "__array__") and str(getattr(values, "dtype", "")) != "object"
    listed = values if whole else list(values)
    try:
        # as from a data frame: what Python writes for a missing value (not a number, pandas' NA and NaT) is one, whatever stands beside it
        found = pa.array(listed, None if whole else _kind_of(listed), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError) as error:
        if whole:
            raise UserError(f"the column '{name}' holds values that cannot be read ({str(error).splitlines()[0]:.120}); give one number or "
                            "one text a row") from None
        return _typed(name, listed)
    if not whole and pa.types.is_floating(found.type) and not pa.types.is_float64(found.type):  # numpy's own floats in a list
        return pc.if_else(pc.is_nan(found), None, found)
    return found


def _kind_of(values: Sequence[Any]) -> Any:
    """Return the type that Arrow would find for values of one plain kind, so that it need not look; None: it may look.

    It does so with pandas, for which it searches the disk in vain at each call where there is none: most of a row's time in a server.
    """
    import pyarrow as pa

    kinds = set(map(type, values)) - {type(None)}
    if kinds == {float} and all(value is None or value != value for value in values):
        kinds = set()  # not a number is a missing value, of no kind
    types = {str: pa.string, bool: pa.bool_, int: pa.int64, float: pa.float64}
    if len(kinds) > 1 or not kinds <= types.keys():
        return None
    return types[kinds.pop()]() if kinds else pa.null()


def _typed(name: str, values: Sequence[Any]) -> Any:
    """Return values of mixed types, or beyond every type, as JSON lines give them: `struct<type, value>`, the value in text."""
    import pyarrow as pa

    pairs = [_kind(value) for value in values]
    try:
        words = pa.array([word for _, word in pairs], pa.string())
    except UnicodeEncodeError:
        wrong = next(row for row, (_, word) in enumerate(pairs) if not _is_text(word))
        raise UserError(f"row {wrong + 1}: the column '{name}' holds no Unicode text ({values[wrong]!a:.60}); expected a str without lone "
                        "surrogates") from None
    kinds = pa.array([kind for kind, _ in pairs], pa.string())
    return pa.StructArray.from_arrays([kinds, words], ["type", "value"])


def _kind(value: Any) -> tuple[str | None, str | None]:
    """Return what a Python value is in JSON, and its text."""
    if is_missing(value):
        return None, None
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, Mapping):
        return "mapping", str(value)
    if isinstance(value, bytes):
        return "text", value.decode("utf-8", "replace")
    if isinstance(value, Number):
        return "number", str(value)
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return "text", str(value)
    return "list", json.dumps(list(value), ensure_ascii=False, default=str)  # as JSON lines give it


def check_names(names: Iterable[Any]) -> None:
    """Raise a UserError where two columns have one name: of a data frame or, as 1 and "1", of a mapping."""
    name, count = next(iter(Counter(map(str, names)).most_common(1)), ("", 0))
    if count > 1:
        raise UserError(f"the rows have {count} columns named '{name}'; rename or remove all but one")


def _of_frame(frame: Any) -> pa.Table:
    """Return a data frame's columns; its index is none of them."""
    import pyarrow as pa

    check_names(getattr(frame, "columns", ()))
    if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__dataframe__"):
        try:
            if hasattr(frame, "__arrow_c_stream__"):
                return pa.table(frame)
            from pyarrow.interchange import from_dataframe

            made: pa.Table = from_dataframe(frame)
            return made
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise UserError(f"the data frame cannot be read ({str(error).splitlines()[0]:.160}); give every column one type") from None
    return _of_columns(frame.to_dict("list"))


def _of_sequence(rows: Any, inputs: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> pa.Table:
    import pyarrow as pa

    if not hasattr(rows, "__iter__"):
        raise UserError(f"expected rows (a table, a mapping of columns, a list of rows or of texts), not {rows!r:.40}")
    listed = rows.to_pylist() if isinstance(rows, (pa.Array, pa.ChunkedArray)) else list(rows)
    if listed and isinstance(listed[0], Mapping):
        wrong = next((index for index, row in enumerate(listed) if not isinstance(row, Mapping)), None)
        if wrong is not None:
            raise UserError(f"row {wrong + 1} is no mapping of columns ({type(listed[wrong]).__name__}); expected rows such as "
                            f"{{'{next(iter(listed[0]), 'column')}': value}}")
        return _of_rows(listed, inputs, aliases)
    if not listed:
        return pa.table({name: pa.nulls(0, pa.string() if len(inputs) == 1 else pa.null()) for name in inputs})
    if len(inputs) != 1:
        raise UserError(f"the model has {len(inputs)} input columns ({_list(inputs)}); give a table, a mapping of columns, or a list of "
                        "rows, each a mapping")
    try:
        return pa.table({inputs[0]: pa.array(listed, pa.string(), from_pandas=True)})
    except UnicodeEncodeError:
        wrong = next(index for index, text in enumerate(listed) if isinstance(text, str) and not _is_text(text))
        raise UserError(f"text {wrong + 1} is no Unicode text ({listed[wrong]!a:.60}); expected a str without lone surrogates: is the "
                        "terminal or script in UTF-8?") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        wrong = next((index for index, value in enumerate(listed) if isinstance(value, str) != isinstance(listed[0], str)), None)
        if wrong is not None:
            raise UserError(f"text {wrong + 1} is no text as those before it ({type(listed[wrong]).__name__}, {listed[wrong]!r:.60}); "
                            "expected texts alone, or lists of words alone") from None
        return pa.table({inputs[0]: _array(inputs[0], listed)})  # numbers, lists of words: read as in rows that are mappings


def _of_rows(rows: Sequence[Mapping[Any, Any]], inputs: Sequence[str], aliases: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return the columns of rows that are mappings; an input column that some rows have and one has not is a UserError that names both.

    What the model does not read (a target, further columns) may be absent from any row. An input that no row has is left to whoever
    reads the table, as it is of a file.
    """
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    if not all(isinstance(name, str) for name in names):
        rows = [{str(name): value for name, value in row.items()} for row in rows]
        names = dict.fromkeys(map(str, names))
    if all(len(row) == len(names) for row in rows):
        return pa.table({name: _array(name, [row[name] for row in rows]) for name in names})
    found = {name: [row.get(name) for row in rows] for name in names}
    keys = {name: [key for key in (name, *aliases.get(name, ())) if key in names] for name in inputs}
    lacking = [(place, name) for name, known in keys.items() if known
               for place, row in enumerate(rows) if not any(key in row for key in known)]
    if lacking:
        place, name = min(lacking, key=lambda one: one[0])
        raise UserError(f"row {place + 1} has no column '{name}', which the model reads{nearest(name, rows[place])}; give every row all "
                        "columns, None where a value is missing")
    for name, known in keys.items():
        if len(known) > 1:  # each row is read under the name that it has
            found[name] = [next(row[key] for key in known if key in row) for row in rows]
            found = {key: values for key, values in found.items() if key == name or key not in known}
    return pa.table({name: _array(name, values) for name, values in found.items()})


def label_words(values: Sequence[Any]) -> list[str]:
    """Return different labels as recipes write them, all different again: 1.0 as `1`, True as `true`, texts without spaces around them.

    >>> label_words([0.5, 1.0, 2.0]), label_words(["", "a", "a "])
    (['0.5', '1', '2'], ['(0)', 'a (1)', 'a (2)'])
    """
    found = [_label(value) for value in values]
    several = Counter(found)
    found = [word if word and several[word] == 1 else f"{word} ({code})".strip() for code, word in enumerate(found)]
    return found if len(set(found)) == len(found) else [f"c{code:05d}" for code in range(len(found))]


def _label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).encode("utf-8", "backslashreplace").decode().strip()


def is_missing(value: Any) -> bool:
    """Tell whether a Python value is none: None, not a number, or what pandas calls NA and NaT (known by name, as pandas may be absent)."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Number) and value != value)


def _is_text(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value))
