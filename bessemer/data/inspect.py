"""Inspecting a user's own file: its kind, its columns, and what each seems to be. What `bessemer init` is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import plugin, plugin_of
from bessemer.core.types import Chunk, Source
from bessemer.data.columns import OneType, texts
from bessemer.data.rows import open_checked

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE = 20_000
FEW = 100
KINDS = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
         ".parquet": "parquet", ".pq": "parquet", ".txt": "lines"}


@dataclass(frozen=True)
class Found:
    """One column as it looks in the sample.

    Attributes:
        name: its name.
        kind: text, category, number, empty, or other (an identifier, say).
        distinct: different values in the sample.
        missing: values missing in the sample.
        counts: of its values, the most frequent first, where they are few.
        lengths: quantiles of its length in characters (p50, p95, p100).
        numeric: whether every value is a number.
        latin: part of its letters that are of the Latin script; 1 where it has none.
    """

    name: str
    kind: str
    distinct: int
    missing: int
    counts: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    numeric: bool = False
    latin: float = 1.0


@dataclass(frozen=True)
class Inspection:
    """What a file seems to be.

    Attributes:
        source: its source config, ready for a recipe.
        kind: the source's registered name.
        columns: what was found, in the file's order.
        rows: rows in the sample.
        rejected: rows that could not be read while sampling.
        target: the column to learn, or None where none looks like it.
        inputs: the columns of text to learn from.
        task: what would be learnt, or None without a target.
    """

    source: Config
    kind: str
    columns: tuple[Found, ...]
    rows: int
    rejected: int
    target: str | None
    inputs: tuple[str, ...]
    task: str | None


def infer_source(path: Path) -> Config:
    """Return the source config of a file by its suffix and content; a kind that is not known is a UserError."""
    if not path.is_file():
        raise UserError(f"'{path}' is a folder; name a file" if path.is_dir() else f"there is no file '{path}'")
    with open_checked(path, "a data file", text=False) as stream:
        head = stream.read(65536)
    kind = "parquet" if head[:4] == b"PAR1" else KINDS.get(path.suffix.lower())
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if kind == "jsonl" and start == b"[":
        raise UserError(f"'{path}' is one JSON list; expected JSON lines, one object a line (jq -c '.[]' makes them)")
    if kind is None or kind == "lines":
        first = head.split(b"\n", 1)[0]
        if start == b"{":
            kind = "jsonl"
        elif kind == "lines" and first.count(b"\t") != 1:
            raise UserError(f"'{path}', line 1: expected 'label<TAB>text', found {first.count(bytes([9]))} tabs; give a table with "
                            "a header the suffix .csv or .tsv")
    if kind is None:
        raise UserError(f"'{path}' has the suffix '{path.suffix}', which says nothing about its kind; expected "
                        f"{', '.join(KINDS)}")
    return plugin("data/sources", kind).config.model_validate({"path": str(path)})


def inspect(path: Path, target: str | None = None) -> Inspection:
    """Read a sample of a file and guess what each column is.

    Args:
        path: the file.
        target: the column to learn; guessed by default.

    Raises:
        UserError: an unreadable file, a column that is not there, or a target that is a quantity or has one value only.
    """
    config = infer_source(path)
    source: Source = plugin_of("data/sources", config).function(config)
    table, rejected = _sample(source)
    if not len(table):
        raise UserError(f"'{path}' has no row that can be read")
    names = table.column_names
    if target is not None and target not in names:
        raise UserError(f"'{path}' has no column '{target}'{nearest(target, names)}; its columns are: {', '.join(names)}")
    columns = tuple(_look(name, table[name]) for name in names)
    chosen = target or _guess(columns)
    if chosen is not None:
        _check(path, table, next(column for column in columns if column.name == chosen))
    inputs = tuple(column.name for column in columns if column.kind == "text" and column.name != chosen)
    if not inputs and len(table) < FEW:  # so few rows do not show whether values repeat: the longest words will do
        words = [column for column in columns if column.name != chosen and not column.numeric and column.lengths]
        inputs = tuple(column.name for column in sorted(words, key=lambda column: -column.lengths["p50"])[:1])
    if not inputs:
        raise UserError(f"'{path}' has no column of text to learn from (columns: {', '.join(names)}); this version learns from "
                        "text")
    return Inspection(config, plugin_of("data/sources", config).name, columns, len(table), rejected, chosen, inputs,
                      "classification" if chosen else None)


def _sample(source: Source) -> tuple[pa.Table, int]:
    """Return the first rows and how many on the way could not be read."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    rejected = 0
    chunk: Chunk
    for chunk in source.read():
        rejected += len(chunk.rejected) if chunk.rejected is not None else 0
        if chunk.table.num_columns:
            parts.append(chunk.table.slice(0, SAMPLE - sum(map(len, parts))))
        if sum(map(len, parts)) >= SAMPLE:
            break
    return (pa.concat_tables(parts) if parts else pa.table({})), rejected


