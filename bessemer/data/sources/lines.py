"""Plain lines, `label<TAB>text` unless `columns` says otherwise: nothing is quoted, a line end ends the row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data import rows
from bessemer.data.rows import Rows, check_encoding, check_part, expand, open_text, rejects


class Lines(Rows):
    """Rows of text files, one a line, the fields between tabs; the last field keeps further tabs."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""
    columns: Annotated[tuple[str, ...], Field(min_length=1)] = ("label", "text")
    """The names of the fields, in order."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest line; a longer one is set aside."""

    encoding: str | None = None
    """The encoding of the text; UTF-8 by default, or what the first bytes plainly show."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "lines")
def source(config: Lines) -> Source:
    """Return the rows of text files."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        for file in files:
            yield from _read(file, config)

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _read(file: Path, config: Lines) -> Iterator[Chunk]:
    import numpy as np
    import pyarrow as pa

    width = len(config.columns)
    opened = open_text(file, "lines of text", config.encoding)
    notes, done, unread = opened.notes, 0, 0
    with opened.stream as stream:
        for found in rows.read_lines(stream, config.max_row_bytes):
            text, bad = rows.decode(found.lines, opened.encoding)
            done, unread = done + len(found.lines), unread + len(bad)
            rejected: list[tuple[int, str, bytes | str]] = [
                (number, f"line longer than {config.max_row_bytes} bytes", head) for number, head in found.long]
            rejected += [(found.numbers[i], f"not valid {opened.encoding}", rows.shown(found.lines[i])) for i in bad]
            wrong = set(bad)
            kept, fields = [], []
            for position, line in enumerate(text.to_pylist()):
                parts = line.split("\t", width - 1)
                if position in wrong:
                    continue
                if len(parts) < width:
                    rejected.append((found.numbers[position], f"expected {width} fields between tabs, found {len(parts)}",
                                     line[:500]))
                    continue
                kept.append(found.numbers[position])
                fields.append(parts)
            columns = list(zip(*fields, strict=True)) or [()] * width
            table = pa.table({name: pa.array(values, pa.string()) for name, values in zip(config.columns, columns, strict=True)})
            if kept or rejected:
                yield Chunk(table, np.array(kept, np.int64), rejects(rejected) if rejected else None, notes)
                notes = ()
    if opened.encoding == "UTF-8":
        check_part(unread, done, file, config.encoding)
