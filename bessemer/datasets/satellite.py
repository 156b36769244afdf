"""Landsat pixels with their neighbours, by the soil in the middle."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (*(f"pixel_{pixel}_band_{band}" for pixel in range(1, 10) for band in range(1, 5)), "soil")
_FRAME = Frame(
    "Satellite",
    "29f8cf9bb1bc51b769d694c9caf740fd1c36ed6a7c87603edf5985962e330f64",
    _NAMES,
    train=4_435,
)


class Satellite(Config):
    """The table satellite; it has no settings."""


@register("datasets", "satellite")
def satellite(config: Satellite) -> DataSet:
    """Return where it is and how it is read: the target is `soil`; `split` is the published one."""
    return data_set(
        _FRAME,
        about="Landsat images, 9 neighbouring pixels in 4 bands, 6 kinds of soil: 4,435 to train, 2,000 to test",
        reference="accuracy: LightGBM .910, logistic regression .840 (measured, published split, default settings)",
    )
