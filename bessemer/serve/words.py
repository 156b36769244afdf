"""The words of a text, of whatever script: the parts that an explanation takes away one by one. Standard library only.

After the word boundaries of Unicode (UAX #29) in short: letters, digits and marks are words, an apostrophe within a word and a point
within a number belong to it, a picture sign with its modifiers is one, a run of one punctuation mark is one. Scripts that are written
without spaces have no boundaries that could be seen, so each of their characters is a part, glued to its neighbour.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from typing import NamedTuple

UNSPACED = (
    (0x0E01, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF), (0x1A20, 0x1AAF), (0x2E80, 0x2FDF), (0x3005, 0x3007),
    (0x3021, 0x3029), (0x3031, 0x3035), (0x3040, 0x30FF), (0x3105, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFD))
"""First and last code points: Thai and Lao, Myanmar, Khmer, Tai Tham, Han, kana, bopomofo."""
_FIRST = [first for first, _ in UNSPACED]
JOINER, PICTURE_TONES, FLAG_SIGNS = "\u200d", ("\U0001f3fb", "\U0001f3ff"), ("\U0001f1e6", "\U0001f1ff")
APOSTROPHES, POINTS = "'\u2019\u02bc\u00b7", ".,"


class Part(NamedTuple):
    """A part of a text.

    Attributes:
        start: where it starts, in code points.
        stop: where it ends, exclusive.
        glued: whether the next part follows at once, both of a script that is written without spaces.
    """

    start: int
    stop: int
    glued: bool = False


def parts(text: str) -> list[Part]:
    """Return the parts of a text in its order; spaces and control characters belong to none.

    >>> [text[part.start:part.stop] for text in ["It isn't 3.5!! \U0001f44d\U0001f3fd"] for part in parts(text)]
    ['It', "isn't", '3.5', '!!', '\U0001f44d\U0001f3fd']
    >>> parts("很好")
    [Part(start=0, stop=1, glued=True), Part(start=1, stop=2, glued=False)]
    """
    found: list[Part] = []
    last = ""
    for place, sign in enumerate(text):
        kind = kind_of(sign)
        touching = bool(found) and found[-1].stop == place
        if touching and (kind == "extend" or _joins(text, place, kind, last, found[-1].start)):
            found[-1] = Part(found[-1].start, place + 1)
            last = last if kind == "extend" else kind
        elif kind and kind != "extend":
            if touching and kind == last == "unspaced":
                found[-1] = found[-1]._replace(glued=True)
            found.append(Part(place, place + 1))
            last = kind
    return found


def kind_of(sign: str) -> str:
    """Return what a character is: word, unspaced, extend, picture or mark; empty for spaces and what nobody sees.

    >>> [kind_of(sign) for sign in "a7很!☀ "]
    ['word', 'word', 'unspaced', 'mark', 'picture', '']
    """
    category = unicodedata.category(sign)
    if category[0] == "M" or sign in (JOINER, "\u200c") or PICTURE_TONES[0] <= sign <= PICTURE_TONES[1]:
        return "extend"
    if category[0] in "LN" or category == "Pc":
        where = bisect_right(_FIRST, ord(sign)) - 1
        return "unspaced" if where >= 0 and ord(sign) <= UNSPACED[where][1] else "word"
    if category[0] in "ZC":
        return ""
    return "picture" if category == "So" else "mark"


def _joins(text: str, place: int, kind: str, last: str, start: int) -> bool:
    """Tell whether the character at a place goes on with the part before it, which began at `start` and touches it."""
    before, sign = text[place - 1], text[place]
    after = text[place + 1] if place + 1 < len(text) else ""
    if kind == "picture":
        flags = all(FLAG_SIGNS[0] <= item <= FLAG_SIGNS[1] for item in text[start:place + 1])
        return before == JOINER or (flags and place - start == 1)
    if kind == "mark":
        if last == "word" and after and kind_of(after) == "word":
            return (sign in APOSTROPHES and before.isalpha()) or (sign in POINTS and before.isdecimal() and after.isdecimal())
        return last == "mark" and sign == before
    return kind == "word" and (last == "word" or (last == "mark" and place - start > 1 and kind_of(text[start]) == "word"))
