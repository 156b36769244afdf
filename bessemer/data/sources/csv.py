"""CSV and TSV: a header, then one row a record, quoted or not; streamed, so that memory stays flat.

Bytes that are not UTF-8 are replaced by a mark on their way in, so that only the rows that hold them are rejected.
Source of the format: RFC 4180, with any of `,` `;` tab `|` between fields and any line end.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.types import Chunk, Source
from bessemer.data.encoding import MARK
from bessemer.data.guess import likely
from bessemer.data.rows import SHOWN, Opened, Rows, check_encoding, check_part, expand, marked, missing_column, open_text, rejects
from bessemer.data.values import distinct

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ESCAPED = re.compile("[\udc80-\udcff]")
DELIMITERS = (",", ";", "\t", "|")


class Csv(Rows):
    """Rows of CSV or TSV files, the first line of each being its header."""

    path: str | tuple[str, ...]
    """A file, a pattern with `*`, or a list of them; several are stacked."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """The sign between fields; found in the header (one of `,` `;` tab `|`) by default."""
    encoding: str | None = None
    """The encoding of the text, such as gb18030 or latin-1; UTF-8 by default, or what the first bytes plainly show (UTF-16, GB18030, Big5,
    Shift-JIS, EUC, cp1252, cp1250 and others of one byte a letter)."""
    max_row_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 << 20
    """The longest row; a longer one is an error, because a quote that is never closed looks like it."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return check_encoding(value)

    def outside(self) -> tuple[Path, ...]:
        """Return the files that are read."""
        return expand(self.path)


@register("data/sources", "csv")
def source(config: Csv) -> Source:
    """Return the rows of CSV files."""
    files = expand(config.path)

    def read() -> Iterator[Chunk]:
        first: list[str] | None = None
        for file in files:
            names, sign = header(file, config)
            first = first or (list(config.columns) if config.columns is not None else names)
            new = sorted(set(names) - set(first)) if config.columns is None else []
            if new:
                raise UserError(f"'{file}' has a column '{new[0]}', which '{files[0]}' has not; make the files alike or name the "
                                "columns to read")
            yield from _read(file, config, (names, sign, first))

    return Source(files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more", files, read)


class _Utf8(io.RawIOBase):
    """A stream whose bytes that are not UTF-8 are replaced by MARK; counts the quotes that it sees."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream, self.rest, self.marked, self.quotes = stream, b"", False, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        part = self.rest + data
        self.rest = b""
        try:
            part.decode("utf-8")
        except UnicodeDecodeError as error:
            if data and error.reason == "unexpected end of data":
                part, self.rest = part[:error.start], part[error.start:]
            else:
                part = self._mark(part, final=not data)
        self.quotes += part.count(b'"')
        if not part and data:
            return self.read(size)  # a few bytes that begin one character: more are needed
        return part

    def _mark(self, part: bytes, *, final: bool) -> bytes:
        for length in (1, 2, 3):  # keep back the beginning of a character that the next block ends
            try:
                part[-length:].decode("utf-8")
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data" and error.start == 0 and not final:
                    part, self.rest = part[:-length], part[-length:]
                    break
        self.marked = True
        return _ESCAPED.sub(MARK, part.decode("utf-8", "surrogateescape")).encode("utf-8")


def _open(file: Path, config: Csv) -> Opened:
    return open_text(file, "CSV", config.encoding)


def header(file: Path, config: Csv) -> tuple[list[str], str]:
    """Return a file's column names and the sign between its fields; a repeated name is a UserError."""
    opened = _open(file, config)
    with opened.stream as stream:
        raw = stream.read(1 << 20)
        while not (b"\n" in raw or b"\r" in raw) and len(raw) < config.max_row_bytes and (more := stream.read(1 << 20)):
            raw += more
    text = raw.decode("utf-8-sig", "replace").lstrip("\r\n")
    first = next(iter(text.splitlines()), "")
    sign = config.delimiter or _sniff(first)
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=sign), [])
    except csv.Error as error:
        raise UserError(f"'{file}': the header cannot be read ({error}); expected the columns' names in the first line") from None
    if not names:
        raise UserError(f"'{file}': the first line is empty; expected the columns' names in it")
    for position, name in enumerate(names):
        if "\ufffd" in name or MARK in name:
            raise UserError(f"'{file}': the name of column {position + 1} ('{name.replace(MARK, chr(0xfffd))[:60]}') is not valid "
                            f"{opened.encoding}; save the file as UTF-8, or name its encoding, such as {likely(raw)} (in a "
                            "recipe's source 'encoding: …', in a command --encoding)")
    return distinct(names, f"'{file}': the header"), sign


def _sniff(line: str) -> str:
    outside = re.sub(r'"[^"]*"', "", line)
    return max(DELIMITERS, key=lambda sign: (outside.count(sign), -DELIMITERS.index(sign)))


@dataclass
class _Ragged:
    """Rows whose number of fields differs from the header's; pyarrow tells their number, the header being row 1."""

    found: list[tuple[int, str, str]] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)

    def __call__(self, row: Any) -> str:
        number = int(row.number) - 1
        self.numbers.add(number)
        self.found.append((number, f"expected {row.expected_columns} fields, found {row.actual_columns}",
                           row.text.replace(MARK, "\ufffd")[:500]))
        return "skip"

    def number(self, following: int, count: int) -> np.ndarray:
        """Return the numbers of the next `count` rows that are whole, `following` being the first candidate."""
        import numpy as np

        near = np.arange(following, following + count + len(self.numbers), dtype=np.int64)
        if self.numbers:
            near = near[~np.isin(near, np.fromiter(self.numbers, np.int64))]
        return near[:count]

    def take(self, last: int) -> list[tuple[int, str, str]]:
        """Hand over the rows up to number `last`."""
        ready = [row for row in self.found if row[0] <= last]
        self.found = [row for row in self.found if row[0] > last]
        self.numbers -= {row[0] for row in ready}
        return ready


