"""The catalogue: real data sets and weights, one a file. What they share: rows out of plain lines, read by Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.types import Chunk

if TYPE_CHECKING:
    import pyarrow as pa


def lines(file: Path) -> Iterator[tuple[pa.Array, int]]:
    r"""Yield the lines of a UTF-8 file in blocks of about 1 MB: (string array, 0-based number of its first line).

    Every line is kept, empty ones too. The bytes are pinned by checksum: none of the catalogue's files has the separator
    `\x01` or a bare carriage return.
    """
    from pyarrow import csv

    first = 0
    with csv.open_csv(
        file,
        read_options=csv.ReadOptions(column_names=["line"]),
        parse_options=csv.ParseOptions(delimiter="\x01", quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(column_types={"line": "string"}, strings_can_be_null=False),
    ) as reader:
        for batch in reader:
            yield batch.column(0), first
            first += batch.num_rows


def chunk(columns: dict[str, pa.Array | str], numbers: pa.Array, refused: pa.Array, reason: str, raw: pa.Array) -> Chunk:
    """Return a chunk of the rows that are not refused; the refused go to `rejected` with their reason, never away.

    Args:
        columns: name -> values [N], or one string that all rows have.
        numbers: int64 [N], each row's number in its file.
        refused: bool [N].
        reason: why those were refused.
        raw: string [N], the rows as the file gives them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = [pa.repeat(value, len(numbers)) if isinstance(value, str) else value for value in columns.values()]
    kept = pc.invert(refused)
    table = pa.table(arrays, names=list(columns)).filter(kept)
    rejected = pa.table({
        "row": numbers.filter(refused),
        "reason": pa.repeat(reason, len(numbers)).filter(refused),
        "content": raw.filter(refused),
    })
    return Chunk(table, numbers.filter(kept).to_numpy(zero_copy_only=False), rejected if rejected.num_rows else None)


def labelled_lines(file: Path, split: str, skip: int) -> Iterator[Chunk]:
    """Yield the rows of a `label<TAB>text` file with its split: columns text, label, split; numbers are line numbers.

    Args:
        file: UTF-8 text; the first `skip` lines are its header.
        split: what the split column says.
        skip: lines of the header.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for block, first in lines(file):
        numbers = pa.array(np.arange(first + 1, first + 1 + len(block)))
        header = max(0, skip - first)
        raw, numbers = block[header:], numbers[header:]
        label = pc.replace_substring_regex(raw, pattern=r"\t.*$", replacement="")
        tabbed = pc.match_substring(raw, "\t")
        text = pc.if_else(tabbed, pc.replace_substring_regex(raw, pattern=r"^[^\t]*\t", replacement=""), "")
        yield chunk({"text": text, "label": label, "split": split}, numbers, pc.equal(label, ""),
                    "the row has no label", raw)
