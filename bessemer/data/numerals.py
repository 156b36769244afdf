"""Written numbers: which text is one number and no other, in Arrow's vectorised functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.errors import UserError
from bessemer.data.columns import literal

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,5})?$"
INFINITE = r"^[+-]?(?i:inf|infinity|∞)$"


def _grouped(group: str, point: str, alone: bool) -> str:
    """Return the pattern of digits in groups of three: with a decimal mark, or two groups at least, or one where that is said."""
    groups = rf"({group}\d{{3}})"
    return rf"^[+-]?[0-9]{{1,3}}({groups}{'+' if alone else '{2,}'}|{groups}+{point}\d*)$"


def parsed(words: pa.Array, decimal: str) -> pa.Array:
    """Return the numbers that trimmed strings say, float64; null where one says none or could say two.

    Args:
        words: strings; null stays null.
        decimal: the decimal mark, `"."` or `","`, the other being the mark of thousands; `"auto"`: a point, and marks of
            thousands only where they can be nothing else (`1,234.5`, `1,234,567`, but not `1,234`).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.replace_substring(words, "\u2212", "-")
    if decimal == ",":
        comma = pc.match_substring_regex(words, r"^[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d{1,5})?$")
        words = pc.if_else(comma, pc.replace_substring(words, ",", "."), _without(words, ".", _grouped(r"\.", ",", True)))
    else:
        words = _without(words, ",", _grouped(",", r"\.", decimal == "."))
    fine = pc.match_substring_regex(words, PLAIN)
    words = pc.if_else(fine, words, None)
    return pc.replace_substring_regex(words, r"^\+", "").cast(pa.float64())


def _without(words: pa.Array, mark: str, pattern: str) -> pa.Array:
    import pyarrow.compute as pc

    grouped = pc.match_substring_regex(words, pattern)
    if not pc.any(grouped).as_py():
        return pc.if_else(pc.match_substring(words, mark), None, words) if mark == "." else words
    bare = pc.replace_substring(words, mark, "")
    bare = pc.replace_substring(bare, ",", ".") if mark == "." else bare
    return pc.if_else(grouped, bare, pc.if_else(pc.match_substring(words, mark), None, words))


def numbers_of(values: pa.Array, missing: tuple[str, ...], decimal: str) -> tuple[pa.Array, pa.Array]:
    """Return numbers of any type as float64, and where a text is none: (numbers, bool array). Not a number is null.

    A column of dates or of lists is a UserError.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        found = values.cast(pa.int8()) if pa.types.is_boolean(kind) else values
        found = found if found.type == pa.float64() else found.cast(pa.float64(), safe=False)
        if pa.types.is_floating(kind) and pc.any(pc.is_nan(found)).as_py():
            found = pc.if_else(pc.is_nan(found), None, found)
        return found, _no(len(found))
    if pa.types.is_null(kind):
        return values.cast(pa.float64()), _no(len(values))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"a column of type {kind} cannot be read as numbers; expected numbers, true/false or text")
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    nothing = pc.is_in(pc.utf8_lower(words), value_set=pa.array(sorted({item.strip().lower() for item in missing}), pa.string()))
    words = pc.if_else(nothing, None, words)
    infinite = pc.match_substring_regex(words, INFINITE)
    found = parsed(words, decimal)
    if pc.any(infinite).as_py():
        signed = pc.if_else(pc.starts_with(words, "-"), float("-inf"), float("inf"))
        found = pc.if_else(infinite, signed, found)
    return found, pc.and_(words.is_valid(), found.is_null())


def _no(count: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(literal(False, "bool"), count)
