"""The trained network of a table itself, run by torch: the reference that every other form is held against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.heads import answers, load_heads
from bessemer.core.registry import register
from bessemer.core.schema import Schema
from bessemer.core.types import Answer, Predictor
from bessemer.predictors._tables import TableInput, open_predictor


class TableTorch(Config):
    """A folder with config.json, model.safetensors and heads.json; there is nothing to set."""


@register("predictors", "table_torch")
def table_torch(_config: TableTorch) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        import torch

        from bessemer.nn.table import load_table_network

        network, heads = load_table_network(folder).eval(), load_heads(folder)

        def answer(rows: TableInput) -> dict[str, Answer]:
            with torch.inference_mode():
                numbers = rows.numbers if rows.numbers.flags.writeable else rows.numbers.copy()  # torch asks for memory it may write to
                outputs_NMO = network(torch.from_numpy(numbers), torch.from_numpy(rows.codes.astype("int64")))
            return answers(heads, outputs_NMO.numpy())

        return open_predictor(folder, schema, form, answer)

    return open_folder
