"""fastText's lines: `__label__a __label__b some text`, the labels before the text; several labels are joined to one value.

Source of the format: Joulin et al. 2016, Bag of tricks for efficient text classification.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data import rows
from bessemer.data.combine import picked
from bessemer.data.rows import Rows, check_encoding, check_part, expand, open_text, rejects

NAMES = ("label", "text")


class FastText(Rows):
    """Rows of lines with labels: the columns `label` (several labels joined by `separator`) and `text`."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""
    prefix: Annotated[str, Field(min_length=1, pattern=r"^\S+$")] = "__label__"
    """What a label begins with."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """What is written between the labels of one line; that of the target's `multilabel`."""
    encoding: str | None = None
    """The encoding of the text; UTF-8 by default, or what the first bytes plainly show."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest line; a longer one is set aside."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "fasttext")
def source(config: FastText) -> Source:
    """Return the rows of labelled lines."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        for file in files:
            yield from _read(file, config)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: FastText) -> Iterator[Chunk]:
    import re

    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    mark = re.escape(config.prefix)
    opened = open_text(file, "labelled lines", config.encoding)
    notes, nothing = opened.notes, pa.scalar(None, pa.string())
    done = unread = 0
    with opened.stream as stream:
        for found in rows.read_lines(stream, config.max_row_bytes):
            lines, bad = rows.decode(found.lines, opened.encoding)
            done, unread = done + len(found.lines), unread + len(bad)
            numbers = np.array(found.numbers, np.int64)
            parts = pc.extract_regex(lines, rf"^\s*(?P<labels>(?:{mark}\S+(?:\s+|$))*)(?P<text>(?s:.*))$")
            labels = pc.utf8_trim_whitespace(pc.fill_null(pc.struct_field(parts, "labels"), ""))
            text = pc.utf8_trim_whitespace(pc.fill_null(pc.struct_field(parts, "text"), ""))
            why = pc.if_else(pc.match_substring_regex(text, rf"(^|\s){mark}"), "a label after the text, or without a name", nothing)
            why = pc.if_else(pc.match_substring(labels, config.separator), f"a label with the separator '{config.separator}'", why)
            joined = pc.replace_substring_regex(pc.replace_substring_regex(labels, f"^{mark}", ""), rf"\s+{mark}",
                                                config.separator.replace("\\", "\\\\"))
            wrong = np.zeros(len(lines), bool)
            wrong[bad] = True
            odd = why.is_valid().to_numpy(zero_copy_only=False) & ~wrong
            rejected: list[tuple[int, str, bytes | str]] = [
                (number, f"line longer than {config.max_row_bytes} bytes", head) for number, head in found.long]
            rejected += [(found.numbers[i], f"not valid {opened.encoding}", rows.shown(found.lines[i])) for i in bad]
            rejected += [(found.numbers[i], why[i].as_py(), rows.shown(found.lines[i])) for i in np.flatnonzero(odd).tolist()]
            kept = pa.array(~(wrong | odd))
            table = pa.table([pc.if_else(pc.equal(values, ""), nothing, values) for values in (joined, text)], names=list(NAMES))
            if len(lines) or rejected:
                yield Chunk(picked(table.filter(kept), config.columns, file.name), numbers[~(wrong | odd)],
                            rejects(rejected) if rejected else None, notes)
                notes = ()
    if opened.encoding == "UTF-8":
        check_part(unread, done, file, config.encoding)
