"""Radar returns from the ionosphere."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    *(f"pulse_{pulse}_{part}" for pulse in range(1, 18) for part in ("real", "imaginary")), "echo")
_FRAME = Frame(
    "Ionosphere",
    "1e72974db40749e025434dbb45c815c826d3cce7c1b324fd07ee89aee44e08b7",
    _NAMES,
    numeric=("pulse_1_real", "pulse_1_imaginary"),
)


class Ionosphere(Config):
    """The table ionosphere; it has no settings."""


@register("datasets", "ionosphere")
def ionosphere(config: Ionosphere) -> DataSet:
    """Return where it is and how it is read: the target is `echo`."""
    return data_set(
        _FRAME,
        about="351 radar returns, 17 complex pulses in 34 numbers of which one is constant: 225 good, 126 bad",
        reference="accuracy in 5 folds: LightGBM .935, logistic regression .878 (measured, default settings)",
    )
