"""What one column looks like in a sample: its kind, how it would be read, and why it may be of no use.

Kinds: number, boolean, category, date, text (sentences), words (a few words), vector, list, identifier, constant, empty, other.
N: values in the sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bessemer.data.columns import is_typed, of_type, texts
from bessemer.data.written import MINUS, NUMBER, as_code, as_numbers, goes_up_by_one, like_numbers

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 100
MISSING = ("?", "NA", "N/A", "n/a", "na", "#N/A", "null", "NULL", "None", "NaN", "nan", "-", "--")
BOOLEANS = ({"0", "1"}, {"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"}, {"on", "off"}, {"是", "否"}, {"有", "无"},
            {"对", "错"})
_MONTH = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"([T ,]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?( ?Z| ?[-+]\d{2}:?\d{2}| UTC)?)?"
DATES = tuple(f"^{form}{_TIME}$" for form in (
    r"\d{4}-\d{1,2}-\d{1,2}", r"\d{4}/\d{1,2}/\d{1,2}", r"\d{4}\.\d{1,2}\.\d{1,2}", r"\d{4}年\d{1,2}月\d{1,2}日",
    r"\d{1,2}[-/.]\d{1,2}[-/.]\d{4}", rf"\d{{1,2}}[- ]{_MONTH}[- ,]+\d{{4}}", rf"{_MONTH} \d{{1,2}},? \d{{4}}",
    r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"))

UNREAD = ("only lists of numbers, all of one length, are an input of a table; lists of words are a text (kind: text, lists: join), learnt "
          "from alone")


@dataclass(frozen=True)
class Found:
    """One column as it looks in the sample.

    Attributes:
        name: its name.
        kind: see the top of this file.
        distinct: different values in the sample; of lists, different members (0 where they cannot be told).
        missing: values missing in the sample; of numbers, dates and booleans also those written as `?`, `NA`, `-` and the like.
        counts: of its values, the most frequent first, where they are few.
        lengths: quantiles of its length in characters (p50, p95, p100).
        numeric: whether every value is a number, a few strays aside (see `note`).
        latin: part of its letters that are of the Latin script; 1 where it has none.
        modality: how it would be read as an input, ready for a recipe; None where it is of no use.
        reason: why it is of no use, or empty.
        note: what a person should know of it, or empty.
        whole: whether every value is a whole number.
        separator: the sign between the labels of one value where it seems to hold several, `""` where values are lists, or None.
        decimal: the decimal mark of its numbers where a recipe has to say it, else `auto`.
        either: a value whose comma may be for thousands or for decimals, where no value of the column tells; else empty.
    """

    name: str
    kind: str
    distinct: int
    missing: int
    counts: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    numeric: bool = False
    latin: float = 1.0
    modality: dict[str, Any] | None = None
    reason: str = ""
    note: str = ""
    whole: bool = False
    separator: str | None = None
    decimal: str = "auto"
    either: str = ""


def look(name: str, column: pa.ChunkedArray) -> Found:
    """Return what a column of N sampled values looks like."""
    import pyarrow.compute as pc

    vector = _vector(name, column)
    if vector is not None:
        return vector
    if _lists(column):
        return Found(name, "list", _members(column), texts(column).null_count, reason=UNREAD, separator=_beside(column))
    if is_typed(column) and _mostly(column, "mapping"):
        return Found(name, "other", 0, column.null_count,
                     reason="it holds mappings of values; write those that are meant as columns of their own")
    words = words_of(column)
    if words is None:
        return Found(name, "other", 0, column.null_count, reason=f"{texts(column).type} is no input in this version")
    present = words.drop_null()
    if not len(present):
        return Found(name, "empty", 0, len(words), reason="it has no value")
    bare = present.filter(pc.invert(pc.is_in(present, value_set=marks())))
    if not len(bare):
        return Found(name, "empty", 0, len(words), reason=f"it holds nothing but {present[0].as_py()!r}")
    kind, extra = _strict(column, bare)
    values = pc.replace_substring(bare, MINUS, "-") if kind == "number" else bare if kind else present
    sizes = _sizes(values)
    counted = values.value_counts()
    distinct = len(counted)
    few = distinct <= FEW and (distinct <= max(2, len(values) // 5) or (sizes["p100"] <= 20 and len(values) <= FEW))
    wordy = float(pc.mean(pc.count_substring_regex(values, r"\s+|[^\x00-\x{2E7F}]")).as_py())
    if not kind:
        few = few and not (wordy >= 4 and distinct > len(values) / 2)
        kind = _loose(distinct, len(values), few, wordy, sizes["p50"])
    letters, latin = (int(pc.sum(pc.count_substring_regex(values, pattern)).as_py()) for pattern in (r"\pL", r"\p{Latin}"))
    shown = few and kind in ("category", "boolean", "number", "constant")
    missing = len(words) - len(values)
    found = Found(name, kind, distinct, missing, _frequent(counted) if shown else {},
                  sizes, latin=latin / letters if letters else 1.0, **extra,
                  separator=_separator(values, distinct) if not extra.get("numeric") and kind != "date" else None)
    return judged(found, len(values), values)


def _frequent(counted: pa.Array) -> dict[str, int]:
    """Return value -> how often it occurs, the most frequent first."""
    entries = sorted(counted.to_pylist(), key=lambda entry: (-entry["counts"], entry["values"]))
    return {entry["values"]: entry["counts"] for entry in entries}


def judged(found: Found, present: int, values: pa.Array) -> Found:
    """Return what was found with the modality that it would be read by, or the reason why it is of no use."""
    from dataclasses import replace

    if found.distinct == 1 and not found.missing:
        return replace(found, kind="constant", reason=f"every row holds {values[0].as_py()[:40]!r}")
    if found.kind == "identifier":
        return replace(found, reason="every row has a value of its own" + (f"; {found.note}" if found.note else ""), note="")
    if found.whole and found.distinct == present >= 10 and goes_up_by_one(values):
        return replace(found, kind="identifier", reason="it counts the rows")
    if found.kind == "category" and present < FEW and found.distinct > max(2, present / 2):
        return replace(found, reason="nearly every row has a value of its own")
    kind = "words" if found.kind == "text" else found.kind
    return replace(found, modality=number_of(found) if kind == "number" else {"kind": kind})


def number_of(found: Found) -> dict[str, Any]:
    """Return how a column is read as numbers, ready for a recipe."""
    return {"kind": "number", **({} if found.decimal == "auto" else {"decimal": found.decimal})}


def words_of(column: pa.ChunkedArray) -> pa.Array | None:
    """Return a column's values as trimmed strings, null where missing; None where they have no such form."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = texts(column)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_duration(kind) \
            or pa.types.is_interval(kind) or pa.types.is_fixed_size_binary(kind):
        return None
    if pa.types.is_floating(kind):
        values = values.cast(pa.float64()) if kind == pa.float16() else values
        values = pc.if_else(pc.is_nan(values), None, values)
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(words, ""), None, words)


