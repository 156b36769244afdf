"""A cascade: forms of one folder from cheap to dear; a row goes on to the next only where the one before it is not sure enough.

Each row's answer depends on that row alone. Thresholds are chosen on validation rows (`bessemer.measure.cascade`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Answer, Predictor

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class CascadeForm(Config):
    """The forms and how sure each must be."""

    forms: tuple[str, ...] = Field(min_length=2)
    """Names of other forms of this folder, from cheap to dear."""
    thresholds: tuple[float, ...]
    """For each form but the last: the probability of the most probable label from which its answer stands."""

    @model_validator(mode="after")
    def _fit(self) -> CascadeForm:
        if len(self.thresholds) != len(self.forms) - 1:
            raise ValueError(f"expected {len(self.forms) - 1} thresholds for {len(self.forms)} forms, not {len(self.thresholds)}")
        return self

    @property
    def inside(self) -> tuple[tuple[str, str], ...]:
        """Folder and name of each form that it is made of: all lie in this one."""
        return tuple(("", name) for name in self.forms)


@dataclass(eq=False)
class CascadePredictor:
    """Predictors that are asked one after another.

    Attributes:
        schema: of the data that all were trained on.
        form: name of the form.
        members: the predictors, from cheap to dear.
        thresholds: of all but the last.
    """

    schema: Schema
    form: str
    members: Sequence[Predictor]
    thresholds: Sequence[float]

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order: probabilities are those of the form that a row ended with."""
        import numpy as np

        found = self.members[0].predict(rows)
        values = {target: answer.values.copy() for target, answer in found.items()}
        open_rows = np.arange(len(rows))
        for member, threshold in zip(self.members[1:], self.thresholds, strict=True):
            open_rows = open_rows[self._unsure(found, threshold)]
            if not len(open_rows):
                break
            found = member.predict(rows.take(open_rows))
            for target, answer in found.items():
                values[target][open_rows] = answer.values
        return {target: Answer(answer.kind, values[target], answer.labels) for target, answer in found.items()}

    def _unsure(self, found: dict[str, Answer], threshold: float) -> np.ndarray:
        """Return bool [N]: rows of which some target is not sure enough."""
        import numpy as np

        other = next((target for target, answer in found.items() if answer.kind != "label"), None)
        if other is not None:
            raise UserError(f"a cascade stops at labels that are sure; the target '{other}' is none: choose another form")
        return np.any([answer.values.max(axis=1) < threshold for answer in found.values()], axis=0)


@register("predictors", "cascade")
def cascade_form(config: CascadeForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.core.forms import open_form

        if form in config.forms:
            raise UserError(f"'{folder}': the cascade '{form}' names itself among its forms; name others")
        return CascadePredictor(schema, form, [open_form(folder, name) for name in config.forms], config.thresholds)

    return open_folder
