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
    """Reads moments, over all chunks either dates or numbers.

    Args:
        name: the column's.
        day_first: how 05/01/2023 is read; None leaves it to `moments`, which sees all rows.
    """

    def __init__(self, name: str, day_first: bool | None = None) -> None:
        self.name, self.day_first, self.kind = name, day_first, ""

    def __call__(self, values: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Return moments as `struct<day, month>` [N] and why a row has none, string [N].

        Both are float64, microseconds since 1970 or the numbers: read day first and month first, not a number where that is no date.

        Raises:
            UserError: some are dates and some numbers.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        kind, nothing = values.type, pa.scalar(None, pa.string())
        why = pa.nulls(len(values), pa.string())
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            found, names = values.cast(pa.timestamp("us", getattr(kind, "tz", None))).cast(pa.int64()).cast(pa.float64()), ["dates"]
            day = month = found.fill_null(float("nan")).to_numpy(zero_copy_only=False)
        elif pa.types.is_nested(kind) or pa.types.is_temporal(kind):
            raise UserError(f"the column '{self.name}' to divide by holds {kind}; expected dates or numbers")
        else:
            words = pc.utf8_trim_whitespace(values.cast(pa.string()))
            numbers = pc.if_else(pc.match_substring_regex(words, _NUMBER), words, nothing).cast(pa.float64())
            plain = pc.if_else(pc.is_finite(numbers), numbers, float("nan")).fill_null(float("nan")).to_numpy(zero_copy_only=False)
            day, month, other = _dates(pc.if_else(numbers.is_null(), words, nothing), self.day_first)
            names = [name for name, part in (("numbers", plain), ("dates", np.fmin(day, month))) if not np.isnan(part).all()]
            day, month = (np.where(np.isnan(plain), part, plain) for part in (day, month))
            told = f"written {'month' if self.day_first else 'day'} first, and the column is {'day' if self.day_first else 'month'} first"
            why = pc.if_else(pa.array(other), pa.scalar(told), why)
        for name in names:
            if self.kind not in ("", name):
                raise UserError(f"the column '{self.name}' to divide by holds dates and numbers, which have no order; write all "
                                "of them alike")
            self.kind = name
        why = pc.if_else(pa.array(np.isnan(day) & np.isnan(month)), pc.coalesce(why, pa.scalar(NO_TIME)), why)
        return pa.StructArray.from_arrays([pa.array(day), pa.array(month)], ["day", "month"]), why


def _dates(words: pa.Array, day_first: bool | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return written dates read day first and month first, float64 [N], and which are only of the other way than is said, bool [N]."""
    import numpy as np
    import pyarrow.compute as pc

    from bessemer.data.dates import parsed

    words = pc.replace_substring_regex(words, r"\s*UTC$", "Z")
    words = pc.replace_substring_regex(words, r"^(\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?)\s?(Z|[-+]\d{2}:?\d{2})$", r"\1 00:00\2")
    found = parsed(words, months=True)
    day = np.where(found.valid & ~found.month_first, found.micros, np.nan)
    month = np.where(found.valid & ~found.day_first, found.swapped, np.nan)
    if day_first is None:
        return day, month, np.zeros(len(day), bool)
    chosen = day if day_first else month
    return chosen, chosen, found.valid & np.isnan(chosen)


def moments(stored: pa.StructArray, name: str) -> np.ndarray:
    """Return the moments of all rows, float64 [N], read in the way that those show which leave no choice (31/01/2023).

    Args:
        stored: what `Times` gave, [N].
        name: of the column.

    Raises:
        UserError: some leave a choice and none shows the way, or some can only be of the one way and some of the other.
    """
    import numpy as np

    day, month = (part.to_numpy(zero_copy_only=False) for part in stored.flatten())
    days_first, months_first = int(np.isnan(month).sum()), int(np.isnan(day).sum())
    if days_first and months_first:
        raise UserError(f"the column '{name}' to divide by has {days_first:,} dates that can only be day first and {months_first:,} that "
                        "can only be month first; write them in one way, or say 'day_first' in the recipe's split, by which those of the "
                        "other way are set aside")
    opens = int((day != month).sum())
    if opens and not days_first and not months_first:
        raise UserError(f"the column '{name}' to divide by has {opens:,} dates such as 05/01/2023 and none that shows whether the day "
                        "comes first; say 'day_first: true' or 'day_first: false' in the recipe's split")
    found: np.ndarray = month if months_first else day
    return found


def codes(names: pa.Array) -> np.ndarray:
    """Return a number for each name that depends on the name alone: int64 [N]."""
    import hashlib

    import numpy as np

    found = names.dictionary_encode()
    table = np.array([int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)
                      for name in found.dictionary.to_pylist()], np.int64)
    result: np.ndarray = table[found.indices.to_numpy(zero_copy_only=False)]
    return result
