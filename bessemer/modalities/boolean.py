"""Boolean: a column of true and false, however it is written. Its codes are those of a category."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.types import Codec, Modality

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("false", "true")


class Boolean(Config):
    """A column of true and false."""

    true_values: tuple[str, ...] = ("true", "t", "yes", "y", "1", "on", "ja", "j", "oui", "si", "sí", "是", "对", "真", "有")
    """Texts that mean true, in any case."""
    false_values: tuple[str, ...] = ("false", "f", "no", "n", "0", "off", "nein", "non", "否", "不", "不是", "错", "假", "无", "没有")
    """Texts that mean false, in any case."""
    missing_values: tuple[str, ...] = ("", "na", "n/a", "nan", "null", "none", "?", "-")
    """Texts that mean that the value is missing, in any case."""

    @model_validator(mode="after")
    def _apart(self) -> Boolean:
        sets = [{item.strip().lower() for item in group} for group in (self.true_values, self.false_values, self.missing_values)]
        sets[0].add("true")
        sets[1].add("false")
        both = sorted((sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2]))
        if both:
            raise ValueError(f"'{both[0]}' is listed with two meanings; expected each text once")
        return self


@register("modalities", "boolean")
def boolean(config: Boolean) -> Modality:
    """Return the functions of a column of true and false."""

    def clean(values: pa.Array) -> tuple[pa.Array, pa.Array]:
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.modalities.category import words_of

        words = pc.utf8_lower(words_of(values))
        # What is clean already stays as it is, whatever texts the recipe lists.
        true, false, missing = (pc.is_in(words, value_set=pa.array(sorted({item.strip().lower() for item in group}), pa.string()))
                                for group in ((*config.true_values, "true"), (*config.false_values, "false"), config.missing_values))
        found = pc.if_else(true, "true", pc.if_else(false, "false", pa.scalar(None, pa.string())))
        strange = pc.and_(pc.and_(found.is_null(), words.is_valid()), pc.invert(missing))
        return found, pc.if_else(strange, "neither true nor false", pa.scalar(None, pa.string()))

    def fit(arrays: Iterator[pa.Array], seed: int, folder: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
        counts, missing = {label: 0 for label in LABELS}, 0
        for array in arrays:
            missing += array.null_count
            for entry in array.drop_null().value_counts().to_pylist():
                counts[entry["values"]] += entry["counts"]
        labels = tuple(label for label in LABELS if counts[label])
        return labels, {"counts": {label: counts[label] for label in labels}, "missing": missing}

    def words(values: pa.Array) -> pa.Array:
        return clean(values)[0]

    def load(column: Column, folder: Path) -> Codec:
        from bessemer.modalities import category

        return category.labelled(column, words) if column.role == Role.TARGET else category.coded(column, words)

    return Modality(clean=clean, fit=fit, load=load, roles=("input", "target"), answer="label", vector=True, nulls=True)
