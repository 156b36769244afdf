"""What every source shares: its settings, the list of its files, and lines of bytes read in bounded memory."""

from __future__ import annotations

import codecs
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from pydantic import BeforeValidator

from bessemer.core.config import Config
from bessemer.core.errors import MissingColumn, UserError, nearest
from bessemer.data.encoding import MARK, SUFFIXES, Transcoded, unpacked, zipped_name
from bessemer.data.guess import Found, encoding_of, found_in, proposals

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KINDS = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet",
         ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".txt": "lines", ".xlsx": "excel", ".xlsm": "excel",
         ".xlsb": "excel", ".xls": "excel", ".ods": "excel", ".sqlite": "sqlite", ".sqlite3": "sqlite", ".db": "sqlite"}
BLOCK = 4 << 20
SHOWN = 200
_NAMES = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "validation", "development": "validation", "test": "test", "testing": "test"}


def _as_values(value: Any) -> Any:
    """Return what YAML may hold for the values of a column, one or a list, as texts.

    >>> _as_values(5), _as_values(["a", True])
    (['5'], ['a', 'true'])
    """
    found = list(value) if isinstance(value, (list, tuple)) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) if isinstance(item, (int, float)) else item for item in found]


class Rows(Config):
    """Settings that every kind of source has."""

    split: str | None = None
    """The split that all its rows belong to: train, validation or test; only with `split: {kind: given}`."""
    where: dict[str, Annotated[tuple[str, ...], BeforeValidator(_as_values)]] = {}
    """Column -> a value or several: a row is used only where each of these columns has one of its values."""
    rename: dict[str, str] = {}
    """Column in the file -> its name in this recipe."""
    columns: tuple[str, ...] | None = None
    """The columns to read; those that the recipe names by default."""


def split_name(value: str) -> str | None:
    """Return train, validation or test for one of their usual names (`dev`, `val`, …), or None.

    >>> split_name("Dev")
    'validation'
    """
    return _NAMES.get(value.strip().lower())


def expand(path: str | tuple[str, ...]) -> tuple[Path, ...]:
    """Return the files that a path, several, or patterns with `*` name, each pattern's in order of name."""
    found: list[Path] = []
    for entry in (path,) if isinstance(path, str) else path:
        if "://" in entry:
            raise UserError(f"'{entry}' is an address, and this reads files of this machine alone; copy it here, or read tables by the "
                            "stage 'stream' with the source {kind: files, path: …}")
        if any(sign in entry for sign in "*?[") and not Path(entry).exists():
            matches = sorted(Path(item) for item in glob.glob(entry, recursive=True) if Path(item).is_file())
            if not matches:
                raise UserError(f"no file matches '{entry}'; correct the path in the recipe")
            found += matches
        else:
            found.append(_checked(Path(entry)))
    if not found:
        raise UserError("a source has an empty list of paths; name at least one file")
    return tuple(found)


def _checked(file: Path) -> Path:
    if file.is_dir():
        raise UserError(f"'{file}' is a folder, not a file; name a file in it, or all of them: '{file}/*'")
    if not file.exists():
        names = [item.name for item in file.parent.iterdir()] if file.parent.is_dir() else []
        hint = nearest(file.name, names) if "mean" in nearest(file.name, names) else ""
        raise UserError(f"there is no file '{file}'{hint or '; correct the path in the recipe'}")
    return file


def kind_of(file: Path) -> str | None:
    """Return the kind of source that a file's name says (`rows.csv.gz` is CSV), or None."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes and suffixes[-1] in SUFFIXES:
        if suffixes.pop() == ".zip" and not (suffixes and suffixes[-1] in KINDS):
            suffixes = [Path(zipped_name(file)).suffix.lower()]
    return KINDS.get(suffixes[-1]) if suffixes else None


def plain_head(file: Path, size: int = 65536) -> bytes:
    """Return a file's first bytes, unpacked where it is compressed."""
    with file.open("rb") as stream, unpacked(stream, file) as plain:
        return plain.read(size)


