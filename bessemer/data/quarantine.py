"""Quarantine: every row that is not used, with where it came from and why, as one Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bessemer.data.scrub import scrub

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SHOWN = 500
EXAMPLE = 40
BETWEEN = r"[\"'], ?[\"']"
READ, EDGE = 190, 64
"""Readers show at least so many bytes of a row that they cut off; the longest personal data but for addresses of pages."""


class Quarantine:
    """Context manager that writes rejected rows: source, row, reason (short), detail, content (first 500 characters).

    Kinds of personal data that are to be scrubbed (see `data/scrub.py`) are replaced in contents and details.
    """

    def __init__(self, file: Path, scrub: Sequence[str] = ()) -> None:
        self.file, self.scrub = file, tuple(scrub)
        self.count = 0
        self.reasons: dict[str, dict[str, int]] = {}
        self.places: dict[str, str] = {}

    def __enter__(self) -> Quarantine:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.schema = pa.schema([("source", pa.string()), ("row", pa.int64()), ("reason", pa.string()),
                                 ("detail", pa.string()), ("content", pa.string())])
        self.writer = pq.ParquetWriter(self.file, self.schema, compression="zstd")
        return self

    def add(self, source: str, rows: Sequence[int] | np.ndarray | pa.Array, reasons: Sequence[str] | pa.Array,
            details: Sequence[str] | pa.Array, contents: Sequence[str | None] | pa.Array) -> None:
        """Set rows of one source aside; the sequences have equal lengths."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(rows):
            return
        contents, details = pa.array(contents, pa.string()), pa.array(details, pa.string())
        if self.scrub:
            contents, details = self._scrubbed(contents), scrub(details, self.scrub)
        shown = pc.utf8_slice_codeunits(contents, 0, SHOWN)
        table = pa.table([pa.repeat(source, len(rows)), pa.array(rows, pa.int64()), pa.array(reasons, pa.string()),
                          details, shown], schema=self.schema)
        self.writer.write_table(table)
        self.count += len(rows)
        counts = self.reasons.setdefault(source, {})
        for entry in table["reason"].value_counts().to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
            if entry["values"] not in self.places:
                first = pc.index(table["reason"], entry["values"]).as_py()
                self.places[entry["values"]] = _place(entry["values"], table["detail"][first].as_py(), table["content"][first].as_py())

    def _scrubbed(self, contents: pa.Array) -> pa.Array:
        """Return contents without personal data; of what a reader has cut off, not its end, which may hold a part of some."""
        import pyarrow.compute as pc

        cut = pc.and_(pc.greater_equal(pc.binary_length(contents), READ), pc.less_equal(pc.utf8_length(contents), SHOWN))
        contents = scrub(pc.if_else(cut, pc.utf8_slice_codeunits(contents, 0, -EDGE), contents), self.scrub)
        spread = pc.replace_substring_regex(contents, BETWEEN, " ")  # a list of words: a number may go over several
        found = scrub(spread, self.scrub)
        return pc.if_else(pc.and_(pc.starts_with(contents, "["), pc.not_equal(found, spread)), found, contents)

    def place(self, reason: str) -> str:
        """Return where the first row of a reason has it: `, such as '1,5' in column 'price'`; empty where it is of no one column."""
        return self.places.get(reason, "")

    def top(self, limit: int = 3) -> str:
        """Return the most frequent reasons as words."""
        total: dict[str, int] = {}
        for counts in self.reasons.values():
            for reason, count in counts.items():
                total[reason] = total.get(reason, 0) + count
        best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return ", ".join(f"{reason} ({count:,} rows{self.place(reason)})" for reason, count in best)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.writer.close()


def _place(reason: str, detail: str | None, content: str | None) -> str:
    if not detail or not detail.startswith("column '"):
        return ""
    if content is None or reason.startswith("missing"):  # where nothing stands, the content is another column's
        return f", in {detail}"
    return f", such as {content[:EXAMPLE]!r} in {detail}"
