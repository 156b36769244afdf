"""Numbers as people read them: the same digits and units everywhere in reports, cards and tables."""

from __future__ import annotations

import math

from bessemer.report.data import Value

ABSENT = "–"


def plain(value: float | None, digits: int = 4) -> str:
    """Return a score with fixed digits.

    >>> plain(0.90449), plain(None)
    ('0.9045', '–')
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign (a true minus).

    >>> signed(0.0123), signed(-0.5, 2)
    ('+0.0123', '−0.50')
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def bounds(value: Value) -> str:
    """Return the interval alone, or nothing.

    >>> bounds(Value(value=0.9, low=0.891, high=0.917))
    '[0.891, 0.917]'
    """
    if value.low is None or value.high is None:
        return ""
    return f"[{value.low:.3f}, {value.high:.3f}]".replace("-", "−")


def both(value: Value) -> str:
    """Return a score and its interval.

    >>> both(Value(value=0.9045, low=0.891, high=0.917))
    '0.9045 [0.891, 0.917]'
    """
    return f"{plain(value.value)} {bounds(value)}".strip()


def whole(value: float | None) -> str:
    """Return a count with thousands apart: `10,000`."""
    return ABSENT if value is None else f"{value:,.0f}"


def size(value: int | None) -> str:
    """Return bytes in the unit that fits, powers of 1000.

    >>> size(23_400_000), size(999)
    ('23.4 MB', '999 B')
    """
    if value is None:
        return ABSENT
    amount, unit = float(value), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.95:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def milliseconds(value: float | None) -> str:
    """Return a latency: `13.2 ms`, three digits that mean something."""
    if value is None:
        return ABSENT
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def duration(seconds: float | None) -> str:
    """Return a time as a person says it.

    >>> duration(225), duration(0.42), duration(7300)
    ('3 min 45 s', '0.4 s', '2 h 2 min')
    """
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60} min"


def times(value: float | None) -> str:
    """Return a ratio: `2.08×`."""
    return ABSENT if value is None else f"{value:.2f}×"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share: `12.5%`."""
    return ABSENT if value is None else f"{100 * value:.{digits}f}%"


def chance(value: float | None) -> str:
    """Return a p-value: `0.0021`, `< 0.0001`."""
    return ABSENT if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def clean(text: str) -> str:
    """Return untrusted text without characters that a page cannot hold: controls and lone surrogates become U+FFFD."""
    return "".join("\N{REPLACEMENT CHARACTER}" if (ord(sign) < 32 and sign not in "\n\t") or 0x7F <= ord(sign) < 0xA0
                   or 0xD800 <= ord(sign) < 0xE000 else sign for sign in text)


def clip(text: str, limit: int = 400) -> str:
    """Return at most `limit` characters, an ellipsis where more were."""
    return text if len(text) <= limit else text[:limit - 1].rstrip() + "…"
