"""Written dates: from text in the common forms to microseconds since 1970, in Arrow's and numpy's vectorised functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bessemer.data.columns import literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TIME = (r"(?:[T\s,]\s*(?P<H>\d{1,2})[:时点](?P<M>\d{1,2})(?:[:分](?P<S>\d{1,2})(?:[.,](?P<f>\d{1,9}))?秒?|分?)?\s*(?P<h>(?i:am|pm))?"
        r"\s*(?P<z>Z|[+-]\d{2}:?\d{2})?)?$")
FORMS = {
    "year": r"^(?P<y>\d{4})\s?[-/.年]\s?(?P<m>\d{1,2})\s?[-/.月]\s?(?P<d>\d{1,2})日?" + TIME,
    "digits": r"^(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})" + TIME,
    "dots": r"^(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4})" + TIME,
    "either": r"^(?P<d>\d{1,2})[-/](?P<m>\d{1,2})[-/](?P<y>\d{4})" + TIME,
    "day name": r"^(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?[\s-](?P<m>[A-Za-z]{3,9})\.?,?[\s-](?P<y>\d{4})" + TIME,
    "name day": r"^(?P<m>[A-Za-z]{3,9})\.?\s(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s(?P<y>\d{4})" + TIME}
MONTH = r"^(?P<y>\d{4})\s?[-/年]\s?(?P<m>\d{1,2})月?(?P<d>)" + TIME
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MICRO = 1_000_000
DAY = 86_400 * MICRO


@dataclass(frozen=True, eq=False)
class Dates:
    """What texts say.

    Attributes:
        micros: int64 [N] microseconds since 1970, of times with a zone in UTC; read day first where the text leaves it open.
        swapped: int64 [N], the same read month first.
        valid: bool [N].
        open: bool [N], where both readings are dates and differ.
        day_first: bool [N], where only day first is one; month_first: the other.
    """

    micros: np.ndarray
    swapped: np.ndarray
    valid: np.ndarray
    open: np.ndarray
    day_first: np.ndarray
    month_first: np.ndarray


def days_of(y: np.ndarray, m: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return days since 1970-01-01 of a date of the proleptic Gregorian calendar, int64 (Hinnant, chrono-compatible algorithms)."""
    y = y - (m <= 2)
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (m + (m > 2) * -3 + (m <= 2) * 9) + 2) // 5 + d - 1
    found: np.ndarray = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return found


def fields_of(days: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return month 1..12, weekday 0..6 (Monday 0) and day of the year 0..365 of days since 1970."""
    import numpy as np

    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    month = months.astype(np.int64) % 12 + 1
    of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    return month, (days + 3) % 7, of_year


def _real(y: np.ndarray, m: np.ndarray, d: np.ndarray) -> np.ndarray:
    import numpy as np

    leap = (y % 4 == 0) & ((y % 100 != 0) | (y % 400 == 0))
    last = np.array([0, *DAYS])[np.clip(m, 0, 12)] - ((m == 2) & ~leap)
    found: np.ndarray = (y >= 1) & (m >= 1) & (m <= 12) & (d >= 1) & (d <= last)
    return found


def parsed(words: pa.Array, *, months: bool = False) -> Dates:
    """Return what trimmed strings say; null says nothing.

    Args:
        words: the strings, [N].
        months: whether a month alone (2023-02, 2023年2月) is its first day; else it is no date.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    count = len(words)
    micros, swapped = np.zeros(count, np.int64), np.zeros(count, np.int64)
    day_ok, month_ok = np.zeros(count, bool), np.zeros(count, bool)
    left = pa.array(np.arange(count), pa.int64()).filter(words.is_valid())
    for form, pattern in (*FORMS.items(), *((("month", MONTH),) if months else ())):
        if not len(left):
            break
        some = words.take(left)
        fits = pc.match_substring_regex(some, pattern)
        if not pc.any(fits).as_py():
            continue
        here, left = left.filter(fits).to_numpy(), left.filter(pc.invert(fits))
        part = pc.extract_regex(some.filter(fits), pattern)
        y, d = _whole(part, "y"), np.ones(len(part), np.int64) if form == "month" else _whole(part, "d")
        m = _month(part) if "name" in form else _whole(part, "m")
        time, fine = _time(part)
        micros[here], day_ok[here] = days_of(y, m, d) * DAY + time, _real(y, m, d) & fine
        if form == "either":
            swapped[here], month_ok[here] = days_of(y, d, m) * DAY + time, _real(y, d, m) & fine
        else:
            swapped[here], month_ok[here] = micros[here], day_ok[here]
    return Dates(micros, swapped, day_ok | month_ok, day_ok & month_ok & (micros != swapped), day_ok & ~month_ok, month_ok & ~day_ok)


def _whole(part: pa.Array, name: str) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.struct_field(part, name)
    digits = pc.if_else(pc.equal(text, literal("")), literal("0"), text).cast(pa.int64())
    found: np.ndarray = digits.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _month(part: pa.Array) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    short = pc.utf8_slice_codeunits(pc.utf8_lower(pc.struct_field(part, "m")), 0, 3)
    found: np.ndarray = pc.fill_null(pc.index_in(short, value_set=pa.array(MONTHS)), literal(-1, "int32")).to_numpy().astype(np.int64) + 1
    return found


def _time(part: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return microseconds of the day in UTC, and whether it is a time."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    written = pc.not_equal(pc.struct_field(part, "H"), literal(""))
    if not pc.any(written).as_py():  # days alone, which the rest of this takes most of its time to find out
        return np.zeros(len(part), np.int64), np.ones(len(part), bool)
    hour, minute, second = _whole(part, "H"), _whole(part, "M"), _whole(part, "S")
    fraction = pc.struct_field(part, "f")
    micro = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, 6, "0"), 0, 6).cast(pa.int64()).to_numpy(zero_copy_only=False)
    half = pc.utf8_lower(pc.struct_field(part, "h"))
    noon = pc.not_equal(half, literal("")).to_numpy(zero_copy_only=False)
    late = pc.equal(half, literal("pm")).to_numpy(zero_copy_only=False)
    fine = (hour < 24) & (minute < 60) & (second < 61) & (~noon | ((hour >= 1) & (hour <= 12)))
    hour = hour * ~noon + (hour % 12 + 12 * late) * noon
    zone = pc.struct_field(part, "z")
    digits = pc.replace_substring_regex(zone, r"[^0-9]", "")
    offset = pc.if_else(pc.equal(digits, literal("")), literal("0"), digits).cast(pa.int64()).to_numpy(zero_copy_only=False)
    away = (offset // 100 * 60 + offset % 100) * (1 - 2 * pc.starts_with(zone, "-").to_numpy(zero_copy_only=False))
    return ((hour * 60 + minute - away) * 60 + second) * MICRO + micro, fine
