"""The linear model of tables, run by numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Predictor


class TableLinearForm(Config):
    """A folder with table_linear.json and weights.safetensors; there is nothing to set."""


@register("predictors", "table_linear")
def table_linear_form(_config: TableLinearForm) -> Callable[[Path, Schema, str], Predictor]:
    """Return the function that opens the form of a folder."""

    def open_folder(folder: Path, schema: Schema, form: str) -> Predictor:
        from bessemer.models.linear import load_linear
        from bessemer.predictors._tables import TableInput, open_predictor

        score = load_linear(folder, schema.by_role(Role.TARGET))

        def answer(rows: TableInput) -> dict[str, Answer]:
            return score(rows.numbers, rows.codes)

        return open_predictor(folder, schema, form, answer)

    return open_folder
