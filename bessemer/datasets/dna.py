"""Splice junctions in primate DNA."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (*(f"base_{base}_bit_{bit}" for base in range(1, 61) for bit in range(1, 4)), "junction")
_FRAME = Frame(
    "DNA",
    "df941ad89a49f705a29bf38e52c91dc34029539cedb13fa24f803f1224278c9e",
    _NAMES,
    numeric=_NAMES[:-1],
    train=2_000,
)


class Dna(Config):
    """The table dna; it has no settings."""


@register("datasets", "dna")
def dna(config: Dna) -> DataSet:
    """Return where it is and how it is read: the target is `junction`; `split` is the published one."""
    return data_set(
        _FRAME,
        about="Primate DNA, 60 bases in 180 bits, 3 kinds of junction (ei, ie, n): 2,000 to train, 1,186 to test",
        reference="accuracy: LightGBM .958, logistic regression .940 (measured, published split, default settings)",
    )