def check_encoding(value: str | None) -> str | None:
    """Return the name of an encoding, or raise ValueError where there is none of that name."""
    if value is not None:
        try:
            "a".encode(value).decode(value)
        except (LookupError, UnicodeError):
            raise ValueError(f"there is no encoding '{value}'; expected one such as utf-8, utf-16, gb18030, latin-1") from None
    return value


@dataclass(frozen=True)
class Opened:
    """A file of text, opened.

    Attributes:
        stream: its text as UTF-8; bytes that are no text in another encoding are MARK, those that are no UTF-8 are as they were.
        encoding: the encoding that it lies in.
        notes: what a person should know: that the encoding was found and not said.
    """

    stream: BinaryIO
    encoding: str
    notes: tuple[str, ...] = ()


def open_text(file: Path, kind: str, encoding: str | None) -> Opened:
    """Open a file of text in a named encoding, or in the one that its first bytes show; see `open_checked` for errors."""
    stream = open_checked(file, kind, encoding=encoding)
    found, other = Found(encoding) if encoding else found_in(plain_head(file))
    if found is None or codecs.lookup(found).name in ("utf-8", "utf-8-sig"):
        return Opened(stream, "UTF-8")
    told = () if encoding or found == "utf-16" else (
        f"{file.name}: its bytes are no UTF-8 and look like {found.upper()}, as which it is read; say 'encoding:' where that is wrong",)
    if other is not None:
        told = (f"{file.name}: its bytes are no UTF-8 and may be {found.upper()} or {other.upper()}, which too few letters tell apart; it "
                f"is read as {found.upper()}: set encoding: {found} or encoding: {other} in the source to say which it is",)
    plain: Any = Transcoded(stream, found)
    return Opened(plain, found.upper(), told)


def marked(columns: Sequence[pa.Array | pa.ChunkedArray]) -> np.ndarray:
    """Return which rows hold MARK in one of the columns of text: bool [N]."""
    import numpy as np
    import pyarrow.compute as pc

    bad = np.zeros(len(columns[0]) if columns else 0, bool)
    for column in columns:
        bad |= pc.fill_null(pc.match_substring(column, MARK), False).to_numpy(zero_copy_only=False)
    return bad


def open_checked(file: Path, kind: str, *, text: bool = True, encoding: str | None = "utf-8") -> BinaryIO:
    """Open a data file; one that is empty, may not be read, or (where text is expected) is binary is a UserError.

    Where text is expected, a compressed file is unpacked as it is read. Another `encoding`, or None for one that the text's first
    bytes tell, says that the caller can read it.
    """
    try:
        stream = file.open("rb")
    except PermissionError:
        raise UserError(f"there is no permission to read '{file}'; change its rights (chmod u+r)") from None
    try:
        head = plain_head(file) if text else stream.read(1)
    except UserError:
        stream.close()
        raise
    stream.seek(0)
    problem = _problem(head, kind, encoding) if text or not head else None
    if problem:
        stream.close()
        raise UserError(f"'{file}' {problem}")
    return unpacked(stream, file) if text else stream


