"""Numbers as people write them in a column of text: whether its values are some, how a recipe reads them, what is to be said of them.

N: values of the column, none missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.data.looks import Found

LEAST, STRAY = 50, 0.02
"""A column of so many values is one of numbers though this part of them is not."""
LARGEST = 1e150
"""A larger number has no square, so that its row is set aside as that of an infinite one is."""
NUMBER = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|(?i:inf|infinity)|∞)$"
COMMA = r"^[-+]?((\d+|\d{1,3}(\.\d{3})+),\d+|\d+)$"  # 1.234,5
GROUPED = r"^[-+]?([1-9]\d{0,2}(,\d{3})+|\d+)$"  # 1,234: the comma may mean either
THOUSANDS = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|\d{1,3}((,\d{3}){2,}|(,\d{3})+\.\d*))$"  # 1,234.5
DECORATED = (r"^[-+(–－]? ?(\p{Sc} ?[-+]?\d[\d.,' ]*|\d[\d.,' ]* ?(%|\p{Sc})|\d{1,3}([,' ]\d{3})+([.,]\d+)?|\d+\.?\d*)\)?$")
"""$1,234 or 59.3 % or 12 345: numbers to a person."""
LIKE_NUMBERS = "looks like numbers, such as"
MINUS = "\u2212"
_THOUSANDS = "its numbers are written with a comma for thousands"


def as_numbers(values: pa.Array) -> dict[str, Any] | None:
    """Return what `Found` says of a column of numbers (numeric, whole, decimal, either, note), or None where it is none.

    Args:
        values: trimmed strings [N].
    """
    import pyarrow.compute as pc

    plain = pc.replace_substring(values, MINUS, "-")
    found = _form(plain)
    strange = pc.invert(pc.match_substring_regex(plain, NUMBER))
    if found is None:
        count, distinct = int(pc.sum(strange).as_py()), len(pc.unique(plain))
        if len(values) < LEAST or count > STRAY * len(values) or distinct <= 20 + count:
            return None
        found = {}
    else:
        strange = None
    minus = pc.any(pc.match_substring(values, MINUS)).as_py()
    notes = [found.get("note"), "its minus is written '\u2212' (U+2212), which is read as '-'" if minus else "",
             _aside(plain, strange, found.get("decimal", "auto"))]
    return {"numeric": True, **found, "note": "; ".join(filter(None, notes))}


def _form(values: pa.Array) -> dict[str, Any] | None:
    """Return how every value is written as a number, or None where one is not."""
    if _every(values, NUMBER):
        return {"whole": _every(values, r"^[-+]?\d+(\.0*)?$")}
    if _every(values, THOUSANDS):
        return {"note": _THOUSANDS}
    if _every(values, GROUPED):
        if not _every(values, COMMA):  # 1,234,567 among them
            return {"decimal": ".", "note": _THOUSANDS}
        first = _first(values, ",")
        return {"decimal": ".", "either": first, "note": f"{first!r} may have a comma for thousands or for decimals; it is read as "
                                                         "thousands: say decimal: \",\" where it is not"}
    if _every(values, COMMA):
        return {"decimal": ",", "note": "its numbers are written with a decimal comma"}
    return None


def either_settled(columns: Sequence[Found], semicolons: bool) -> tuple[Found, ...]:
    """Return the columns, those whose comma may mean either read with a decimal comma where the rest of the file speaks for it.

    Args:
        columns: of one file.
        semicolons: whether its fields are separated by semicolons, as where the comma is the decimal mark.
    """
    points = [column for column in columns if column.numeric and _THOUSANDS in column.note]
    commas = [column for column in columns if column.numeric and column.decimal == ","]
    if points or not (commas or semicolons):  # a file that has both kinds shows nothing
        return tuple(columns)
    why = f"the column '{commas[0].name}' has a decimal comma" if commas else "semicolons are between the fields"
    return tuple(_with_comma(column, why) if column.either else column for column in columns)


def _with_comma(column: Found, why: str) -> Found:
    note = (f"{column.either!r} may have a comma for thousands or for decimals; it is read as decimals, because {why}: say decimal: \".\" "
            "where it is not")
    return replace(column, decimal=",", note=note, modality=column.modality and {**column.modality, "decimal": ","})


def _every(values: pa.Array, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _first(values: pa.Array, sign: str) -> str:
    import pyarrow.compute as pc

    return str(values.filter(pc.match_substring(values, sign))[0].as_py())


def _aside(values: pa.Array, strange: pa.Array | None, decimal: str) -> str:
    """Return which rows will be set aside: values that are no number, and those without a finite square."""
    import numpy as np
    import pyarrow as pa

    far = pa.array(np.abs(floats(values, decimal)) > LARGEST)
    said = [(mask, what) for mask, what in ((strange, "no number"), (far, "infinite or beyond 1e150"))
            if mask is not None and mask.true_count]
    parts = [f"{mask.true_count:,} {f'of {len(values):,} values are ' if not place else ''}{what}, the first "
             f"{values.filter(mask)[0].as_py()[:40]!r}" for place, (mask, what) in enumerate(said)]
    return f"{', and '.join(parts)}: such rows will be set aside" if parts else ""


def floats(words: pa.Array, decimal: str) -> np.ndarray:
    """Return written numbers as float64 [N], not a number where a value is missing or is none.

    Args:
        words: trimmed strings [N].
        decimal: the decimal mark, `.`, `,` or `auto`.
    """
    from bessemer.data.numerals import numbers_of

    numbers, _ = numbers_of(words, (), decimal)
    found: np.ndarray = numbers.fill_null(float("nan")).to_numpy(zero_copy_only=False)
    return found


def as_code(values: pa.Array) -> dict[str, Any] | None:
    """Return what `Found` says of a column of codes: digits of one width, two at least, some of which begin with 0; None of another."""
    import pyarrow.compute as pc

    if not _every(values, r"^\d{2,}$") or not pc.any(pc.starts_with(values, "0")).as_py():
        return None
    sizes = pc.min_max(pc.utf8_length(values)).as_py()
    if sizes["min"] != sizes["max"]:
        return None
    return {"numeric": True, "whole": True, "note": f"digits of one width, some with a leading 0, such as {_zero(values)!r}, are a code; "
                                                    "say {kind: number} where they are a quantity"}


def _zero(values: pa.Array) -> str:
    import pyarrow.compute as pc

    return str(values.filter(pc.starts_with(values, "0"))[0].as_py())


def like_numbers(values: pa.Array) -> str:
    """Return what is said of numbers with units, currency, percent signs or marks of thousands, which are not read; of others nothing."""
    import pyarrow.compute as pc

    if not _every(pc.replace_substring(values, MINUS, "-"), DECORATED):
        return ""
    strange = values.filter(pc.invert(pc.match_substring_regex(values, NUMBER)))
    return (f"{LIKE_NUMBERS} {strange[0].as_py()[:40]!r}: write them in the source without units, currency, percent signs and marks of "
            "thousands to learn from them as numbers")


def goes_up_by_one(values: pa.Array) -> bool:
    """Tell whether whole numbers go up by one from each to the next."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pc.replace_substring_regex(values, r"^\+|\.0*$", "")
    if not _every(digits, r"^-?\d{1,18}$"):
        return False
    numbers: np.ndarray = digits.cast(pa.int64()).to_numpy()
    return bool((np.diff(numbers) == 1).all())
