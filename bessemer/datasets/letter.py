"""Capital letters of many typefaces, by measures of their pixels."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    "letter", "x_box", "y_box", "width", "height", "on_pixels", "x_mean", "y_mean", "x2_mean", "y2_mean", "xy_mean", "x2y_mean",
    "xy2_mean", "x_edges", "x_edges_with_y", "y_edges", "y_edges_with_x")
_FRAME = Frame(
    "LetterRecognition",
    "967a1a3e10b548d7269cbe50182bcecd6365cc58ea07638bbc34c51f17f34f1d",
    _NAMES,
    train=16_000,
)


class Letter(Config):
    """The table letter; it has no settings."""


@register("datasets", "letter")
def letter(config: Letter) -> DataSet:
    """Return where it is and how it is read: the target is `letter`; `split` is the published one."""
    return data_set(
        _FRAME,
        about="26 capital letters in 20 typefaces, 16 measures of their pixels: 16,000 to train, 4,000 to test",
        reference="accuracy: LightGBM .967, logistic regression .772 (measured, published split, default settings); random forests "
                  ".965 (published)",
    )
