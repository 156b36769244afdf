"""Ozone over Los Angeles, by weather."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    "month", "day", "weekday", "ozone", "pressure_height", "wind_speed", "humidity", "temperature_sandburg", "temperature_el_monte",
    "inversion_height", "pressure_gradient", "inversion_temperature", "visibility")
_FRAME = Frame(
    "Ozone",
    "3c43847325bdea47f28e8231d3d7e14915982aa73275bbefbed75e5e6dc18c5f",
    _NAMES,
    numeric=("month", "day"),
)


class Ozone(Config):
    """The table ozone; it has no settings."""


@register("datasets", "ozone")
def ozone(config: Ozone) -> DataSet:
    """Return where it is and how it is read: the target is `ozone`."""
    return data_set(
        _FRAME,
        about="366 days of 1976 in Los Angeles, 12 measures of calendar and weather, the highest reading of ozone, missing on 5 days;"
              " 198 other readings are missing",
        licence="Breiman and Friedman 1985, published without a licence; packaged under GPL-2",
        reference="R2 in 5 folds: LightGBM .729, ridge regression .635 (measured, default settings)",
    )
