"""Classes as vectors beside a network that is not trained further (models/probe.py), run by torch."""

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
from bessemer.predictors._rows import class_names, clean_texts, input_column, label_answer, softmax

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class ProbeForm(Config):
    """A folder with config.json, model.safetensors and probe.safetensors; there is nothing to set."""


@dataclass(eq=False)
class ProbePredictor:
    """Vectors of texts against those of the classes.

    Attributes:
        schema: of the data that it was trained on.
        form: name of the form.
        logits: (clean texts) -> float32 [N, C].
    """

    schema: Schema
    form: str
    logits: Callable[[pa.Array], np.ndarray]

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        return label_answer(self.schema, softmax(self.logits(clean_texts(rows, input_column(self.schema)))))


@register("predictors", "probe")
def probe_form(_config: ProbeForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from safetensors.numpy import load_file

        from bessemer.modalities import codec_of
        from bessemer.models.probe import embedder

        file, column = folder / "probe.safetensors", input_column(schema)
        if not file.is_file():
            raise UserError(f"'{folder}' has no probe.safetensors; train it again")
        tensors, labels = load_file(file), class_names(schema)
        if len(tensors["coef"]) != len(labels):
            raise UserError(f"'{file}' tells {len(tensors['coef'])} classes apart, the schema beside it names {len(labels)}; the two are "
                            "not of the same run: train again")
        embed = embedder(folder, codec_of(column, folder))
        return ProbePredictor(schema, form, lambda texts: logits(embed(texts), tensors["coef"], tensors["intercept"]))

    return open_folder


def logits(vectors_ND: np.ndarray, coef_CD: np.ndarray, intercept_C: np.ndarray) -> np.ndarray:
    """Return [N, C]; of no rows none, whatever the width."""
    import numpy as np

    if not len(vectors_ND):
        return np.zeros((0, len(coef_CD)), np.float32)
    found: np.ndarray = vectors_ND @ coef_CD.T + intercept_C
    return found
