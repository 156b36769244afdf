"""Category: a column of distinct values. Labels are words; whole numbers are written without a point.

As a target its codes are those of the labels. As an input code 0 is for what training did not have and for rare values, the next for a
missing value where training had one, then the labels; or the target's mean stands for each code. Legend: N rows, W features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.types import Codec, Modality
from bessemer.data.columns import literal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._target_codes import TargetCodes

MANY = 100
MOST = 5_000_000


class Category(Config):
    """A column of labels."""

    labels: tuple[str, ...] | None = None
    """The labels, in code order; rows with another are set aside. Those of the training split, sorted, by default."""
    max_categories: Annotated[int, Field(ge=1)] = 10_000
    """Of an input: how many values have a code of their own at most, the most frequent ones; a target has no more."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Of an input: a value in fewer training rows is rare; rare values share the code of unknown ones."""
    encoding: Literal["codes", "one_hot", "hash", "target"] = "codes"
    """Of an input. codes: a code each, for embeddings and trees; one_hot: a number each; hash: one of `buckets` codes, without a
    vocabulary, for keys of very many values; target: the target's smoothed mean over the training rows that have the value, as numbers
    (cross-fitted: a training row's own target is no part of its number)."""
    buckets: Annotated[int, Field(ge=2, le=2**24)] = 4096
    """How many codes `hash` has besides that of a missing value."""
    smoothing: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """Of `target`: how many rows the mean of all rows counts for in the mean of each value; auto: by empirical Bayes, the more the fewer
    rows a value has and the more they differ."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Of `target`: parts of the training rows; a row's number comes from the other parts."""

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
        why = pa.nulls(len(words), pa.string())
        if config.labels is not None:
            strange = pc.and_(words.is_valid(), pc.invert(pc.is_in(words, value_set=pa.array(config.labels))))
            why = pc.if_else(strange, pa.scalar("label is not listed"), why)
        return words, why

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        return _fitted(config, arrays)

    def load(column: Column, folder: Path) -> Codec:
        if column.role == Role.TARGET:
            return labelled(column, words_of)
        if config.encoding == "target":
            from bessemer.modalities._target_codes import TargetCodes

            return targeted(column, words_of, TargetCodes.load(folder, column.name))
        return coded(column, words_of, config.encoding, config.buckets)

    return Modality(clean=clean, fit=fit, load=load, roles=("target", "input"), answer="label", vector=True, nulls=True)