def _look(name: str, column: pa.ChunkedArray) -> Found:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = texts(column)
    if pa.types.is_nested(values.type):
        return Found(name, "other", 0, values.null_count)
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    words = pc.if_else(pc.equal(words, ""), None, words)
    present = words.drop_null()
    if not len(present):
        return Found(name, "empty", 0, len(words))
    entries = sorted(present.value_counts().to_pylist(), key=lambda entry: (-entry["counts"], entry["values"]))
    sizes = pc.utf8_length(present).to_numpy()
    lengths = {f"p{mark}": int(np.quantile(sizes, mark / 100, method="lower")) for mark in (50, 95, 100)}
    numeric = bool(pc.all(pc.match_substring_regex(present, r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")).as_py())
    few = len(entries) <= FEW and (len(entries) <= max(2, len(present) // 5) or (lengths["p100"] <= 20 and len(present) <= FEW))
    wordy = float(pc.mean(pc.count_substring_regex(present, r"\s+|[^\x00-\x{2E7F}]")).as_py())
    if few and not (wordy >= 4 and len(entries) > len(present) / 2):
        kind = "category"
    elif numeric:
        kind = "number"
    else:
        kind = "text" if wordy >= 1 or lengths["p50"] > 40 else "other"
    counts: dict[str, Any] = {entry["values"]: entry["counts"] for entry in entries[:FEW]} if kind == "category" else {}
    letters, latin = (int(pc.sum(pc.count_substring_regex(present, pattern)).as_py()) for pattern in (r"\pL", r"\p{Latin}"))
    return Found(name, kind, len(entries), len(words) - len(present), counts, lengths, numeric, latin / letters if letters else 1.0)


def _guess(columns: tuple[Found, ...]) -> str | None:
    """Return the category with the fewest different values (of equals the last, where targets usually stand), or None."""
    fit = [column for column in columns if column.kind == "category" and column.distinct > 1]
    return min(reversed(fit), key=lambda column: column.distinct).name if fit else None


def _check(path: Path, table: pa.Table, found: Found) -> None:
    import numpy as np

    OneType(found.name).open(table[found.name], np.arange(1, len(table) + 1), path.name)
    if found.numeric and found.kind == "number":
        raise UserError(f"'{path}': the column '{found.name}' holds numbers with {found.distinct:,} different values in {len(table):,} "
                        "rows, a quantity; this version learns categories only: choose another target")
    if found.distinct < 2:
        raise UserError(f"'{path}': the column '{found.name}' has {found.distinct} different value{'s' * (found.distinct != 1)}, so "
                        "there is nothing to tell apart; expected at least two labels")
    if found.kind != "category" and found.distinct > len(table) / 2:
        raise UserError(f"'{path}': the column '{found.name}' has {found.distinct:,} different values in {len(table):,} rows, so it "
                        "is no category; choose another target")
