"""The classical baseline, run by scikit-learn: TF-IDF and a linear model. Neither torch nor transformers is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._rows import clean_texts, input_column, names_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

# Rows a call: bounds the memory of the sparse matrix, changes no answer.
MAX_TEXTS = 4096


class LinearForm(Config):
    """A folder with linear.json, vocabulary.json and weights.safetensors; there is nothing to set."""


@dataclass(eq=False)
class LinearPredictor:
    """A linear model over the terms of a text.

    Attributes:
        schema: of the data that it was trained on.
        form: name of the form.
        score: (clean texts) -> float32 probabilities [N, C], or numbers, float64 [N, 1].
        kind: of the one target's answer: label, flags or number.
    """

    schema: Schema
    form: str
    score: Callable[[list[str]], np.ndarray]
    kind: str = "label"

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        import numpy as np

        texts = clean_texts(rows, input_column(self.schema)).to_pylist()
        parts = [self.score(texts[start:start + MAX_TEXTS]) for start in range(0, max(1, len(texts)), MAX_TEXTS)]
        target = self.schema.by_role(Role.TARGET)[0]
        return {target.name: Answer(self.kind, np.concatenate(parts), () if self.kind == "number" else target.labels)}


@register("predictors", "linear")
def linear_form(_config: LinearForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.models.tfidf_linear import load_linear, target_of

        score = load_linear(folder)
        target, kind = target_of(schema.by_role(Role.TARGET))
        outputs = score([]).shape[1]
        expected = 1 if kind == "number" else len(names_of(target) if kind == "label" else target.labels)
        if outputs != expected:
            raise UserError(f"'{folder}': the linear model tells {outputs} classes apart, the schema beside it names "
                            f"{expected}; the two are not of the same run: train again")
        return LinearPredictor(schema, form, score, kind)

    return open_folder