def _problem(head: bytes, kind: str, encoding: str | None) -> str | None:
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        return f"is empty; expected {kind} with at least one row"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is UTF-16 text; save it as UTF-8" if encoding == "utf-8" else None
    # a stray NUL is a control character, which cleaning removes
    if encoding in (None, "utf-8") and head.count(0) > max(3, len(head) // 100) and not (encoding is None and encoding_of(head)):
        return f"is a binary file (byte {head.index(0)} is NUL); expected {kind} as UTF-8 text"
    return None


def check_part(bad: int, rows: int, file: Path, encoding: str | None, *, folder: Path | None = None,
               told: bytes = b"") -> None:
    """Refuse a file of which more than a fifth of the rows, and more than one, are no UTF-8, where no encoding was said.

    Args:
        bad: rows that are no UTF-8.
        rows: all of them.
        file: what they are of.
        encoding: the one that was said.
        folder: it was the folder's files that were counted, of which `file` is one that is no UTF-8.
        told: bytes of the folder's files that are no UTF-8.
    """
    if encoding is None and bad > 1 and bad * 5 > rows:
        what = "files are not valid UTF-8, so they are" if folder else "rows are not valid UTF-8, so the file is"
        their, them = ("their", "files") if folder else ("its", "file")
        raise UserError(f"'{folder or file}': {bad:,} of {rows:,} {what} in another encoding, which {their} bytes do not show; name it in "
                        f"the recipe's source ('encoding: …') or in the command (--encoding), such as "
                        f"{', '.join(proposals(told or _telling(file)))}, or save the {them} as UTF-8")


def _telling(file: Path, size: int = 1 << 20) -> bytes:
    """Return the first bytes of a file from a block on that is not ASCII alone, unpacked."""
    with file.open("rb") as raw, unpacked(raw, file) as plain:
        while (block := plain.read(size)).isascii() and block:
            pass
    first = next((place for place, byte in enumerate(block) if byte > 127), 0)
    return block[max(0, first - SHOWN):]


def missing_column(name: str, known: Iterable[str], file: Path | str) -> MissingColumn:
    """Return the error for a column that a file does not have: with the nearest name and the file's columns."""
    names = list(known)
    shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
    hint = nearest(name, names) if "mean" in nearest(name, names) else ""
    return MissingColumn(f"'{file}' has no column '{name}'{hint or ';'} its columns are: {shown}", name)


@dataclass
class Lines:
    """Some lines of a file.

    Attributes:
        numbers: 1-based line numbers of `lines`.
        lines: without their line ends; empty lines are left out.
        long: (line number, its first bytes) of lines longer than allowed.
    """

    numbers: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    long: list[tuple[int, bytes]] = field(default_factory=list)


def read_lines(stream: BinaryIO, max_bytes: int, block: int = BLOCK) -> Iterator[Lines]:
    """Yield a file's lines block by block; never holds more than `max_bytes` + `block` bytes of it."""
    number, rest, skipped = 1, b"", False
    while True:
        data = stream.read(block)
        if number == 1 and not rest:
            data = data.removeprefix(b"\xef\xbb\xbf")
        parts = (rest + data).split(b"\n")
        rest = parts.pop()
        if not data and rest:
            parts, rest = [rest], b""
        found = Lines()
        for part in parts:
            if skipped:
                skipped = False  # the end of a line that was rejected already
            elif len(part) > max_bytes:
                found.long.append((number, part[:SHOWN]))
            elif part.strip():
                found.lines.append(part[:-1] if part.endswith(b"\r") else part)
                found.numbers.append(number)
            number += 1
        if skipped:
            rest = b""
        elif len(rest) > max_bytes:
            found.long.append((number, rest[:SHOWN]))
            rest, skipped = b"", True
        yield found
        if not data:
            return


def decode(lines: list[bytes], encoding: str = "UTF-8") -> tuple[pa.Array, list[int]]:
    """Return lines as strings, and the positions of those that are not valid in their encoding (empty strings in the result)."""
    import pyarrow as pa

    raw, bad = pa.array(lines, pa.binary()), []
    if encoding != "UTF-8":
        mark = MARK.encode()
        bad = [position for position, line in enumerate(lines) if mark in line]
    else:
        try:
            return raw.cast(pa.string()), []
        except pa.ArrowInvalid:
            for position, line in enumerate(lines):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    bad.append(position)
    wrong = set(bad)
    return pa.array([b"" if i in wrong else line for i, line in enumerate(lines)], pa.binary()).cast(pa.string()), bad


def shown(line: bytes, size: int = 500) -> str:
    """Return the beginning of a line as people are shown it."""
    return line[:size].decode("utf-8", "replace").replace(MARK, "\ufffd")


def rejects(rows: Iterable[tuple[int, str, bytes | str]]) -> pa.Table:
    """Return a table of rejected rows from (number, reason, content)."""
    import pyarrow as pa

    found = sorted(rows, key=lambda row: row[0])
    shown = [row[2].decode("utf-8", "replace") if isinstance(row[2], bytes) else row[2] for row in found]
    return pa.table({"row": pa.array([row[0] for row in found], pa.int64()),
                     "reason": pa.array([row[1] for row in found], pa.string()), "content": pa.array(shown, pa.string())})
