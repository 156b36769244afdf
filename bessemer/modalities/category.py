"""Category: a column with a few distinct values. Labels are words; whole numbers are written without a point."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

MANY = 100


class Category(Config):
    """A column of labels."""

    labels: tuple[str, ...] | None = None
    """The labels, in code order; rows with another are set aside. Those of the training split, sorted, by default."""

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(set(value)) != len(value) or len(value) < 2):
            raise ValueError("expected at least two labels, each once")
        return value


@register("modalities", "category")
def category(config: Category) -> Modality:
    """Return the functions of a column of labels."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        words = words_of(values)
        why = pc.if_else(words.is_null(), pa.scalar("missing"), pa.scalar(None, pa.string()))
        if config.labels is not None:
            strange = pc.and_(words.is_valid(), pc.invert(pc.is_in(words, value_set=pa.array(config.labels))))
            why = pc.if_else(strange, pa.scalar("label is not listed"), why)
        return words, why

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        counts: dict[str, int] = {}
        for array in arrays:
            for entry in array.drop_null().value_counts().to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        rows = sum(counts.values())
        if len(counts) > MANY and len(counts) > rows / 2:
            raise UserError(f"the target has {len(counts):,} different values in {rows:,} rows, so it is a quantity or an "
                            "identifier; this version learns categories only: choose another target")
        labels = config.labels or natural(counts)
        absent = [label for label in labels if label not in counts]
        if absent:
            raise UserError(f"no training row has the label '{absent[0]}' that the recipe lists; remove it or add rows")
        return tuple(labels), {"counts": {label: counts[label] for label in labels}}

    def load(column: Column, folder: Path) -> Codec:
        return Codec(encode=lambda values: {"codes": _codes(words_of(values), column.labels)}, collate=_collate, length=None,
                     info={"labels": list(column.labels), "num_labels": len(column.labels)})

    return Modality(clean=clean, fit=fit, load=load, roles=("target", "input"))


def words_of(values: pa.Array) -> pa.Array:
    """Return labels as trimmed strings: 1 and 1.0 as `1`, true as `true`; empty and not-a-number as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
        whole = pc.fill_null(pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**53)), True)
        integers = pc.if_else(whole, values, 0.0).cast(pa.int64()).cast(pa.string())
        return pc.if_else(values.is_null(), None, pc.if_else(whole, integers, values.cast(pa.string())))
    if pa.types.is_nested(values.type):
        raise UserError(f"a target of type {values.type} cannot be a label; expected text, whole numbers or true/false")
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(words, ""), None, words)


def natural(labels: Mapping[str, int]) -> list[str]:
    """Return labels sorted; as numbers where all of them are.

    >>> natural({"10": 1, "9": 1, "-1": 4})
    ['-1', '9', '10']
    """
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def _codes(words: pa.Array, labels: tuple[str, ...]) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.fill_null(pc.index_in(words, value_set=pa.array(labels, pa.string())), -1).cast(pa.int32())


def _collate(stored: Mapping[str, pa.Array], max_length: int | None) -> dict[str, np.ndarray]:
    import numpy as np

    return {"codes": np.asarray(stored["codes"].to_numpy(), np.int64)}
