"""Prices of houses in Boston in 1970."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    "crime", "large_lots", "industry", "by_the_river", "nitric_oxides", "rooms", "built_before_1940", "distance_to_jobs", "highways",
    "tax", "pupils_per_teacher", "b", "lower_status", "value")
_FRAME = Frame(
    "BostonHousing",
    "ba0ed85a4af37d0b89ae8742b25d8a0c79b1c132c3e25f6a413639ddbba49e1b",
    _NAMES,
    numeric=("by_the_river",),
)


class Boston(Config):
    """The table boston; it has no settings."""


@register("datasets", "boston")
def boston(config: Boston) -> DataSet:
    """Return where it is and how it is read: the target is `value`."""
    return data_set(
        _FRAME,
        about="506 districts of Boston in 1970, 13 measures, median value of a house in thousands of dollars, cut at 50; its column b"
              " is made from the share of black inhabitants: for comparison with published scores alone",
        licence="StatLib of Carnegie Mellon University, published without a licence; packaged under GPL-2",
        reference="R2 in 5 folds: LightGBM .833, ridge regression .709 (measured, default settings)",
    )
