"""The classical baseline: TF-IDF and a linear model. Neither torch nor transformers nor scikit-learn is imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._rows import input_column, names_of, texts_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class LinearForm(Config):
    """A folder with linear.json, vocabulary.json and weights.safetensors."""

    prefix: str = ""
    """With what the names of these files begin."""


@dataclass(eq=False)
class LinearPredictor:
    """A linear model over the terms of a text.

    Attributes:
        schema: of the data that it was trained on.
        form: name of the form.
        tidy: (a few raw texts) -> clean ones; None: nothing is quicker than the column's own cleaning.
        score: (clean texts) -> float32 probabilities [N, C], or numbers, float64 [N, 1].
        kind: of the one target's answer: label, flags or number.
    """

    schema: Schema
    form: str
    tidy: Callable[[Sequence[str]], list[str]] | None
    score: Callable[[list[str]], np.ndarray]
    kind: str = "label"

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        texts = texts_of(rows, self._input, self.tidy)
        return {self._target.name: Answer(self.kind, self.score(texts), () if self.kind == "number" else self._target.labels)}

    @cached_property
    def _input(self) -> Column:
        return input_column(self.schema)

    @cached_property
    def _target(self) -> Column:
        return self.schema.by_role(Role.TARGET)[0]


@register("predictors", "linear")
def linear_form(config: LinearForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.modalities import config_of
        from bessemer.modalities.text import Text, few_tidied
        from bessemer.models.tfidf_linear import load_linear, target_of

        score = load_linear(folder, config.prefix)
        target, kind = target_of(schema.by_role(Role.TARGET))
        outputs = score([]).shape[1]
        expected = 1 if kind == "number" else len(names_of(target) if kind == "label" else target.labels)
        if outputs != expected:
            raise UserError(f"'{folder}': the linear model tells {outputs} classes apart, the schema beside it names "
                            f"{expected}; the two are not of the same run: train again")
        column = config_of(input_column(schema))
        return LinearPredictor(schema, form, few_tidied(column) if isinstance(column, Text) else None, score, kind)

    return open_folder
