"""One file a class, one text a line: `pos.txt` and `neg.txt`. A row's label is its file's name without the ending."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data import rows
from bessemer.data.combine import picked
from bessemer.data.encoding import SUFFIXES
from bessemer.data.rows import Rows, check_encoding, check_part, expand, open_text, rejects


class ClassFiles(Rows):
    """Rows of files of lines: the columns `label`, `text`, `file` and `line`; a row's number counts through all the files."""

    path: str | tuple[str, ...]
    """A folder (its .txt files), a pattern with `*`, or a list of files; each file is a class."""
    columns: tuple[str, ...] | None = None
    """The columns to read, of label, text, file and line; label and text by default."""
    encoding: str | None = None
    """The encoding of the texts; of each file UTF-8 by default, or what its first bytes plainly show."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest line; a longer one is set aside."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return tuple(_files(self.path))


@register("data/sources", "class_files")
def source(config: ClassFiles) -> Source:
    """Return the rows of files of lines, a class each."""
    files = _files(config.path)

    def read() -> Iterator[Chunk]:
        before = 0
        for file, label in files.items():
            before = yield from _read(file, label, before, config)

    return Source(", ".join(file.name for file in list(files)[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else ""),
                  tuple(files), read)


def _files(path: str | tuple[str, ...]) -> dict[Path, str]:
    """Return each file and its label."""
    folder = Path(path) if isinstance(path, str) else None
    if folder is not None and folder.is_dir():
        files = tuple(sorted(file for file in folder.iterdir() if file.is_file() and _stem(file)[1] and not file.name.startswith(".")))
        if not files:
            raise UserError(f"the folder '{folder}' has no file that ends in .txt; expected one a class, such as pos.txt and neg.txt")
    else:
        files = expand(path)
    labels: dict[str, Path] = {}
    for file in files:
        label = _stem(file)[0]
        if label in labels:
            raise UserError(f"'{labels[label]}' and '{file}' are both the class '{label}'; rename one of them")
        labels[label] = file
    return {file: label for label, file in labels.items()}


def _stem(file: Path) -> tuple[str, bool]:
    """Return a file's name without its endings (`pos.txt.gz` is pos), and whether it ends in .txt."""
    name = file.name
    for end in SUFFIXES:
        name = name.removesuffix(end)
    return Path(name).stem, name.lower().endswith(".txt")


def _read(file: Path, label: str, before: int, config: ClassFiles) -> Generator[Chunk, None, int]:
    """Yield a file's rows and return the number of its last line; `before` lines stand in the files before it."""
    import numpy as np
    import pyarrow as pa

    opened = open_text(file, "lines of text", config.encoding)
    notes, last, done, unread = opened.notes, before, 0, 0
    with opened.stream as stream:
        for found in rows.read_lines(stream, config.max_row_bytes):
            text, bad = rows.decode(found.lines, opened.encoding)
            done, unread = done + len(found.lines), unread + len(bad)
            rejected: list[tuple[int, str, bytes | str]] = [
                (number + before, f"line longer than {config.max_row_bytes} bytes", f"{file.name}, line {number}: {rows.shown(head, 200)}")
                for number, head in found.long]
            rejected += [(found.numbers[i] + before, f"not valid {opened.encoding}",
                          f"{file.name}, line {found.numbers[i]}: {rows.shown(found.lines[i], 450)}") for i in bad]
            good = np.ones(len(text), bool)
            good[bad] = False
            line = np.array(found.numbers, np.int64)[good]
            last = max([last, *(found.numbers[-1:] and [found.numbers[-1] + before]), *(number + before for number, _ in found.long)])
            if len(line) or rejected:
                table = pa.table({"label": pa.repeat(label, len(line)), "text": text.filter(pa.array(good)),
                                  "file": pa.repeat(file.name, len(line)), "line": pa.array(line)})
                chosen = config.columns if config.columns is not None else ("label", "text")
                yield Chunk(picked(table, chosen, file.name), line + before, rejects(rejected) if rejected else None, notes)
                notes = ()
    if opened.encoding == "UTF-8":
        check_part(unread, done, file, config.encoding)
    return last
