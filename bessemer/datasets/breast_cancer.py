"""Tumours of the breast, by measures of the nuclei of their cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.types import Chunk, DataSet
from bessemer.datasets._sklearn import FOLDER, resource
from bessemer.datasets._tables import chunks, numbers, strings

_MEASURES = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points", "symmetry",
             "fractal_dimension")
_NAMES = (*(f"{kind}_{measure}" for kind in ("mean", "error", "worst") for measure in _MEASURES), "diagnosis")


class BreastCancer(Config):
    """The table breast-cancer; it has no settings."""


def _read(folder: Path) -> Iterator[Chunk]:
    import pyarrow as pa

    table = numbers(strings(folder / FOLDER / "breast_cancer.csv", _NAMES, skip=1), _NAMES)
    labels = pa.array(["malignant", "benign"]).take(table["diagnosis"].combine_chunks())
    yield from chunks(table.set_column(len(_NAMES) - 1, "diagnosis", labels), first=2)


@register("datasets", "breast-cancer")
def breast_cancer(config: BreastCancer) -> DataSet:
    """Return where it is and how it is read: the target is `diagnosis`."""
    return DataSet(
        kind="rows",
        about="569 tumours of the breast in Wisconsin, 30 measures of the nuclei of cells: 357 benign, 212 malignant",
        licence="UCI Machine Learning Repository, CC BY 4.0; packaged under BSD-3-Clause",
        reference="accuracy in 5 folds: LightGBM .972, logistic regression .979 (measured, default settings)",
        resource=resource({"breast_cancer.csv": "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"}),
        read=_read,
    )