def marks() -> pa.Array:
    """Return the texts that mean a missing value in columns of numbers, dates and booleans."""
    import pyarrow as pa

    return pa.array(MISSING, pa.string())


def _mostly(column: pa.ChunkedArray, kind: str) -> bool:
    """Tell whether most values of JSON are of a kind: a few lists among texts are strays, as are a few mappings among lists."""
    import pyarrow.compute as pc

    counted = pc.struct_field(column.combine_chunks(), "type").drop_null().value_counts().to_pylist()
    kinds = {entry["values"]: entry["counts"] for entry in counted}
    return bool(2 * kinds.get(kind, 0) > sum(kinds.values()))


def _lists(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    if is_typed(column):
        return _mostly(column, "list")
    return pa.types.is_list(column.type) or pa.types.is_large_list(column.type)


def _members(column: pa.ChunkedArray) -> int:
    """Return how many different values the lists of a column hold, 0 where they cannot be told."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pa.chunked_array([texts(of_type(column, "list"), lists=True)]) if is_typed(column) else column
    kind = column.type
    plain = (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not pa.types.is_nested(kind.value_type)
    return len(pc.unique(pc.list_flatten(column)).drop_null()) if plain else 0


def _beside(column: pa.ChunkedArray) -> str:
    """Return the sign between the labels of texts that stand among lists, empty where there are none or they show none."""
    import pyarrow.compute as pc

    words = words_of(of_type(column, "text")) if is_typed(column) else None
    present = words.drop_null() if words is not None else ()
    return (_separator(present, len(pc.unique(present))) or "") if len(present) else ""


def _vector(name: str, column: pa.ChunkedArray) -> Found | None:
    """Return what a column of lists of numbers of one length is, None of another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    fixed = pa.types.is_fixed_size_list(kind)
    if not (fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return None
    if not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return None
    sizes = [kind.list_size] if fixed else pc.unique(pc.list_value_length(column).drop_null()).to_pylist()
    if len(sizes) != 1 or not sizes[0] or column.null_count == len(column):
        return None
    note = f"{sizes[0]:,} numbers a row" + (f"; {column.null_count:,} rows have none and will be set aside" if column.null_count else "")
    return Found(name, "vector", 0, column.null_count, modality={"kind": "vector"}, note=note, separator="")


def _sizes(values: pa.Array) -> dict[str, int]:
    import numpy as np
    import pyarrow.compute as pc

    sizes = pc.utf8_length(values).to_numpy()
    return {f"p{mark}": int(np.quantile(sizes, mark / 100, method="lower")) for mark in (50, 95, 100)}


def _strict(column: pa.ChunkedArray, values: pa.Array) -> tuple[str, dict[str, Any]]:
    """Return the kind that every value allows (boolean, date, number), or an empty one, and what goes with it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def every(pattern: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())

    if pa.types.is_boolean(column.type):
        return "boolean", {}
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        return "date", {}
    first = values.slice(0, 200)
    if len(first) and any(bool(pc.all(pc.match_substring_regex(first, form)).as_py()) and every(form) for form in DATES) \
            and not (every(NUMBER) and len(values) < 20):
        either = every(DATES[4]) and not every(r"^(1[3-9]|2\d|3[01])[-/.]")
        return "date", {"note": "day or month first? Both can be read" if either and _either(values) else ""}
    code = as_code(values)
    if code is not None:
        return "", code
    found = as_numbers(values)
    unlike = len(pc.unique(values))
    low = {word.lower() for word in pc.unique(values).to_pylist()} if unlike <= 6 else set()
    if found is not None:
        return "boolean" if found.get("whole") and low == {"0", "1"} else "number", found
    if not low & set().union(*BOOLEANS) and (note := like_numbers(values)):
        return "", {"note": note}
    return ("boolean" if low in BOOLEANS else ""), {}


def _either(values: pa.Array) -> bool:
    """Tell whether no value shows which of two numbers is the day."""
    import pyarrow.compute as pc

    return not pc.any(pc.match_substring_regex(values, r"^(\d{1,2}[-/.])?(1[3-9]|2\d|3[01])[-/.]")).as_py()


def _loose(distinct: int, present: int, few: bool, wordy: float, middle: int) -> str:
    if few:
        return "category"
    if wordy >= 1 or middle > 40:
        return "text" if wordy >= 4 or middle > 40 else "words"
    return "identifier" if distinct == present >= 20 else "category"


def _separator(values: pa.Array, distinct: int) -> str | None:
    """Return the sign between several labels of one value, where few short labels recur in many combinations."""
    import pyarrow.compute as pc

    for sign in ("|", ";", ","):
        split = pc.split_pattern(values, sign)
        if pc.mean(pc.greater(pc.list_value_length(split), 1)).as_py() < 0.1:
            continue
        parts = pc.utf8_trim_whitespace(pc.list_flatten(split))
        kinds = len(pc.unique(parts))
        short = pc.max(pc.utf8_length(parts)).as_py() <= 30
        if short and 2 <= kinds <= FEW and kinds < distinct and len(parts) >= 5 * kinds:
            return sign
    return None
