"""Inspecting a user's own file: its kind, its columns, and what each seems to be. What `bessemer init` is made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import plugin, plugin_of
from bessemer.core.types import Chunk, Source
from bessemer.data.columns import OneType, with_lists
from bessemer.data.cut_words import CUT, cut_words, joined
from bessemer.data.guess import encoding_of
from bessemer.data.hub import READ, README
from bessemer.data.leaks import set_aside
from bessemer.data.looks import FEW, UNREAD, Found, look, number_of, words_of
from bessemer.data.published import folders_of, splits_of
from bessemer.data.rows import KINDS, kind_of, missing_column, open_checked, plain_head
from bessemer.data.tagged import labels_of, tagged
from bessemer.data.together import in_encoding, with_encoding
from bessemer.data.values import HEADLESS, like_values
from bessemer.data.written import LIKE_NUMBERS, either_settled

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FEW", "KINDS", "SAMPLE", "Found", "Inspection", "infer_source", "inspect"]
SAMPLE = 20_000
CELLS = 20_000_000
WIDEST = 10_000
CODES = 20
_WHOLE = re.compile(r"^(-?\d+)\.0+$")
TASKS = ("classification", "regression", "multilabel", "tags")


@dataclass(frozen=True)
class Inspection:
    """What a file seems to be.

    Attributes:
        source: its source config, ready for a recipe.
        kind: the source's registered name.
        columns: what was found, in the file's order; those of no use say why.
        rows: rows in the sample.
        rejected: rows that could not be read while sampling.
        target: the column to learn, or None where none looks like it.
        inputs: the columns to learn from: of a table all of use, else those of text.
        task: what would be learnt (classification, regression, multilabel, tags), or None without a target.
        table: whether this is a table: there is an input that is no text, or there are several of text and the task is no classification.
        target_modality: how the target would be read, ready for a recipe, or None.
        reasons: why rows could not be read: reason -> rows.
        leaks: columns that give the target away (equal to it, one to one with it, a straight line of it); they are no inputs.
        splits: of data that come divided: split -> the folder of its rows, or None where the column `split` says it.
        labels: label -> how often it occurs, the most frequent first, of a target with several a row (multilabel, tags).
        notes: what its reader says of it: that an encoding was guessed, which `source` then names, or a title passed over.
    """

    source: Config
    kind: str
    columns: tuple[Found, ...]
    rows: int
    rejected: int
    target: str | None
    inputs: tuple[str, ...]
    task: str | None
    table: bool = False
    target_modality: Mapping[str, Any] | None = None
    leaks: tuple[str, ...] = field(default=())
    reasons: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, Path | None] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def infer_source(path: Path) -> Config:
    """Return the source config of a file or folder by its name and content; a kind that is not known is a UserError.

    `shop.db#orders` is the table `orders` of an SQLite file, `book.xlsx#May` the sheet `May`, where no file has the whole as its name.
    """
    whole, mark, part = str(path).rpartition("#")
    if mark and part and not path.exists() and Path(whole).is_file():
        return _part_of(Path(whole), part)
    if path.is_dir():
        folder, level = _folder_kind(path)
        return _made(folder, path, **({} if level == 1 else {"level": level}))
    if not path.is_file():
        raise UserError(f"there is no file '{path}'")
    with open_checked(path, "a data file", text=False) as stream:
        first = stream.read(16)
    if first == b"SQLite format 3\x00":
        return _made("sqlite", path)
    kind = kind_of(path)
    if kind == "excel":
        return _made(kind, path)
    head = plain_head(path)
    kind = "parquet" if head[:4] == b"PAR1" else "arrow" if head[:6] == b"ARROW1" else kind
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if kind == "jsonl" and start == b"[":
        raise UserError(f"'{path}' is one JSON list; expected JSON lines, one object a line (jq -c '.[]' makes them)")
    if kind is None or kind == "lines":
        kind = _text_kind(path, head, kind)
    return _made(kind, path)


def _part_of(path: Path, part: str) -> Config:
    config = infer_source(path)
    key = {"sqlite": "table", "excel": "sheet"}.get(kind := plugin_of("data/sources", config).name)
    if key is None:
        raise UserError(f"'{path}#{part}': only SQLite files and workbooks have parts to name after #; '{path}' is read as {kind}")
    return _made(kind, path, **{key: part})


def _made(kind: str, path: Path, **more: Any) -> Config:
    return plugin("data/sources", kind).config.model_validate({"path": str(path), **more})


def _text_kind(path: Path, head: bytes, kind: str | None) -> str:
    """Return the kind of text whose name does not say it."""
    found = encoding_of(head)
    lines = (head.decode(found, "replace") if found else head.decode("utf-8-sig", "replace")).lstrip("\ufeff").split("\n")
    first = lines[0]
    if first.lstrip()[:1] == "{":
        return "jsonl"
    if any(line.lstrip().startswith("__label__") for line in lines):  # a line may have no label
        return "fasttext"
    if kind is None:
        raise UserError(f"'{path}' has the suffix '{path.suffix}', which says nothing about its kind; expected {', '.join(KINDS)}")
    if first.count("\t") != 1:
        raise UserError(f"'{path}', line 1: expected 'label<TAB>text', found {first.count(chr(9))} tabs; give a table with a header the "
                        "suffix .csv or .tsv; of one file of texts for each class, name their folder")
    return kind


def _folder_kind(folder: Path) -> tuple[str, int]:
    """Return what a folder is (a data set in the hub's layout, a file of lines for each class, a folder of texts for each class), and
    which folder below it is the label: the first, of folders of splits the second, in one folder alone that in which the file lies.
    """
    inside = [item for item in sorted(folder.iterdir()) if not item.name.startswith(".")]
    files = [item for item in inside if item.is_file()]
    texts = [item for item in files if item.suffix.lower() == ".txt" and item.stem.lower() not in ("readme", "license", "licence")]
    rows = any(kind_of(item) in READ for item in [*files, *(folder / "data").glob("*")])
    if rows or (any(item.name == README for item in files) and any(kind_of(item) in READ for item in folder.glob("*/*"))):
        return "hf", 1
    if len(texts) > 1:
        return "class_files", 1
    if _classes(folder):
        splits = folders_of(folder)
        return "folder", -1 if _classes(splits.get("train", folder)) == 1 else 2 if splits else 1
    raise UserError(f"'{folder}' is a folder; name a file, or a folder of data: Parquet, CSV or JSON lines by split (train, test), a "
                    ".txt file of lines for each class, or a folder of .txt files for each class")


def _classes(folder: Path) -> int:
    """Return how many folders just below a folder hold texts."""
    return sum(any(item.rglob("*.txt")) for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))


def inspect(path: Path, target: str | None = None, task: str | None = None, beside: bool = False,
            encoding: str | None = None) -> Inspection:
    """Read a sample of a file and guess what each column is.

    Args:
        path: the file.
        target: the column to learn; guessed by default.
        task: classification, regression, multilabel or tags; by the target's values by default.
        beside: whether other columns are learnt too, so that a row without this target is still of use.
        encoding: of its text; found by default.

    Raises:
        UserError: an unreadable file, a column that is not there, a target of one value only, or a task that does not fit it.
    """
    config = infer_source(path) if encoding is None else in_encoding(infer_source(path), encoding, path)
    source: Source = plugin_of("data/sources", config).function(config)
    table, rejected, notes = _sample(source, path)
    config, notes = with_encoding(config, notes) if encoding is None else (config, notes)
    if plugin_of("data/sources", config).name == "hf":  # which split a row is of is nothing to learn
        table = table.drop_columns(["split"])
    if not len(table):
        raise UserError(f"'{path}' has no row that can be read")
    names = table.column_names
    if target is not None and target not in names:
        raise UserError(f"{missing_column(target, names, path)}" + (f"; {HEADLESS}" if like_values(names) else ""))
    cut, tags = cut_words(table, target)
    table = joined(table, cut)
    columns = either_settled([look(name, column) for name, column in zip(names, table.columns, strict=True)], _semicolons(config))
    columns = tuple(replace(column, kind="text", modality={"kind": "words"}, note=CUT) if column.name in cut else column
                    for column in columns)
    chosen = target or tags or _guess(columns)
    found = next((column for column in columns if column.name == chosen), None)
    job, marks = None, None
    if found is not None:
        marks = tagged(path, found, table, columns, task == "tags") if task in (None, "tags") else None
        job = "tags" if marks else _task(path, table, found, columns, task)
        columns = set_aside(columns, found, table, job) if marks is None else columns
    inputs, is_table = ((marks.text,), False) if marks else _inputs(columns, chosen, job, len(table))
    read = marks.modality if marks else _target_modality(found, job, is_table)
    if is_table and cut:  # a table's texts are its own columns' values
        columns = tuple(replace(column, modality=None, reason=UNREAD, note="") if column.name in cut else column for column in columns)
        inputs = tuple(name for name in inputs if name not in cut)
    if not inputs:
        raise UserError(f"'{path}' has no column to learn from ("
                        + "; ".join(f"'{column.name}': {column.reason}" for column in columns[:20] if column.name != chosen) + ")")
    columns = tuple(replace(column, modality={"kind": column.kind if column.kind != "identifier" else "number"}, reason="")
                    if is_table and column.name in inputs and column.modality is None else column for column in columns)
    labels: dict[str, int] = {}
    if found is not None and read is not None:
        said = marks.note if marks else _said(found, read, table, beside)
        labels = labels_of(found, read, table) if read["kind"] in ("multilabel", "tags") else {}
        columns = tuple(replace(column, note="; ".join(filter(None, (column.note, said)))) if column.name == found.name else column
                        for column in columns)
    if not is_table:  # short texts too, which a table would call words or a category
        columns = tuple(replace(column, kind="text") if column.name in inputs else column for column in columns)
    return Inspection(config, plugin_of("data/sources", config).name, columns, len(table), rejected.total(), chosen, inputs, job, is_table,
                      read, tuple(column.name for column in columns if column.reason.startswith("leak:")),
                      dict(rejected), splits_of(config), labels, notes)


def _said(found: Found, read: Mapping[str, Any], table: pa.Table, beside: bool) -> str:
    """Return what a person should know of how the target is read, or nothing."""
    import pyarrow.compute as pc

    if read["kind"] == "multilabel" and found.missing and "empty" not in read:
        return (f"{found.missing:,} of {len(table):,} values are missing, which is not an empty list: "
                + ("this target learns nothing of such rows" if beside else "such rows are set aside")
                + "; 'empty: none' takes them for rows that no label holds of")
    if read["kind"] == "multilabel" and found.missing:
        return (f"{found.missing:,} of {len(table):,} values are empty: 'empty: none' takes them for rows that no label holds of, "
                + ("with 'empty: missing' this target learns nothing of them" if beside else "'empty: missing' sets them aside"))
    if read["kind"] == "boolean" and len(found.counts) > 2:
        return f"its {len(found.counts)} spellings are read as false and true"
    words = words_of(table[found.name]) if read["kind"] == "category" else None
    alike: dict[str, list[str]] = {}
    for word in pc.unique(words.drop_null()).sort().to_pylist() if words is not None else ():
        alike.setdefault(" ".join(word.casefold().split()), []).append(word)
    twins = [group for group in alike.values() if len(group) > 1]
    numbers: dict[str, list[str]] = {}
    for word in (group[0] for group in alike.values()):
        numbers.setdefault(_WHOLE.sub(r"\1", word), []).append(word)
    same = next((group for group in numbers.values() if len(group) > 1), None)
    if same and not twins:
        return (f"{' and '.join(map(repr, same[:2]))} are one number and labels of their own: write them alike in the source if they mean "
                "one")
    return (f"{' and '.join(map(repr, twins[0][:2]))} differ by case or blanks alone and are labels of their own: write them alike in the "
            "source if they mean one") if twins else ""


def _marks_said(column: pa.ChunkedArray) -> str:
    """Return, in words, that some texts of a column are taken for missing values; nothing where there are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.looks import MISSING

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return ""
    found = [word for word in pc.unique(column.drop_null()).sort().to_pylist() if word in MISSING]
    are = "are" if len(found) > 1 else "is"
    return f" ({', '.join(map(repr, found[:3]))} {are} taken for missing; write another word for a label)" if found else ""


def _sample(source: Source, path: Path) -> tuple[pa.Table, Counter[str], tuple[str, ...]]:
    """Return the first rows, why others on the way could not be read (reason -> rows), and what was said of encodings."""
    import pyarrow as pa

    parts: list[pa.Table] = []
    rejected, most, notes = Counter[str](), SAMPLE, dict[str, None]()
    chunk: Chunk
    for chunk in source.read():
        width = chunk.table.num_columns
        notes.update(dict.fromkeys(note for note in chunk.notes if "encoding:" in note or "header_row:" in note))
        if width > WIDEST:
            raise UserError(f"'{path}' has {width:,} columns; only {WIDEST:,} can be looked at: write the recipe by hand and name the "
                            "columns to learn from, or keep fewer columns")
        if chunk.rejected is not None:
            rejected.update(chunk.rejected["reason"].to_pylist())
        if width:
            most = min(SAMPLE, max(1000, CELLS // width))
            parts.append(chunk.table.slice(0, most - sum(map(len, parts))))
        if sum(map(len, parts)) >= most:
            break
    return (with_lists(pa.concat_tables(parts)) if parts else pa.table({})), rejected, tuple(notes)


def _semicolons(config: Config) -> bool:
    """Tell whether the fields of a file are separated by semicolons."""
    from bessemer.data.sources.csv import Csv, header

    return isinstance(config, Csv) and header(config.outside()[0], config)[1] == ";"


def _guess(columns: tuple[Found, ...]) -> str | None:
    """Return the column to learn, or None where that is a guess too far.

    Beside text: the labels with the fewest different values, of equals the last. In a table every column may be an input, so that
    only the last column, where targets usually stand, or the only one with labels is taken.
    """
    fit = [column for column in columns if column.counts and column.distinct > 1]
    if any(column.kind in ("text", "words") for column in columns):
        return min(reversed(fit), key=lambda column: column.distinct).name if fit else None
    labels = [column for column in fit if not column.numeric or (column.whole and column.distinct <= CODES)]
    if len(columns) == 2 and not any(column.numeric for column in columns):  # short texts and their labels
        return min(reversed(fit), key=lambda column: column.distinct).name if fit else None
    return labels[0].name if len(labels) == 1 else columns[-1].name if columns[-1] in labels else None


def _task(path: Path, table: pa.Table, found: Found, columns: tuple[Found, ...], asked: str | None) -> str:
    """Return what is learnt of the target, checked."""
    import numpy as np

    OneType(found.name).open(table[found.name], np.arange(1, len(table) + 1), path.name)
    if asked is not None and asked not in TASKS:
        raise UserError(f"there is no task '{asked}'{nearest(asked, TASKS)}")
    here = f"'{path}': the column '{found.name}'"
    if found.kind not in ("list", "vector") and found.distinct < 2:
        raise UserError(f"{here} has {found.distinct} different value{'s' * (found.distinct != 1)}, so "
                        f"there is nothing to tell apart; expected at least two labels{_marks_said(table[found.name])}")
    several = found.separator is not None
    like = next((said[said.index(LIKE_NUMBERS):] for said in (found.note, found.reason) if LIKE_NUMBERS in said), "")
    task = asked or ("multilabel" if several else "regression" if found.numeric and not _codes(found, table, columns)
                     else "classification")
    if found.kind in ("date", "other"):
        raise UserError(f"{here} is of the kind {found.kind}, which cannot be learnt; expected labels or numbers")
    if like and (task == "regression" or not found.counts):
        raise UserError(f"{here} {like}")
    if task == "regression" and not found.numeric:
        raise UserError(f"{here} holds values that are no numbers, so there is no regression; choose another target or task")
    if task == "classification" and not found.counts and found.distinct > len(table) / 2:
        raise UserError(f"{here} has {found.distinct:,} different values in {len(table):,} rows, so it "
                        "is no category; choose another target" + (", or the task regression" if found.numeric else ""))
    return task


def _codes(found: Found, table: pa.Table, columns: tuple[Found, ...]) -> bool:
    """Tell whether a target of numbers means classes: 0 and 1, or few small whole numbers that recur."""
    small = found.whole and all(abs(float(value)) <= 1000 for value in found.counts)
    if found.kind in ("boolean", "category") or (small and found.counts and found.distinct <= CODES and len(table) >= 10 * found.distinct):
        return True
    others = [column for column in columns if column is not found]
    tabular = any(column.modality is not None and column.kind not in ("text", "words") for column in others)
    text = any(column.kind in ("text", "words", "category") and not column.numeric for column in others)
    return bool(found.counts) and text and not tabular  # beside text alone, numbers that recur have always been labels


def _target_modality(found: Found | None, task: str | None, table: bool) -> dict[str, Any] | None:
    if found is None or task is None:
        return None
    if task == "multilabel":
        return {"kind": "multilabel", **({"separator": found.separator} if found.separator else {}),
                **({"empty": "none"} if found.missing and found.separator and found.kind != "list" else {})}
    if task == "regression":
        return number_of(found)
    # Of words that say true and false, each is read however it is written, as are the spellings of another pair where there are more
    # than two; one spelling of each keeps its own words as labels.
    truth = table and found.kind == "boolean" and (len(found.counts) > 2 or {label.lower() for label in found.counts} == {"true", "false"})
    return {"kind": "boolean" if truth else "category"}


def _inputs(columns: tuple[Found, ...], target: str | None, task: str | None, rows: int) -> tuple[tuple[str, ...], bool]:
    """Return the columns to learn from and whether they make a table."""
    others = [column for column in columns if column.name != target]
    usable = [column for column in others if column.modality is not None]
    words = [column for column in usable if column.kind in ("text", "words")]
    if len(usable) > len(words) or (len(usable) > 1 and task not in (None, "classification")):
        return tuple(column.name for column in usable), True
    if words:
        return tuple(column.name for column in words), False
    free = [column for column in others if not column.reason.startswith("leak:")]
    if rows < FEW:  # so few rows do not show whether values repeat: the longest words will do
        long = [column for column in free if not column.numeric and column.lengths and column.kind != "date"]
        if long:
            return (max(long, key=lambda column: column.lengths["p50"]).name,), False
    counters = [column for column in free if column.kind == "identifier" and column.numeric]
    return tuple(column.name for column in counters), True
