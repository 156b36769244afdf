"""Errors that a person can act on.

Every mistake that a user can make ends as one `UserError`: one sentence that says what is wrong, where, what was
expected and what to do. The command line prints it and exits with 2, without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what was asked (recipe, data, files): one clear sentence, no traceback."""


class MissingColumn(UserError):
    """Rows have no such column.

    Attributes:
        column: its name where the rows come from.
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class GuardError(UserError):
    """A run that would have failed silently: a loss that is not finite, weights that did not move, …"""


class Interrupted(Exception):
    """Stopped on request (Ctrl-C, SIGTERM) at a safe point; running again goes on from there."""

    def __init__(self, message: str, signal_number: int = 2) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"`, or the list of known names when none is near.

    >>> nearest("learing_rate", ["learning_rate", "seed"])
    "; did you mean 'learning_rate'?"
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are: {', '.join(names)}" if names else ""
