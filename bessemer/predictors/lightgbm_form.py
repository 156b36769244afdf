"""Trees of the model `lightgbm`, run by the lightgbm package.

Legend: N rows, P features, C classes, L labels, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Answer, Predictor

if TYPE_CHECKING:
    import numpy as np

    from bessemer.models.lightgbm import Trees
    from bessemer.predictors._tables import TableInput


class LightGBMForm(Config):
    """A folder with lightgbm.json and the trees that it names; there is nothing to set."""


@register("predictors", "lightgbm")
def lightgbm_form(_config: LightGBMForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.predictors._tables import open_predictor

        return open_predictor(folder, schema, form, answerer(folder, schema))

    return open_folder


def answerer(folder: Path, schema: Schema) -> Callable[[TableInput], dict[str, Answer]]:
    """Return (rows) -> target -> Answer of a folder that the model's fit wrote."""
    from bessemer.models import lightgbm as model

    package = model.need()
    saved = model.load(folder)
    model.columns_named(saved, schema)
    boosters = {item.target: [_booster(package, folder / file) for file in item.files] for item in saved.targets}

    def answer(rows: TableInput) -> dict[str, Answer]:
        features_NP = model.matrix(rows.clean, rows.numbers, rows.codes, saved.features)
        return {item.target: _answer(item, boosters[item.target], features_NP) for item in saved.targets}

    return answer


def _booster(package: Any, file: Path) -> Any:
    try:
        return package.Booster(model_str=file.read_text(encoding="utf-8"))
    except (OSError, package.basic.LightGBMError) as error:
        raise UserError(f"'{file}' is missing or damaged ({str(error).splitlines()[0]}); run the recipe again to make it anew") from None


def _answer(item: Trees, boosters: list[Any], features_NP: np.ndarray) -> Answer:
    import numpy as np

    if not len(features_NP):
        outputs = np.zeros((0, len(item.labels) if item.kind == "label" else len(boosters)))
    elif item.kind == "label":
        outputs = boosters[0].predict(features_NP)
        if outputs.ndim == 1:
            outputs = np.stack([1 - outputs, outputs], axis=1)
    else:
        outputs = np.stack([booster.predict(features_NP) for booster in boosters], axis=1)
    if item.kind == "number":
        numbers = item.shift + item.scale * outputs
        numbers[:, 1:] = np.sort(numbers[:, 1:], axis=1)  # quantiles are learnt apart and may cross
        return Answer("number", numbers, quantiles=item.quantiles)
    return Answer(item.kind, outputs.astype(np.float32), item.labels)
