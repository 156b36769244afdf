"""The trained network itself, run by torch: the reference that every other form is held against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor
from bessemer.predictors._rows import NetworkPredictor, heads_of

if TYPE_CHECKING:
    import numpy as np


class TorchForm(Config):
    """A folder with config.json and model.safetensors."""

    max_length: Annotated[int, Field(ge=3)] = 128
    """Longest input in tokens, special ones included; what is beyond is cut."""


@register("predictors", "torch")
def torch_form(config: TorchForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        import torch

        from bessemer.modalities import codec_of
        from bessemer.nn.checkpoint import answering, load_network
        from bessemer.predictors._units import of_texts

        heads = heads_of(folder, schema)
        # what is no single label is told apart by heads.json alone; its outputs' names are the folder's own
        alone = heads[0].labels if len(heads) == 1 and heads[0].width == len(heads[0].labels) and heads[0].kind != "flags" else ()
        network = load_network(folder, answering(folder), alone).eval()

        def predict_batch(arrays: dict[str, np.ndarray]) -> np.ndarray:
            with torch.inference_mode():
                logits_BC = network(**{name: torch.from_numpy(array) for name, array in arrays.items()})
            result: np.ndarray = logits_BC.float().numpy()
            return result

        codec = codec_of(schema.texts()[0], folder)
        return of_texts(NetworkPredictor(schema, form, codec, config.max_length, predict_batch, heads))

    return open_folder
