"""The classical baseline, run by scikit-learn: TF-IDF and logistic regression. Neither torch nor transformers is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._rows import class_names, clean_texts, input_column, label_answer

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
        score: (clean texts) -> float32 probabilities [N, C].
    """

    schema: Schema
    form: str
    score: Callable[[list[str]], np.ndarray]

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        import numpy as np

        texts = clean_texts(rows, input_column(self.schema)).to_pylist()
        parts = [self.score(texts[start:start + MAX_TEXTS]) for start in range(0, max(1, len(texts)), MAX_TEXTS)]
        return label_answer(self.schema, np.concatenate(parts))


@register("predictors", "linear")
def linear_form(_config: LinearForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.models.tfidf_linear import load_linear

        score = load_linear(folder)
        labels = class_names(schema)
        if score([]).shape[1] != len(labels):
            raise UserError(f"'{folder}': the linear model tells {score([]).shape[1]} classes apart, the schema beside it names "
                            f"{len(labels)}; the two are not of the same run: train again")
        return LinearPredictor(schema, form, score)

    return open_folder
