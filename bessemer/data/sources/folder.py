"""A folder of texts by class: `pos/a.txt`, `neg/deep/er/b.txt`. A row is a file, its label the folder that it lies in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field, field_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.combine import picked
from bessemer.data.encoding import unpacked
from bessemer.data.guess import binary
from bessemer.data.rows import Rows, check_encoding, check_part, rejects
from bessemer.data.together import Together, judged_together

MOST = 4096
BYTES = 32 << 20
_NO_TEXT = "not valid "


class Folder(Rows):
    """Rows of files, one text each: the columns `label`, `text` and `file`; a row's number is its file's place, in order of path."""

    path: str
    """The folder."""
    pattern: str = "*.txt"
    """The names of the files that are texts, with `*` and `?`; `*.txt.gz` and the like are unpacked."""
    level: Annotated[int, Field(ge=-20, le=20)] = 1
    """The folder that is the label: 1 is that just below `path`, 2 the next; -1 that in which the file lies."""
    columns: tuple[str, ...] | None = None
    """The columns to read, of label, text and file; label and text by default."""
    encoding: str | None = None
    """The encoding of the texts; by default those that are UTF-8 are, and the rest are in what their bytes show together."""
    max_file_bytes: Annotated[int, Field(ge=1, le=1 << 30)] = 4 << 20
    """The longest file, unpacked; a longer one is set aside."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    @field_validator("level")
    @classmethod
    def _some(cls, value: int) -> int:
        if not value:
            raise ValueError("expected 1 for the folder just below 'path', 2 for the next, or -1 for that of the file")
        return value

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return tuple(_files(self)[0])


@register("data/sources", "folder")
def source(config: Folder) -> Source:
    """Return the texts of a folder."""
    files, hidden = _files(config)

    def read() -> Iterator[Chunk]:
        yield from _read(files, hidden, config)

    return Source(Path(config.path).name or config.path, tuple(files), read)


def _files(config: Folder) -> tuple[list[Path], int]:
    """Return the texts in order of path, and how many are left out because their name or a folder's begins with a dot."""
    import fnmatch

    root = Path(config.path)
    if not root.is_dir():
        raise UserError(f"'{root}' is a file; expected a folder of texts" if root.exists() else
                        f"there is no folder '{root}'; correct the path in the recipe")
    found, hidden = [], 0
    for folder, _, names in os.walk(root, onerror=_refused):
        below = Path(folder).relative_to(root).parts
        chosen = fnmatch.filter(names, config.pattern)
        seen = [] if any(part.startswith(".") for part in below) else [name for name in chosen if not name.startswith(".")]
        hidden += len(chosen) - len(seen)
        found += [Path(folder, name) for name in seen if Path(folder, name).is_file()]
    if not found:
        raise UserError(f"the folder '{root}' has no file '{config.pattern}'; expected texts in a folder for each class, such as "
                        f"'{root / 'pos' / '1.txt'}'")
    return sorted(found, key=lambda file: file.relative_to(root).parts), hidden


def _refused(error: OSError) -> None:
    raise UserError(f"the folder '{error.filename}' cannot be read ({error.strerror}); change its rights (chmod u+rx)")


def _read(files: list[Path], hidden: int, config: Folder) -> Iterator[Chunk]:
    root = Path(config.path)
    notes: tuple[str, ...] = (f"{root.name}: {hidden:,} hidden files (names that begin with a dot) are left out",) if hidden else ()
    rows: list[tuple[int, str | None, str, str]] = []
    bad: list[tuple[int, str, bytes | str]] = []
    size = unread = 0
    sample = files[0]
    together = Together() if config.encoding else found_together(config, files)
    for number, file in enumerate(files, 1):
        name = PurePosixPath(*file.relative_to(root).parts)
        text, why = _text(file, str(name), config, together)
        if why:
            bad.append((number, why, str(name)))
            unread, sample = (unread + 1, file) if why.startswith(_NO_TEXT) else (unread, sample)
        else:
            rows.append((number, _label(name, config.level), text, str(name)))
        size += len(text)
        if len(rows) + len(bad) >= MOST or size >= BYTES or number == len(files):
            yield _chunk(rows, bad, config, notes + (together.notes(root.name) if number == len(files) else ()))
            rows, bad, size, notes = [], [], 0, ()
    check_part(unread, len(files), sample, config.encoding, folder=root, told=together.sample)


def found_together(config: Folder, files: list[Path] | None = None) -> Together:
    """Return which encoding the texts of a folder are in, by a sample of them."""
    chosen = files if files is not None else _files(config)[0]

    def read(place: int, size: int) -> bytes:
        with chosen[place].open("rb") as raw, unpacked(raw, chosen[place]) as stream:
            return stream.read(size)

    return judged_together(len(chosen), read)


def _chunk(rows: list[tuple[int, str | None, str, str]], bad: list[tuple[int, str, bytes | str]], config: Folder,
           notes: tuple[str, ...]) -> Chunk:
    import numpy as np
    import pyarrow as pa

    numbers, labels, texts, names = zip(*rows, strict=True) if rows else ((), (), (), ())
    table = pa.table({"label": pa.array(labels, pa.string()), "text": pa.array(texts, pa.string()), "file": pa.array(names, pa.string())})
    chosen = config.columns if config.columns is not None else ("label", "text")
    return Chunk(picked(table, chosen, config.path), np.array(numbers, np.int64), rejects(bad) if bad else None, notes)


def _label(name: PurePosixPath, level: int) -> str | None:
    """Return the folder at a level; None for a file that lies too high."""
    folders = name.parts[:-1]
    place = level - 1 if level > 0 else len(folders) + level
    return folders[place] if 0 <= place < len(folders) else None


def _text(file: Path, name: str, config: Folder, together: Together) -> tuple[str, str]:
    """Return a file's text, and why it cannot be read (empty where it can)."""
    try:
        with file.open("rb") as raw, unpacked(raw, file) as stream:
            data: Any = stream.read(config.max_file_bytes + 1)
    except UserError:
        return "", "damaged, or not copied whole"
    except OSError as error:
        return "", f"cannot be read ({error.strerror or error})"
    if len(data) > config.max_file_bytes:
        return "", f"file longer than {config.max_file_bytes} bytes"
    found = config.encoding or together.encoding(data)
    if found is None and binary(data):
        return "", "a binary file, no text"
    try:
        text = data.decode(found or "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return "", f"{_NO_TEXT}{(found or 'utf-8').upper()}"
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        return "", f"{_NO_TEXT}{(found or 'utf-8').upper()}"
    if config.encoding is None:
        together.read(found, name)
    return text, ""
