"""English vowels by many speakers, as log area ratios."""

from __future__ import annotations

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import DataSet
from bessemer.datasets._mlbench import Frame, data_set

_NAMES = (
    "speaker", "feature_1", *(f"feature_{number}" for number in range(3, 11)), "vowel")
_FRAME = Frame(
    "Vowel",
    "6577f9ca304153797ec7621d79020b010d160c425da2007639b9e6a2b23fb127",
    _NAMES,
    train=528,
)


class Vowel(Config):
    """The table vowel; it has no settings."""


@register("datasets", "vowel")
def vowel(config: Vowel) -> DataSet:
    """Return where it is and how it is read: the target is `vowel`; `split` is the published one."""
    return data_set(
        _FRAME,
        about="990 utterances of 11 English vowels by 15 speakers, 9 of the 10 published features (the package lacks the second): 528"
              " by the first eight speakers to train, 462 to test",
        reference="accuracy: LightGBM .461, logistic regression .366 (measured without the speaker, published split, default "
                  "settings)",
    )
