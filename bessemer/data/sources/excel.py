"""Excel (.xlsx, .xlsm, .xls) and OpenDocument (.ods) sheets: a header, then one row a record, values as the text that CSV would hold.

Formulas give the values that were stored with them. A sheet lies in memory while it is read, so that its size is checked before: an
archive that unpacks too far, or cells that lie too far apart, are a UserError.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.parsers import expat

from pydantic import Field

from bessemer.core.errors import MissingColumn, UserError, nearest
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.rows import Rows, expand, missing_column, open_checked, rejects
from bessemer.data.typed import batch_rows
from bessemer.data.values import batched, chunk_of, distinct, word

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = re.compile(rb'\br="([A-Z]{1,3})(\d{1,9})"')
_WIDE = re.compile(rb'\br="([A-Z]{2,3})\d{1,9}"')
_ROW = re.compile(rb'row r="(\d{1,9})"')
_BLOCK = 1 << 20
LOOKED_AT = 200
"""Rows by which a title above the table is known."""


class Excel(Rows):
    """Rows of a sheet of Excel or OpenDocument files; a row's number is the sheet's own."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""
    sheet: str | Annotated[int, Field(ge=1)] | None = None
    """The sheet's name, or its number from 1; by default the only one, or the first where the others are empty."""
    header_row: Annotated[int, Field(ge=1)] | None = None
    """The sheet's row that names the columns; by default the first that is not empty, or of a sheet with a title of one cell above its
    table the first of several cells. Rows above it are left out."""
    max_cells: Annotated[int, Field(ge=1)] = 20_000_000
    """The most cells of a sheet, empty ones between others included; each takes about 32 bytes of memory."""
    max_unpacked_bytes: Annotated[int, Field(ge=1 << 16)] = 2 << 30
    """What a file may unpack to."""

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "excel")
def source(config: Excel) -> Source:
    """Return the rows of sheets."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        first: list[str] | None = list(config.columns) if config.columns is not None else None
        for file in files:
            for chunk in _read(file, config, first):
                first = first or chunk.table.column_names
                yield chunk

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


def _title(named: list[str], config: Excel, rows: Iterable[tuple[int, list[Any]]]) -> str:
    """Return what to do where the first row that holds something may be a title: of one cell, above rows of more."""
    if len(named) > 1 or config.header_row is not None:
        return ""
    wider = next((number for number, row in rows if sum(value != "" for value in row) > 1), None)
    return "" if wider is None else \
        f"; where that is a title above the table, say in the source which row holds the columns' names: 'header_row: {wider}'"


def _below_title(file: Path, cells: Iterator[tuple[int, list[Any]]]) -> tuple[Iterator[tuple[int, list[Any]]], tuple[str, ...]]:
    """Return a sheet's rows from the one that names the columns, and what is said of a title above it.

    A title is a first row of one cell where more than half of the next rows have cells in other columns; it ends with the first of those.
    """
    ahead: list[tuple[int, list[Any]]] = []
    for number, row in cells:
        if any(value != "" for value in row):
            ahead.append((number, row))
        if len(ahead) > LOOKED_AT or len(ahead) == 1 and sum(value != "" for value in row) > 1:
            break
    filled = [[place for place, value in enumerate(row) if value != ""] for _, row in ahead]
    beside = [place for place, found in enumerate(filled) if set(found) - set(filled[0])]
    if not ahead or len(filled[0]) > 1 or 2 * len(beside) <= len(ahead) - 1:
        return chain(ahead, cells), ()
    wider = next((place for place in beside if len(filled[place]) > 1), beside[0])
    title = str(ahead[0][1][filled[0][0]])[:60]
    note = f"{file.name}: row {ahead[0][0]} ('{title}') is a title, row {ahead[wider][0]} names the columns (header_row: {ahead[wider][0]})"
    return chain(ahead[wider:], cells), (note,)


def _read(file: Path, config: Excel, wanted: list[str] | None) -> Iterator[Chunk]:
    opened: list[str] = []
    cells, notes = _below_title(file, _cells(file, config, opened)) if config.header_row is None else (_cells(file, config, opened), ())
    head = config.header_row or 0
    names: list[str] = []
    for number, row in cells:
        found = [word(value) or "" for value in row]
        if number == head or (not head and any(found)):
            names = [name.strip() for name in found]
            break
    used = [place for place, name in enumerate(names) if name]
    if not used:
        raise UserError(f"'{file}': the sheet '{opened[0]}' has no header" + (f" in row {head}" if head else "")
                        + "; expected the columns' names in one row")
    named = distinct([names[place] for place in used], f"'{file}': the header")
    for name in wanted or ():
        if name not in named:
            raise MissingColumn(f"{missing_column(name, named, file)}{_title(named, config, cells)}", name)
    new = sorted(set(named) - set(wanted)) if wanted is not None and config.columns is None else []
    if new:
        raise UserError(f"'{file}' has a column '{new[0]}', which the first file has not; make the files alike or name the columns to read")
    places = [used[named.index(name)] for name in (wanted if wanted is not None else named)]
    columns, any_row = [names[place] for place in places], False
    for part in batched(((number, row) for number, row in cells if any(value != "" for value in row)), batch_rows(len(names))):
        stray = [(number, row) for number, row in part if any(row[place] != "" for place in range(len(row)) if not names[place])]
        apart = {number for number, _ in stray}
        good = [(number, row) for number, row in part if number not in apart]
        any_row = True
        chunk = chunk_of(columns, [[row[place] for place in places] for _, row in good], [number for number, _ in good])
        yield Chunk(chunk.table, chunk.numbers, _rejected(chunk.rejected, stray), notes)
        notes = ()
    if not any_row:
        raise UserError(f"'{file}': the sheet '{opened[0]}' has a header but no rows; expected at least one")


def _rejected(unread: pa.Table | None, stray: list[tuple[int, list[Any]]]) -> pa.Table | None:
    import pyarrow as pa

    found = [] if unread is None else [unread]
    if stray:
        found.append(rejects([(number, "a value in a column without a name", " | ".join(word(value) or "" for value in row)[:500])
                              for number, row in stray]))
    return pa.concat_tables(found) if found else None


def _cells(file: Path, config: Excel, opened: list[str]) -> Iterator[tuple[int, list[Any]]]:
    """Yield (row number, values) of the sheet, top to bottom; its name is added to `opened` before the first."""
    with open_checked(file, "an Excel sheet", text=False) as stream:
        head = stream.read(8)
    if head[:4] == b"PK\x03\x04":
        _guard(file, config)
    elif head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        _unlocked(file)
    else:
        raise UserError(f"'{file}' is no Excel or OpenDocument sheet (it begins with {head[:4]!r}); expected .xlsx, .xls or .ods")
    try:
        import python_calamine
    except ImportError:
        raise UserError("reading Excel sheets needs the package python-calamine; install it: pip install 'bessemer[readers]'") from None
    try:
        with python_calamine.CalamineWorkbook.from_path(str(file)) as book:
            name = _sheet(file, book, config.sheet)
            opened.append(name)
            yield from enumerate(book.get_sheet_by_name(name).iter_rows(), 1)
    except python_calamine.PasswordError:
        raise _locked(file) from None
    except (python_calamine.CalamineError, struct.error, ValueError, OverflowError) as error:
        raise _damaged(file, str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's own fault over a damaged file, of no public class
            raise
        raise _damaged(file, str(error)) from None


def _sheet(file: Path, book: Any, asked: str | int | None) -> str:
    names = list(book.sheet_names)
    if not names:
        raise _damaged(file, "it has no sheet")
    if isinstance(asked, int):
        if asked > len(names):
            raise UserError(f"'{file}' has {len(names)} sheet{'s' * (len(names) > 1)}, no sheet {asked}; its sheets are: "
                            f"{', '.join(names)}")
        return str(names[asked - 1])
    if asked is not None:
        if asked not in names:
            raise UserError(f"'{file}' has no sheet '{asked}'{nearest(asked, names)}")
        return asked
    full = [name for name in names if len(names) == 1 or book.get_sheet_by_name(name).end is not None]
    if len(full) > 1:
        raise UserError(f"'{file}' has {len(full)} sheets with rows ({', '.join(full)}); name one: 'sheet: {full[0]}' in a recipe, "
                        f"'{file}#{full[0]}' in a command")
    return str((full or names)[0])


def _guard(file: Path, config: Excel) -> None:
    """Refuse an archive that unpacks too far or whose cells span too much; what it says of itself is not believed."""
    left = config.max_unpacked_bytes
    try:
        with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
            for item in archive.infolist():
                if item.flag_bits & 1:
                    raise _locked(file)
                sheet = item.filename.startswith("xl/worksheets/") and item.filename.endswith(".xml")
                span = _Span() if sheet else _Ods() if item.filename == "content.xml" else None
                for block in _unpacked(stream, item):
                    left -= len(block)
                    if left < 0:
                        raise UserError(f"'{file}' unpacks to more than {config.max_unpacked_bytes:,} bytes, the most that a sheet may; is "
                                        "it a damaged or malicious file? Raise max_unpacked_bytes if it is meant")
                    if span is not None and span.feed(block) > config.max_cells:
                        raise UserError(f"'{file}': the cells of '{item.filename}' span more than {config.max_cells:,} places, the most "
                                        "that a sheet may; delete what stands far from the others, or raise max_cells")
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, expat.ExpatError, UnicodeError) as error:
        raise _damaged(file, str(error)) from None


def _unpacked(stream: Any, item: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member's bytes to their very end, whatever length the archive states."""
    if item.header_offset < 0:
        raise zipfile.BadZipFile("a member lies outside the file")
    stream.seek(item.header_offset)
    head = stream.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member lies outside the file")
    name, extra = struct.unpack("<HH", head[26:30])
    stream.seek(name + extra, 1)
    if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("a member is packed in a way that is not known")
    opened = zlib.decompressobj(-15) if item.compress_type == zipfile.ZIP_DEFLATED else None
    left = item.compress_size
    while left > 0 and (data := stream.read(min(_BLOCK, left))):
        left -= len(data)
        while opened is not None and data:
            yield opened.decompress(data, _BLOCK)
            data = opened.unconsumed_tail
        if opened is None:
            yield data


