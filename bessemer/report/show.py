"""Numbers as people read them: the same digits and units everywhere in reports, cards and tables."""

from __future__ import annotations

import math

from bessemer.report.part import Value

ABSENT = "–"

TITLES = {
    "f1": "F1", "f1_micro": "F1 micro", "f1_macro": "F1 macro", "f1_weighted": "F1 weighted", "roc_auc": "ROC AUC", "ece": "ECE",
    "r2": "R²", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "mape": "MAPE", "pinball": "pinball loss"}
"""Metric -> how people write it; others are their name with spaces."""

SIZED = ("rmse", "mae", "mse", "median_absolute_error", "pinball", "interval_width")
"""Metrics in the target's unit, of any size: four significant digits say what fixed decimals cannot."""
MOST_DIGITS = 12


def title(metric: str) -> str:
    """Return a metric's name as people write it; `accuracy difference` and the like keep their words.

    >>> title("r2"), title("log_loss")
    ('R²', 'log loss')
    """
    return TITLES.get(metric, metric.replace("_", " "))


def significant(value: float | None, digits: int = 4) -> str:
    """Return a number of any size, whole digits never cut.

    >>> significant(0.0123456), significant(51234.567), significant(-2.5e-9), significant(9.4e18)
    ('0.01235', '51,235', '−2.5e-9', '9.4e18')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        whole_part = mantissa.rstrip("0").rstrip(".")
        return f"{whole_part}e{int(exponent)}".replace("-", "−", 1) if value < 0 else f"{whole_part}e{int(exponent)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}".replace("-", "−")


def brief(value: float | None, digits: int = 6) -> str:
    """Return a number without zeros at its end, as a cell of a table shows it.

    >>> brief(82.5), brief(9.0), brief(1234567.891)
    ('82.5', '9', '1,234,568')
    """
    found = significant(value, digits)
    return found.rstrip("0").rstrip(".") if "." in found and "e" not in found else found


def _decimals(metric: str, value: Value, least: int) -> int:
    """Return how many decimals show a value: of R² near 1 as many as its interval, or its distance from 1, needs."""
    if metric != "r2" or value.value is None:
        return least
    known = value.low is not None and value.high is not None and value.high > value.low
    step = value.high - value.low if known and value.high is not None and value.low is not None else abs(1 - value.value)
    return min(MOST_DIGITS, max(least, 1 - math.floor(math.log10(step)))) if step > 0 else least


def scored(value: Value, metric: str = "accuracy") -> str:
    """Return a metric's value.

    >>> scored(Value(value=0.9045)), scored(Value(value=51234.5678), "rmse")
    ('0.9045', '51,235')
    >>> scored(Value(value=0.9999958, low=0.9999956, high=0.999996), "r2")
    '0.99999580'
    """
    return significant(value.value) if metric in SIZED else plain(value.value, _decimals(metric, value, 4))


def limits(value: Value, metric: str = "accuracy", digits: int = 3) -> str:
    """Return a metric's interval alone, or nothing.

    >>> limits(Value(value=2.5, low=2.25, high=2.75), "rmse"), limits(Value(value=0.5))
    ('[2.250, 2.750]', '')
    """
    if value.low is None or value.high is None:
        return ""
    if metric in SIZED:
        return f"[{significant(value.low)}, {significant(value.high)}]"
    return bounds(value, _decimals(metric, value, digits))


def change(value: Value, metric: str = "accuracy") -> str:
    """Return a difference of a metric with its sign.

    >>> change(Value(value=-51234.5), "rmse"), change(Value(value=3.5e-06, low=3.1e-06, high=4.1e-06), "r2")
    ('−51,234', '+0.0000035')
    """
    if metric in SIZED:
        shown = significant(value.value)
        return f"+{shown}" if value.value is not None and value.value > 0 else shown
    return signed(value.value, _decimals(metric, value, 4))


def plain(value: float | None, digits: int = 4) -> str:
    """Return a score with fixed digits (a true minus).

    >>> plain(0.90449), plain(-0.0693), plain(None)
    ('0.9045', '−0.0693', '–')
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference with its sign (a true minus).

    >>> signed(0.0123), signed(-0.5, 2)
    ('+0.0123', '−0.50')
    """
    return ABSENT if value is None or math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def bounds(value: Value, digits: int = 3) -> str:
    """Return the interval alone, or nothing.

    >>> bounds(Value(value=0.9, low=0.891, high=0.917))
    '[0.891, 0.917]'
    """
    if value.low is None or value.high is None:
        return ""
    return f"[{value.low:.{digits}f}, {value.high:.{digits}f}]".replace("-", "−")


def both(value: Value, metric: str = "accuracy") -> str:
    """Return a score and its interval.

    >>> both(Value(value=0.9045, low=0.891, high=0.917))
    '0.9045 [0.891, 0.917]'
    """
    return f"{scored(value, metric)} {limits(value, metric)}".strip()


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