def _read(file: Path, config: Csv, head: tuple[list[str], str, list[str]]) -> Iterator[Chunk]:
    """Yield a file's rows; `head` is its header: the names, the sign between fields, the columns wanted."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    names, sign, wanted = head
    known = set(names)
    for name in wanted:
        if name not in known:
            raise missing_column(name, names, file)
    ragged, done, open_end, bad = _Ragged(), 0, False, 0
    opened = _open(file, config)
    encoding, notes = opened.encoding, opened.notes
    with opened.stream as stream:
        clean = _Utf8(stream)
        plain = type(stream) is io.BufferedReader  # neither unpacked nor transcoded: as long as the file
        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(clean, mode="r"),
                read_options=arrow_csv.ReadOptions(
                    block_size=min(config.max_row_bytes, file.stat().st_size + 1) if plain else config.max_row_bytes, use_threads=False),
                parse_options=arrow_csv.ParseOptions(delimiter=sign, newlines_in_values=True, invalid_row_handler=ragged),
                convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), check_utf8=False,
                                                         strings_can_be_null=False,
                                                         include_columns=[*wanted, *({names[-1]} - set(wanted))]))
            for batch in reader:
                if not batch.num_rows:
                    continue
                numbers = ragged.number(done + 1, batch.num_rows)
                done = int(numbers[-1])
                open_end = "\n" in batch.column(names[-1])[-1].as_py()
                for chunk in _pieces(pa.Table.from_batches([batch.select(wanted)]), numbers, ragged.take(done),
                                     encoding if clean.marked or encoding != "UTF-8" else None):
                    bad += chunk.rejected["reason"].to_pylist().count("not valid UTF-8") if chunk.rejected is not None else 0
                    yield Chunk(chunk.table, chunk.numbers, chunk.rejected, notes)
                    notes = ()
        except pa.ArrowInvalid as error:
            raise _explain(error, file, done, config) from None
        except KeyError as error:
            raise UserError(f"'{file}': the header cannot be read as CSV ({str(error)[:200]}); write each column's name plainly or "
                            "wholly in quotes") from None
    if not done and not ragged.found:
        raise UserError(f"'{file}' has a header but no rows; expected at least one")
    if clean.quotes % 2 and (open_end or any("\n" in row[2] for row in ragged.found)):
        raise UserError(f"'{file}', data row {max([done, *ragged.numbers])}: a quote (\") is opened and never closed, so the rest "
                        "of the file would be one value; close it, or double it where it is meant as a sign")
    check_part(bad, done, file, config.encoding)
    if ragged.found:
        empty = pa.table({name: pa.array([], pa.string()) for name in wanted})
        yield from _pieces(empty, ragged.number(1, 0), ragged.take(1 << 62), None)


def _pieces(table: pa.Table, numbers: np.ndarray, ragged: list[tuple[int, str, str]], encoding: str | None,
            rows: int = 65536) -> Iterator[Chunk]:
    """Yield the rows without those that hold bytes that are no text in `encoding` (None: there are none)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rejected: list[tuple[int, str, bytes | str]] = [*ragged]
    if encoding is not None:
        bad = marked(table.columns)
        wrong = zip(*(column.to_pylist() for column in table.filter(pa.array(bad)).columns), strict=True) if bad.any() else ()
        rejected += [(int(number), f"not valid {encoding}", " | ".join(values).replace(MARK, "\ufffd")[:500])
                     for number, values in zip(numbers[bad], wrong, strict=True)]
        table, numbers = table.filter(pa.array(~bad)), numbers[~bad]
    blank, nothing = pa.scalar("", pa.string()), pa.scalar(None, pa.string())  # plain Python values are converted column by column
    columns = [pc.if_else(pc.equal(column, blank), nothing, column) for column in table.columns]
    table = pa.table(columns, names=table.column_names)
    first = rejects(rejected) if rejected else None
    for start in range(0, max(len(table), 1), rows):
        yield Chunk(table.slice(start, rows), numbers[start:start + rows], first)
        first = None


def _explain(error: Exception, file: Path, done: int, config: Csv) -> UserError:
    text, limit = str(error), config.max_row_bytes
    if "cannot infer number of columns" in text:
        return UserError(f"'{file}' has a header but no rows; expected at least one")
    if "straddl" not in text:
        return UserError(f"'{file}', after data row {done}: this is not valid CSV ({text.splitlines()[0]})")
    with io.BufferedReader(_open(file, config).stream) as lines:  # type: ignore[type-var]
        number, length = 1, 0
        while part := lines.readline(1 << 16):
            length += len(part)
            if length > limit:
                head = part[:SHOWN // 4].decode("utf-8", "replace")
                return UserError(f"'{file}', line {number}: a line longer than {limit:,} bytes (… {head!r} …), the most that a "
                                 "row may have; is a line end missing? Raise max_row_bytes of the source if it is meant")
            if part.endswith(b"\n"):
                number, length = number + 1, 0
    return UserError(f"'{file}', after data row {done}: a row longer than {limit:,} bytes, the most that a row may have; a quote "
                     "(\") that is never closed looks like this; close it, or raise max_row_bytes of the source")
