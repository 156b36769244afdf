"""Multilabel: a target of which several labels may hold at once, or none.

Legend: N rows, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MOST = 10_000


class Multilabel(Config):
    """A column of sets of labels: lists, or text with a separator."""

    separator: Annotated[str, Field(min_length=1)] = "|"
    """What stands between two labels of a text."""
    labels: tuple[str, ...] | None = None
    """The labels, in order; rows with another are set aside. Those of the training split, sorted, by default."""
    empty: Literal["missing", "none"] = "missing"
    """Whether a row with an empty text or with nothing has no answer, or is one of which no label holds, as is an empty list always."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """A label of fewer training rows is left out."""

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or not value):
            raise ValueError("expected one label at least, each once")
        return value


@register("modalities", "multilabel")
def multilabel(config: Multilabel) -> Modality:
    """Return the functions of a column of sets of labels."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        lists = _lists(config, values)
        why = pa.nulls(len(lists), pa.string())
        if config.labels is not None:
            strange = pc.invert(pc.is_in(lists.flatten(), value_set=pa.array(config.labels, pa.string())))
            rows = pc.list_parent_indices(lists).filter(strange)
            here = pc.is_in(pa.array(range(len(lists)), rows.type), value_set=rows)
            why = pc.if_else(here, "label is not listed", why)
        return lists, why

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        from bessemer.modalities.category import natural

        counts: dict[str, int] = {}
        missing = rows = held = 0
        for array in arrays:
            missing, rows = missing + array.null_count, rows + len(array) - array.null_count
            flat = array.flatten()
            held += len(flat)
            for entry in flat.value_counts().to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        labels = config.labels or tuple(label for label in natural(counts) if counts[label] >= config.min_count)
        if len(labels) > MOST:
            raise UserError(f"the target has {len(labels):,} labels; expected at most {MOST:,}: raise 'min_count'")
        absent = [label for label in labels if label not in counts]
        if absent:
            raise UserError(f"no training row has the label '{absent[0]}' that the recipe lists; remove it or add rows")
        return labels, {"counts": {label: counts[label] for label in labels}, "rows": rows, "missing": missing,
                        "labels_a_row": held / rows if rows else 0.0}

    def load(column: Column, folder: Path) -> Codec:
        return Codec(encode=lambda values: {"flags": _flags(_lists(config, values), column.labels)}, collate=_collate, length=None,
                     info={"labels": list(column.labels), "num_labels": len(column.labels)})

    return Modality(clean=clean, fit=fit, load=load, roles=("target",), answer="flags", nulls=True, lists=True)


def _lists(config: Multilabel, values: pa.Array) -> pa.Array:
    """Return lists of trimmed labels, sorted and each once in its row: list<string>; null stays null but where it means that none holds."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.modalities.category import words_of

    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    nested = pa.types.is_list(values.type) or pa.types.is_large_list(values.type) or pa.types.is_fixed_size_list(values.type)
    if nested:
        lists, valid = values, values.is_valid()
    else:
        words = words_of(values)
        valid = words.is_valid()
        lists = pc.split_pattern(words, config.separator)
    if config.empty == "none":  # a source of text cannot tell an empty field from a missing one
        valid = pa.repeat(pa.scalar(True), len(values))
    labels = words_of(lists.flatten())
    parents = pc.list_parent_indices(lists).filter(labels.is_valid())
    labels = labels.drop_null()
    # Grouped by row, in the labels' own order, each once.
    pairs = pa.table({"row": parents.cast(pa.int64()), "label": labels}).group_by(["row", "label"], use_threads=False).aggregate([])
    pairs = pairs.sort_by([("row", "ascending"), ("label", "ascending")]).combine_chunks()
    sizes = np.bincount(pairs["row"].to_numpy(), minlength=len(values))
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    flat = pairs["label"].combine_chunks()
    return pa.ListArray.from_arrays(offsets, flat.cast(pa.string()), mask=pc.invert(valid))


def _flags(lists: pa.Array, labels: tuple[str, ...]) -> pa.Array:
    """Return 1 where a label holds, 0 where it does not, -1 for a row without an answer: list<int8>[L]."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.modalities._vectors import fixed

    flags = np.zeros((len(lists), len(labels)), np.int8)
    codes = pc.index_in(lists.flatten(), value_set=pa.array(labels, pa.string()))
    rows = pc.list_parent_indices(lists).filter(codes.is_valid()).to_numpy()
    flags[rows, codes.drop_null().to_numpy()] = 1
    flags[lists.is_null().to_numpy(zero_copy_only=False)] = -1
    return fixed(flags)


def _collate(stored: Mapping[str, pa.Array], limit: int | None) -> dict[str, np.ndarray]:
    from bessemer.modalities._vectors import matrix

    return {"flags": matrix(stored["flags"])}
