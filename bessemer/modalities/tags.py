"""Tags: a target of one label for each unit of a text: a word's part of speech, a character's place in its word.

Legend: N rows, T units of the longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MOST = 5_000
UNKNOWN = -2


class Tags(Config):
    """A column of tags with a space between two (`B E S S`), or of lists."""

    unit: Literal["word", "character"] = "word"
    """What of the text has a tag: each word, as spaces part them, or each character that is no space."""


@register("modalities", "tags")
def tags(config: Tags) -> Modality:
    """Return the functions of a column of tags."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        lists = _lists(values)
        nothing = pa.scalar(None, pa.string())
        return lists, pc.if_else(pc.equal(pc.list_value_length(lists), 0), "no tags", nothing)

    def misfit(values: pa.Array, texts: pa.Array) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.modalities._units import counted

        given = pc.list_value_length(_lists(values)).fill_null(-1).to_numpy(zero_copy_only=False)
        wrong = (given >= 0) & (given != counted(texts, config.unit))
        return pc.if_else(pa.array(wrong), f"not one tag for each {config.unit} of the text", pa.scalar(None, pa.string()))

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        counts: dict[str, int] = {}
        missing = rows = 0
        for array in arrays:
            missing, rows = missing + array.null_count, rows + len(array) - array.null_count
            for entry in array.flatten().value_counts().to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        if len(counts) > MOST:
            raise UserError(f"the target has {len(counts):,} different tags; expected {MOST:,} at most")
        if len(counts) == 1:
            raise UserError(f"the target has only one tag ('{next(iter(counts))}') in the training rows, so there is nothing to tell apart")
        labels = tuple(sorted(counts))
        return labels, {"counts": {label: counts[label] for label in labels}, "rows": rows, "missing": missing,
                        "units_a_row": sum(counts.values()) / rows if rows else 0.0}

    def load(column: Column, folder: Path) -> Codec:
        return Codec(encode=lambda values: {"codes": _codes(_lists(values), column.labels)}, collate=_collate, length=None,
                     info={"labels": list(column.labels), "num_labels": len(column.labels), "unit": config.unit})

    return Modality(clean=clean, fit=fit, load=load, roles=("target",), answer="tags", nulls=True, lists=True, misfit=misfit)


def _lists(values: pa.Array) -> pa.Array:
    """Return tags as list<string>; missing and empty text is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.modalities.category import words_of

    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type):
        if pa.types.is_nested(values.type.value_type):
            raise UserError(f"a column of type {values.type} cannot be read as tags; expected text with spaces between, or lists of text")
        found = values.cast(pa.list_(pa.string())) if values.type.value_type != pa.null() else pa.array(values.to_pylist(),
                                                                                                        pa.list_(pa.string()))
        return found
    words = words_of(pa.nulls(len(values), pa.string()) if pa.types.is_null(values.type) else values)
    return pc.utf8_split_whitespace(words)


def _codes(lists: pa.Array, labels: tuple[str, ...]) -> pa.Array:
    """Return list<int32>: each tag's code, -2 of one that no training row has; a row without an answer has none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.index_in(lists.flatten(), value_set=pa.array(labels, pa.string())).fill_null(UNKNOWN).cast(pa.int32())
    sizes = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)), codes)


def _collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
    from bessemer.data.shards import padded

    return {"codes": padded(stored["codes"])}
