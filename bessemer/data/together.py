"""The encoding of many short files, judged together: one alone holds too few letters to tell."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.data.guess import MANY, Found, binary, damaged, found_among, found_in

FILES, PART, ALL = 4096, 4096, 128 << 10
"""Files looked at, bytes of one, bytes of all."""
ALONE = 65536
"""Bytes of a file that is judged alone."""
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass
class Together:
    """What the files of one folder are in.

    Attributes:
        found: the encoding of those that are not UTF-8 and have no mark, and the one that it may also be.
        mixed: some files are in UTF-8 and not in ASCII alone, or have a mark.
        sample: the bytes by which it was judged.
        used: encoding -> files read in it so far and the first one's name, of those found.
    """

    found: Found = Found(None)
    mixed: bool = False
    sample: bytes = b""
    used: dict[str, tuple[int, str]] = field(default_factory=dict)

    def encoding(self, data: bytes) -> str | None:
        """Return the encoding to read a file in; None where nothing shows it.

        A file that is UTF-8 is; one that is for sure in another encoding than the rest, in which it is another text, is read in that.
        """
        if marked(data):
            return found_in(data[:ALONE]).name
        whole = _utf8(data)
        if whole and not self._two_bytes(data):
            return "utf-8"
        if not whole and not binary(data) and not data.isascii() and damaged(data, plainly=self.found.name in MANY):
            return None
        encoding = self._own(data) or self.found.name
        if encoding is None or (binary(data) and not encoding.startswith("utf-16")):
            return None
        return encoding

    def read(self, encoding: str | None, name: str) -> None:
        """Count a file that was read."""
        if encoding not in (None, "utf-8", "utf-16", "utf-32"):
            count, first = self.used.get(str(encoding), (0, name))
            self.used[str(encoding)] = count + 1, first

    def _two_bytes(self, data: bytes) -> bool:
        """Tell whether bytes that are UTF-8 by chance are text of two bytes a sign as the other files are."""
        name = self.found.name or ""
        if not name.startswith("utf-16") or len(data) % 2 or not data:
            return False
        return 0 in data or data.split() == [data] and all("\u3041" <= sign <= "\ud7a3" for sign in data.decode(name, "replace"))

    def _own(self, data: bytes) -> str | None:
        """Return the encoding that a file is in for sure by itself, where that is another than the folder's and reads otherwise."""
        own = found_in(data[:ALONE])
        if own.name is None or own.other is not None or own.name == self.found.name:
            return None
        if own.name == "iso2022_jp" or self.found.name is None:
            return own.name
        return own.name if data.decode(own.name, "replace") != data.decode(self.found.name, "replace") else None

    def notes(self, folder: str) -> tuple[str, ...]:
        """Return the note that says what was found, if anything was."""
        if not self.used:
            return ()
        name = self.found.name if self.found.name in self.used else max(self.used, key=lambda item: self.used[item][0])
        other = self.found.other if name == self.found.name else None
        count, first = self.used[name]
        files, are, they = ("files", "are", "they are") if count > 1 else ("file", "is", "it is")
        head = f"{folder}: {count:,} {files} {are} no UTF-8 (first: {first}) and "
        told = head + (f"look{'s' * (count == 1)} like {name.upper()}, as which {they} read; say 'encoding:' where that is wrong")
        if other is not None:
            told = head + (f"may be {name.upper()} or {other.upper()}, which too few letters tell apart; {they} read as {name.upper()}: "
                           f"set encoding: {name} or encoding: {other} in the source to say which it is")
        rest = [f"{item.upper()} ({number:,}, first: {place})" for item, (number, place) in self.used.items() if item != name]
        return (told + (f"; others are for sure in {', '.join(rest)}" if rest else ""),)


def judged_together(count: int, read: Callable[[int, int], bytes]) -> Together:
    """Return what files are in, by a bounded sample of those that are not UTF-8, spread over all of them.

    Args:
        count: the files.
        read: a file's place and how many bytes of it -> its first bytes; an OSError or UserError leaves it out.
    """
    parts: list[bytes] = []
    made = Together()
    for place in random.Random(0).sample(range(count), min(count, FILES)):
        try:
            part = read(place, PART)
        except (OSError, UserError):
            continue
        if marked(part):
            made.mixed = True
        elif _utf8(part, len(part) < PART):
            made.mixed |= not part.isascii()
        elif binary(part) or part.isascii() or not damaged(part):
            parts.append(part)
        if sum(map(len, parts)) >= ALL:
            break
    made.found, made.sample = found_among(parts), _joined(parts)
    return made


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"\n".join(part for part in parts if not binary(part)) or b"\n".join(parts)


def marked(data: bytes) -> bool:
    """Tell whether bytes begin with the mark of UTF-16 or UTF-32."""
    return data.startswith(_MARKS)


def _utf8(data: bytes, whole: bool = True) -> bool:
    """Tell whether bytes are text in UTF-8 (perhaps cut within a sign, where not whole) and not in an encoding that looks like ASCII."""
    if binary(data) or (b"\x1b$" in data and found_in(data[:ALONE]).name is not None):
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return not whole and error.reason == "unexpected end of data"
    return True


def in_encoding(config: Config, encoding: str, path: Path) -> Config:
    """Return a source's config with an encoding that was said; one that there is not, or of a kind that has none, is a UserError."""
    from bessemer.core.registry import plugin_of
    from bessemer.data.rows import check_encoding

    if "encoding" not in type(config).model_fields:
        kind = plugin_of("data/sources", config).name
        raise UserError(f"'{path}' is read as {kind}, of which no encoding is named; leave {encoding} out")
    try:
        return config.model_copy(update={"encoding": check_encoding(encoding)})
    except ValueError as error:
        raise UserError(str(error)) from None


def with_encoding(config: Config, notes: tuple[str, ...]) -> tuple[Config, tuple[str, ...]]:
    """Return a source's config with the encoding that was guessed, where all its files are in it, and what is to be said of it.

    So later files are read the same as these. `notes` are those of the reader about encodings.
    """
    from bessemer.data.rows import plain_head
    from bessemer.data.sources.folder import Folder, found_together

    if "encoding" not in type(config).model_fields:
        return config, notes
    if isinstance(config, Folder):
        together = found_together(config)
        names = {None if together.mixed else together.found.name}
    else:
        names = {found_in(plain_head(file)).name for file in config.outside()}
    name = names.pop() if len(names) == 1 else None
    if name in (None, "utf-16", "utf-32"):
        return config, notes
    notes = notes or (
        f"its bytes are no UTF-8 and look like {str(name).upper()}, as which it is read; say 'encoding:' where that is wrong",)
    return config.model_copy(update={"encoding": name}), (*notes, f"the recipe's source names it: encoding: {name}")
