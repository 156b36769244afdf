"""A blend: the weighted mean of what other forms answer, each in its own folder inside this one.

Legend: N rows, M members, C classes, Q quantiles.
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
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor

if TYPE_CHECKING:
    import pyarrow as pa


class BlendForm(Config):
    """The members of a blend and their weights."""

    members: tuple[str, ...] = Field(min_length=1)
    """Folder of each, inside the blend's own."""
    forms: tuple[str, ...]
    """The form of each that answers."""
    weights: dict[str, tuple[float, ...]]
    """Target -> the weight of each member; they sum to 1."""

    @model_validator(mode="after")
    def _fit(self) -> BlendForm:
        if len(self.forms) != len(self.members) or any(len(item) != len(self.members) for item in self.weights.values()):
            raise ValueError("expected a form and, for each target, a weight for each of the members")
        return self

    @property
    def inside(self) -> tuple[tuple[str, str], ...]:
        """Folder and name of each form that it is made of."""
        return tuple(zip(self.members, self.forms, strict=True))


@dataclass(eq=False)
class BlendPredictor:
    """Several predictors that answer as one.

    Attributes:
        schema: of the data that all were trained on.
        form: name of the form.
        members: the predictors.
        weights: target -> the weight of each.
        places: folder of each, inside the blend's own, and the form of it that answers.
    """

    schema: Schema
    form: str
    members: Sequence[Predictor]
    weights: dict[str, tuple[float, ...]]
    places: Sequence[tuple[str, str]] = ()

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        return self.mix([member.predict(rows) for member in self.members])

    def mix(self, each: Sequence[dict[str, Answer]]) -> dict[str, Answer]:
        """Return the blend's answers of what each of its members answers."""
        return {target: mixed([found[target] for found in each], weights) for target, weights in self.weights.items()}


def mixed(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """Return the weighted mean of answers about one target; members of weight 0 play no part.

    Quantiles are averaged where all members have the same levels, else there are none. The spread of a number is by the law of total
    variance: the members' own variances, averaged, and the variance between them; of labels that between them.
    """
    import numpy as np

    used = [(answer, weight) for answer, weight in zip(answers, weights, strict=True) if weight > 0]
    first = used[0][0]
    if len(used) == 1:
        return first
    if any(answer.kind != first.kind or answer.labels != first.labels for answer, _ in used):
        raise UserError("the members of the blend do not answer alike (kinds or labels differ); they are not of the same run: blend again")
    same = all(answer.quantiles == first.quantiles for answer, _ in used)
    values = [answer.values.astype(np.float64) if same else answer.values[:, :1].astype(np.float64) for answer, _ in used]
    mean = np.zeros_like(values[0])
    for value, (_, weight) in zip(values, used, strict=True):
        mean += weight * value
    if first.kind == "flags":
        return Answer("flags", mean.astype(np.float32), first.labels)
    best = np.zeros((len(mean), 1), np.int64) if first.kind == "number" else mean.argmax(axis=1)[:, None]
    middle = np.take_along_axis(mean, best, axis=1)[:, 0]
    variance = np.zeros(len(mean))
    for value, (answer, weight) in zip(values, used, strict=True):
        own = answer.spread.astype(np.float64)**2 if answer.spread is not None and first.kind == "number" else 0.0
        variance += weight * ((np.take_along_axis(value, best, axis=1)[:, 0] - middle)**2 + own)
    spread = np.sqrt(variance).astype(np.float32)
    if first.kind == "number":
        return Answer("number", mean, quantiles=first.quantiles if same else (), spread=spread)
    return Answer("label", mean.astype(np.float32), first.labels, spread=spread)


@register("predictors", "blend")
def blend_form(config: BlendForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.core.forms import open_form

        targets = [column.name for column in schema.by_role(Role.TARGET)]
        if list(config.weights) != targets:
            raise UserError(f"'{folder}': the blend has weights for {', '.join(config.weights)}, the schema beside it has the targets "
                            f"{', '.join(targets)}; the two are not of the same run: blend again")
        members = [open_form(folder / member, name) for member, name in config.inside]
        return BlendPredictor(schema, form, members, config.weights, config.inside)

    return open_folder
