"""Targets of several labels a row as they look in a sample: tags, one for each word or character of a text beside them, and sets of labels.

N: rows of the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.data.columns import OneType, is_typed, of_type
from bessemer.data.looks import Found, words_of
from bessemer.data.tidy import tidy

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FIT, ASKED = 0.95, 0.5
"""Part of the rows that have one tag for each unit, from which a column is believed to hold tags; where a person says that it does."""
LONG = 30
_SIGN = r"[^\s\v\x{1c}-\x{1f}\x{85}\p{Z}]"  # what Python's \S matches, written for RE2
UNITS = {"word": f"{_SIGN}+", "character": _SIGN}


@dataclass(frozen=True)
class Tagged:
    """Which text a column tags.

    Attributes:
        text: its column.
        unit: what of it has a tag each: word or character.
        fits: rows of the sample that have as many tags as units.
        rows: rows of the sample that have tags and a text.
    """

    text: str
    unit: str
    fits: int
    rows: int

    @property
    def modality(self) -> dict[str, Any]:
        """Return how the tags are read, ready for a recipe."""
        return {"kind": "tags", **({"unit": "character"} if self.unit == "character" else {})}

    @property
    def note(self) -> str:
        """Return what is said of rows that do not fit, or nothing."""
        return (f"{self.rows - self.fits:,} of {self.rows:,} rows have not one tag for each {self.unit} of '{self.text}' and will be set "
                "aside") if self.fits < self.rows else ""


def tagged(path: Path, target: Found, table: pa.Table, columns: Sequence[Found], asked: bool = False) -> Tagged | None:
    """Return which text a column tags, or None where it holds something else.

    Its lists, or what stands between its spaces, are as many as the words or characters of one other column in nearly all of the N rows,
    and some row has a tag twice, which no set of labels has.

    Raises:
        UserError: tags are asked for, and the column fits no text in half of the rows.
    """
    import pyarrow.compute as pc

    lists = _lists(table[target.name], target)
    found = _best(lists, target, table, columns) if lists is not None else None
    if found is None or found.fits < (ASKED if asked else FIT) * found.rows:
        if not asked:
            return None
        said = (f"the best fit is one tag for each {found.unit} of '{found.text}', in {found.fits:,} of {found.rows:,} rows" if found
                else "no other column holds texts")
        raise UserError(f"'{path}': the column '{target.name}' holds no tag for each word or character of a text ({said}); expected lists, "
                        "or text with a space between two tags, as many as the text's words or characters")
    labels = pc.list_flatten(lists)
    different = len(pc.unique(labels))
    if asked:
        return found
    short = (pc.max(pc.utf8_length(labels)).as_py() or 0) <= LONG
    return found if short and len(labels) >= 2 * max(found.rows, different) and _twice(lists) else None


def labels_of(target: Found, read: Mapping[str, Any], table: pa.Table) -> dict[str, int]:
    """Return label -> how often it occurs, the most frequent first, of a target of tags or of sets of labels."""
    import pyarrow.compute as pc

    lists = _lists(table[target.name], target, str(read.get("separator") or "|") if read["kind"] == "multilabel" else "")
    if lists is None:
        return {}
    labels = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    counted = labels.filter(pc.fill_null(pc.not_equal(labels, ""), False)).value_counts().to_pylist()
    return {entry["values"]: entry["counts"] for entry in sorted(counted, key=lambda entry: (-entry["counts"], entry["values"]))}


def _lists(column: pa.ChunkedArray, found: Found, separator: str = "") -> pa.Array | None:
    """Return a column as list<string>, or None where it has no such form; where it holds lists and texts, each as what it is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def split(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        if not pa.types.is_list(values.type):
            words = pc.utf8_trim_whitespace(values.cast(pa.string()))
            values = pc.split_pattern(words, separator) if separator else pc.utf8_split_whitespace(words)
        return values.cast(pa.list_(pa.string())), pa.nulls(len(values), pa.string())

    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return None if pa.types.is_nested(kind.value_type) else column.combine_chunks().cast(pa.list_(pa.string()))
    if is_typed(column) and len(of_type(column, "list")):
        return OneType(found.name, lists=True).clean(column, (np.arange(1, len(column) + 1), "the data"), split)[0]
    words = words_of(column) if not found.numeric and found.kind not in ("list", "vector", "date", "empty", "constant") else None
    if words is None:
        return None
    return pc.split_pattern(words, separator) if separator else pc.utf8_split_whitespace(words)


def _best(lists: pa.Array, target: Found, table: pa.Table, columns: Sequence[Found]) -> Tagged | None:
    """Return the text that fits best; of equals words before characters, then the text with the fewest spaces."""
    import pyarrow.compute as pc

    given_N = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    best: tuple[tuple[float, bool, int], Tagged] | None = None
    for column in columns:
        texts = words_of(table[column.name]) if column.name != target.name and column.kind in (
            "text", "words", "category", "identifier") and not column.numeric else None
        if texts is None:
            continue
        texts = tidy(texts, "NFC")
        known_N = (given_N > 0) & texts.is_valid().to_numpy(zero_copy_only=False)
        rows = int(known_N.sum())
        for unit, pattern in UNITS.items():
            fits = int(((_counted(texts, pattern) == given_N) & known_N).sum())
            rank = (fits / max(rows, 1), unit == "word", -int(pc.sum(pc.utf8_length(texts)).as_py() or 0))
            if rows and (best is None or rank > best[0]):
                best = rank, Tagged(column.name, unit, fits, rows)
    return best[1] if best else None


def _counted(texts: pa.Array, pattern: str) -> np.ndarray:
    import pyarrow.compute as pc

    counts_N: np.ndarray = pc.fill_null(pc.count_substring_regex(texts, pattern), 0).to_numpy(zero_copy_only=False)
    return counts_N


def _twice(lists: pa.Array) -> bool:
    """Tell whether a row has the same tag twice."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pairs = pa.table({"row": pc.list_parent_indices(lists), "tag": pc.list_flatten(lists)})
    return bool(pairs.group_by(["row", "tag"]).aggregate([]).num_rows < len(pairs))