def _fitted(config: Category, arrays: Iterator[pa.Array]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the labels and their counts; beside them what was missing, and what was merged where anything was."""
    counts: dict[str, int] = {}
    missing = rows = 0
    for array in arrays:
        missing, rows = missing + array.null_count, rows + len(array) - array.null_count
        if config.encoding == "hash" and len(counts) > config.max_categories:
            continue
        for entry in array.drop_null().value_counts().to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
        if len(counts) > MOST:
            raise UserError(f"a category has more than {MOST:,} different values; use 'encoding: hash', which needs no list of them, or "
                            "leave the column out")
    facts: dict[str, Any] = {"missing": missing} if missing else {}
    if config.encoding == "hash" and len(counts) > config.max_categories:
        return (), {"counts": {}, **facts, "rows": rows}
    labels = config.labels or natural(counts)
    absent = [label for label in labels if label not in counts]
    if absent:
        raise UserError(f"no training row has the label '{absent[0]}' that the recipe lists; remove it or add rows")
    kept = set(sorted(counts, key=lambda label: (-counts[label], label))[:config.max_categories])
    if config.labels is None and (len(kept) < len(counts) or config.min_count > 1):
        labels = [label for label in labels if label in kept and counts[label] >= config.min_count]
    if len(labels) < len(counts):
        facts.update(distinct=len(counts), rows=rows)
    return tuple(labels), {"counts": {label: counts[label] for label in labels}, **facts}


def check_target(labels: tuple[str, ...], facts: Mapping[str, Any], name: str = "") -> None:
    """Refuse fitted labels that no target can have: those of a quantity or an identifier, and those that were merged."""
    said, counts = f"the target '{name}'" if name else "the target", facts.get("counts", {})
    distinct, rows = facts.get("distinct", len(counts)), facts.get("rows", sum(counts.values()))
    if distinct > MANY and distinct > rows / 2:
        raise UserError(f"{said} has {distinct:,} different values in {rows:,} rows, so it is a quantity or an identifier; "
                        "give it the kind 'number' or choose another target")
    if distinct > len(labels) or len(counts) < len(labels) or (rows and not counts):
        raise UserError(f"{said} has {distinct:,} labels in the training rows, of which 'max_categories', 'min_count' or "
                        f"'encoding' keep {len(labels):,}; remove those options, which are for inputs, or merge labels in the source")


def labelled(column: Column, words_of: Callable[[pa.Array], pa.Array]) -> Codec:
    """Return the codec of a target whose values are words: its codes, -1 where it is missing."""
    known = _known(column.labels)
    return Codec(encode=lambda values: {"codes": _codes(words_of(values), known)}, collate=_collate, length=None,
                 info={"labels": list(column.labels), "num_labels": len(column.labels)})


def coded(column: Column, words_of: Callable[[pa.Array], pa.Array], encoding: str = "codes", buckets: int = 0) -> Codec:
    """Return the codec of an input whose values are words.

    Args:
        column: the fitted column: `labels`, and `facts["missing"]` where training rows miss some.
        words_of: raw values -> words; null is missing.
        encoding: `codes`, `one_hot` or `hash`.
        buckets: codes of `hash`.
    """
    absent = 1 if column.facts.get("missing") else 0
    labels, name, known = column.labels, column.name, _known(column.labels)
    shared = ["unknown", *(["missing"] if absent else [])]
    if encoding == "hash":
        info: dict[str, Any] = {"numbers": 0, "names": [], "cardinalities": [buckets + 1], "edges": []}
    elif encoding == "one_hot":
        names = [f"{name} = {label}" for label in labels] + [f"{name} {word}" for word in shared]
        info = {"numbers": len(names), "names": names, "cardinalities": [], "edges": [[0.0, 1.0]] * len(names)}
    else:
        info = {"numbers": 0, "names": [], "cardinalities": [len(shared) + len(labels)], "edges": []}

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        import numpy as np
        import pyarrow.compute as pc

        from bessemer.modalities._vectors import fixed

        words = words_of(values)
        if encoding == "hash":
            return {"codes": fixed(_hashed(words, buckets)[:, None])}
        found = _codes(words, known).to_numpy()
        if encoding == "one_hot":
            place = np.where(found < 0, len(labels), found)
            if absent:
                place = np.where(words.is_null().to_numpy(zero_copy_only=False), len(labels) + 1, place)
            return {"numbers": fixed((place[:, None] == np.arange(info["numbers"])).astype(np.float32))}
        codes = np.where(found < 0, 0, found + len(shared)).astype(np.int32)
        if absent:
            codes[pc.is_null(words).to_numpy(zero_copy_only=False)] = 1
        return {"codes": fixed(codes[:, None])}

    return Codec(encode=encode, collate=lambda stored, limit: _matrices(stored), length=None,
                 info={**info, "labels": list(labels)})


def targeted(column: Column, words_of: Callable[[pa.Array], pa.Array], codes: TargetCodes) -> Codec:
    """Return the codec of an input whose values are words and stand for the target's mean; unknown ones for that of all rows."""
    import numpy as np

    plain, table_GW = coded(column, words_of), codes.scaled(codes.mean_GW)
    if len(table_GW) != plain.info["cardinalities"][0]:
        raise UserError(f"the column '{column.name}' has {plain.info['cardinalities'][0]:,} codes, but its file of target codes holds "
                        f"{len(table_GW):,}; run the recipe again to make it")

    def encode(values: pa.Array) -> dict[str, pa.Array]:
        from bessemer.modalities._vectors import fixed, matrix

        return {"numbers": fixed(np.ascontiguousarray(table_GW[matrix(plain.encode(values)["codes"])[:, 0]]))}

    return Codec(encode=encode, collate=plain.collate, length=None, info={
        "numbers": len(codes.names), "names": [f"{column.name}: {name}" for name in codes.names], "cardinalities": [],
        "edges": column.facts["edges"], "labels": list(column.labels)})


def _matrices(stored: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    from bessemer.modalities._vectors import matrices

    return matrices(stored)


def _hashed(words: pa.Array, buckets: int) -> np.ndarray:
    """Return 0 for a missing word, else 1 + the CRC-32 of its UTF-8 bytes modulo buckets: int32 [N]."""
    import zlib

    import numpy as np

    coded = words.dictionary_encode()
    known = [1 + zlib.crc32(word.encode()) % buckets for word in coded.dictionary.to_pylist()]
    places = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return np.array([*known, 0], np.int32)[places]


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
        raise UserError(f"a column of type {values.type} cannot be read as labels; expected text, whole numbers or true/false")
    words = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(words, literal("")), literal(None), words)


def natural(labels: Mapping[str, int]) -> list[str]:
    """Return labels sorted; as numbers where all of them are.

    >>> natural({"10": 1, "9": 1, "-1": 4})
    ['-1', '9', '10']
    """
    if all(re.fullmatch(r"[-+]?\d+(\.\d+)?", label) for label in labels):
        return sorted(labels, key=lambda label: (float(label), label))
    return sorted(labels)


def _known(labels: tuple[str, ...]) -> pa.Array:
    import pyarrow as pa

    return pa.array(labels, pa.string())


def _codes(words: pa.Array, known: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.fill_null(pc.index_in(words, value_set=known), literal(-1, "int32"))


def _collate(stored: Mapping[str, pa.Array], max_length: int | None) -> dict[str, np.ndarray]:
    import numpy as np

    return {"codes": np.asarray(stored["codes"].to_numpy(), np.int64)}
