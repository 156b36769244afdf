"""Texts that a caller hands over in Python where numbers may stand too: whether they are some, and in words why they are not.

X: a list, an array, a series or a data frame, [N] or [N, F].
"""

from __future__ import annotations

from typing import Any


def holds_texts(X: Any) -> bool:
    """Tell whether X is a sequence of texts.

    >>> holds_texts(["good", "bad"]), holds_texts(["good", None]), holds_texts([["good"]])
    (True, False, False)
    """
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(item, str) for item in X)
    return getattr(X, "ndim", 2) == 1 and _may_hold_words(X) and len(X) > 0 and all(isinstance(item, str) for item in X)


def why_no_texts(X: Any) -> str:
    """Return why X is no list of texts, in words."""
    if isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1:
        if len(X) == 0:
            return "X has no rows (0 texts), while a minimum of 1 is required; give at least one text"
        for row, item in enumerate(X):
            if not isinstance(item, str):
                return f"{_other(row, item)}; the model was fitted on texts: give a text, or leave the row out"
    return "the model was fitted on texts; give a list of texts"


def check_numbers(X: Any) -> None:
    """Refuse texts with other values among them, and rows that hold texts: an array of these would be read as numbers.

    Raises:
        ValueError: it names the row.
    """
    if hasattr(X, "columns") or not (isinstance(X, (list, tuple)) or _may_hold_words(X)):
        return
    rows = list(X)
    if any(isinstance(item, str) for item in rows):
        row, item = next((row, item) for row, item in enumerate(rows) if not isinstance(item, str))
        raise ValueError(f"{_other(row, item)}, and others are texts: give a text in every row, or leave the row out")
    for row, items in enumerate(rows):
        if isinstance(items, bytes):
            raise ValueError(f"{_other(row, items)}: decode it, as b.decode('utf-8')")
        if not (isinstance(items, (list, tuple)) or getattr(items, "ndim", 0) == 1):
            continue
        words = next((item for item in items if isinstance(item, str) and not _is_number(item)), None)
        if words is not None:
            raise ValueError(f"row {row} (from 0) of X is a row of {len(items)} with the text {str(words)!r:.40} in it; give texts as a "
                             "list or an array [N] of one text a row, and a table with words in it as a data frame")


def _may_hold_words(X: Any) -> bool:
    return getattr(getattr(X, "dtype", None), "kind", "") in ("U", "O", "T")


def _other(row: int, item: Any) -> str:
    return f"row {row} (from 0) of X is no text but {type(item).__name__}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
