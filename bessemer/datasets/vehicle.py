"""Silhouettes of vehicles, by measures of their shape."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    "compactness", "circularity", "distance_circularity", "radius_ratio", "axis_aspect_ratio", "max_length_aspect_ratio",
    "scatter_ratio", "elongatedness", "axis_rectangularity", "max_length_rectangularity", "variance_major", "variance_minor",
    "radius_of_gyration", "skewness_major", "skewness_minor", "kurtosis_minor", "kurtosis_major", "hollows_ratio", "vehicle")
_FRAME = Frame(
    "Vehicle",
    "ea993a1fe72b2611a609101aa6ebee43b6a9dd07c329c9acd1a184ba971a2710",
    _NAMES,
)


class Vehicle(Config):
    """The table vehicle; it has no settings."""


@register("datasets", "vehicle")
def vehicle(config: Vehicle) -> DataSet:
    """Return where it is and how it is read: the target is `vehicle`."""
    return data_set(
        _FRAME,
        about="846 silhouettes of 4 kinds of vehicle (bus, opel, saab, van), 18 measures of shape",
        reference="accuracy in 5 folds: LightGBM .770, logistic regression .790 (measured, default settings)",
    )
