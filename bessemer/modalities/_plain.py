"""A few texts tidied without Arrow: the same characters as `text.tidy`, for a fraction of its cost where texts are few.

Only texts of characters that no Unicode normal form in question changes, alone or beside others, are handled here; whatever else
there is goes to `tidy` itself, all such texts in one call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# Assigned, no combining marks, no separators but those of ASCII, and their own composed form: Latin, Greek and Cyrillic letters,
# punctuation, kana, Han, Hangul syllables.
_SPACE = r"\t\n\v\f\r "
_ASCII = r"\x21-\x7E"
_COMPOSED = (_ASCII + r"\u00A1-\u00AC\u00AE-\u017F\u0391-\u03A1\u03A3-\u03CE\u0400-\u045F\u2010-\u2027\u2030-\u205E\u20A0-\u20BF"
             r"\u3001-\u3029\u3041-\u3096\u309F-\u30FF\u4E00-\u9FEF\uAC00-\uD7A3\uFF01-\uFF5E")
_EACH = {"NFC": _COMPOSED, "none": _COMPOSED, "NFD": _ASCII, "NFKC": _ASCII, "NFKD": _ASCII}
_PLAIN = {form: re.compile(f"[{_SPACE}{signs}]*") for form, signs in _EACH.items()}
_UNTIDY = re.compile(r"[\t\n\v\f\r]|  |^ | $")
_LINES = re.compile(rf"[{_SPACE}]*[\n\r][{_SPACE}]*")
_SPACES = re.compile(r"[\t\v\f ]+")


def tidied(texts: Sequence[str], form: str, slow: Callable[[list[str]], list[str]]) -> list[str]:
    """Return texts as `text.tidy` gives them; `slow` does so for those that need more than is done here."""
    plain = _PLAIN[form].fullmatch
    found = [_tidy(text) if plain(text) else None for text in texts]
    rest = iter(slow([text for text, done in zip(texts, found, strict=True) if done is None]) if None in found else ())
    return [next(rest) if text is None else text for text in found]


def _tidy(text: str) -> str:
    if not _UNTIDY.search(text):
        return text
    return _SPACES.sub(" ", _LINES.sub("\n", text)).strip("\t\n\v\f\r ")
