"""The values by which rows are divided: groups as they are written, moments as numbers that can be put in order.

Legend: N rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

COLUMN = ".by"
NO_TIME = "no date or number to order by"
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_DATE = (r"^(?P<y>\d{4})[-/.年](?P<m>\d{1,2})[-/.月](?P<d>\d{1,2})日?(?:[T ]+(?P<h>\d{1,2}):(?P<i>\d{2})(?::(?P<s>\d{2}(?:\.\d{1,9})?))?)?"
         r" ?(?P<z>Z|UTC|[-+]\d{2}:?\d{2})?$")


def groups(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the groups' names, and why a row has none: string [N] each."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(values.type):
        raise UserError(f"the column to divide by holds {values.type}; expected text or numbers")
    names = pc.utf8_trim_whitespace(values.cast(pa.string()))
    nothing = pa.scalar(None, pa.string())
    return names, pc.if_else(pc.coalesce(pc.equal(names, ""), True), pa.scalar("missing group"), nothing)


class Times:
    """Reads moments, over all chunks either dates or numbers."""

    def __init__(self, name: str) -> None:
        self.name, self.kind = name, ""

    def __call__(self, values: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return moments as float64 [N] (microseconds since 1970, or the numbers), and why a row has none, string [N].

        Raises:
            UserError: some are dates and some numbers.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = values.type
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            found, names = values.cast(pa.timestamp("us", getattr(kind, "tz", None))).cast(pa.int64()).cast(pa.float64()), ["dates"]
        elif pa.types.is_nested(kind) or pa.types.is_temporal(kind):
            raise UserError(f"the column '{self.name}' to divide by holds {kind}; expected dates or numbers")
        else:
            words = pc.utf8_trim_whitespace(values.cast(pa.string()))
            numbers = pc.if_else(pc.match_substring_regex(words, _NUMBER), words, pa.scalar(None, pa.string())).cast(pa.float64())
            numbers = pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
            dates = _dates(words)
            names = [name for name, part in (("numbers", numbers), ("dates", dates)) if part.null_count < len(part)]
            found = pc.coalesce(dates, numbers)
        for name in names:
            if self.kind not in ("", name):
                raise UserError(f"the column '{self.name}' to divide by holds dates and numbers, which have no order; write all "
                                "of them alike")
            self.kind = name
        nothing = pa.scalar(None, pa.string())
        return found, pc.if_else(found.is_null(), pa.scalar(NO_TIME), nothing)


def _dates(words: pa.Array) -> pa.Array:
    """Return written dates as microseconds since 1970 in UTC, float64 [N], null where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = pc.extract_regex(words, _DATE)
    there = parts.is_valid()

    def number(name: str, default: str) -> pa.Array:
        text = pc.struct_field(parts, name)
        return pc.if_else(pc.coalesce(pc.equal(text, ""), True), pa.scalar(default), text).cast(pa.float64())

    year, month, day = number("y", "1970"), number("m", "1"), number("d", "1")
    days = pc.subtract(pc.add(_day_number(year, month), day), 1.0)
    seconds = pc.add(pc.add(pc.multiply(number("h", "0"), 3600.0), pc.multiply(number("i", "0"), 60.0)), number("s", "0"))
    zone = pc.struct_field(parts, "z")
    shift = pc.if_else(pc.fill_null(pc.match_substring_regex(zone, r"^[-+]"), False), zone, pa.scalar("+0000"))
    bare = pc.replace_substring(shift, ":", "")
    away = pc.add(pc.multiply(pc.utf8_slice_codeunits(bare, 1, 3).cast(pa.float64()), 3600.0),
                  pc.multiply(pc.utf8_slice_codeunits(bare, 3, 5).cast(pa.float64()), 60.0))
    away = pc.if_else(pc.starts_with(bare, "-"), pc.negate(away), away)
    following = _day_number(year, pc.add(month, 1.0))
    valid = pc.and_(pc.and_(pc.greater_equal(month, 1.0), pc.less_equal(month, 12.0)),
                    pc.and_(pc.greater_equal(day, 1.0), pc.less(days, following)))
    found = pc.multiply(pc.subtract(pc.add(pc.multiply(days, 86400.0), seconds), away), 1e6)
    return pc.if_else(pc.and_(there, valid), found, pa.scalar(None, pa.float64()))


def _day_number(year: pa.Array, month: pa.Array) -> pa.Array:
    """Return the days from 1970-01-01 to the first of a month, float64 [N]; month 13 is January of the next year."""
    import numpy as np
    import pyarrow as pa

    y_N, m_N = year.to_numpy(zero_copy_only=False), month.to_numpy(zero_copy_only=False)
    months_N = np.clip(np.nan_to_num((y_N - 1970) * 12 + m_N - 1), -23_640, 96_360).astype("datetime64[M]")
    return pa.array(months_N.astype("datetime64[D]").astype(np.int64).astype(np.float64))


def codes(names: pa.Array) -> np.ndarray:
    """Return a number for each name that depends on the name alone: int64 [N]."""
    import hashlib

    import numpy as np

    found = names.dictionary_encode()
    table = np.array([int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
                      for name in found.dictionary.to_pylist()], np.int64)
    result: np.ndarray = table[found.indices.to_numpy(zero_copy_only=False)]
    return result