class _Span:
    """Counts the places that the cells of an .xlsx sheet span, as its XML goes by."""

    def __init__(self) -> None:
        self.rest, self.rows, self.columns = b"", 0, 26

    def feed(self, block: bytes) -> int:
        """Take the next bytes; return the places so far."""
        data = self.rest + block
        self.rest = data[-64:]
        self.rows = max([self.rows, *map(int, _ROW.findall(data)), *(int(row) for _, row in _CELL.findall(data[-4096:]))])
        self.columns = max([self.columns, *map(_column, _WIDE.findall(data))])
        return self.rows * self.columns


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


class _Ods:
    """Counts the places that the cells of an .ods sheet span, its repeated rows and columns included."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.rows, self.empty, self.width, self.most, self.times, self.column, self.seen = 0, 0, 0, 0, 1, 0, 0

    def feed(self, block: bytes) -> int:
        """Take the next bytes; return the places so far."""
        self.parser.Parse(block, False)
        return max(self.seen, self.rows * self.most)

    def _start(self, name: str, given: dict[str, str]) -> None:
        plain = {key.rpartition(" ")[2]: value for key, value in given.items()}
        kind = name.rpartition(" ")[2]
        if kind == "table":
            self.seen, self.rows, self.empty, self.most = max(self.seen, self.rows * self.most), 0, 0, 0
        elif kind == "table-row":
            self.times, self.column, self.width = _times(plain.get("number-rows-repeated")), 0, 0
        elif kind in ("table-cell", "covered-table-cell"):
            self.column += _times(plain.get("number-columns-repeated"))
            if "value-type" in plain:
                self.width = self.column
        elif kind == "p":
            self.width = max(self.width, self.column)

    def _end(self, name: str) -> None:
        if name.rpartition(" ")[2] != "table-row":
            return
        if self.width:
            self.rows, self.empty, self.most = self.rows + self.empty + self.times, 0, max(self.most, self.width)
        else:
            self.empty += self.times


def _times(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 1


def _unlocked(file: Path) -> None:
    """Refuse an encrypted workbook: an OLE file that holds a package instead of a sheet."""
    mark, rest = "EncryptedPackage".encode("utf-16-le"), b""
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if mark in rest + block:
                raise _locked(file)
            rest = block[-64:]


def _locked(file: Path) -> UserError:
    return UserError(f"'{file}' is encrypted; open it, save it without a password, and name that file")


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"'{file}' is damaged or no sheet that can be read ({(why.splitlines() or ['no reason given'])[0][:200]}); was it "
                     "copied whole? Open it and save it again")
