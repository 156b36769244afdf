"""Fitting a model that is no network into a folder that predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.core.config import Config
    from bessemer.core.schema import Schema
    from bessemer.core.types import Codec, Model

Tables = Callable[[], Iterator["pa.Table"]]


def fit_folder(config: Config, data: Path, tables: tuple[Tables, Tables], out: Path, run: RunContext,
               target: str | None = None) -> Mapping[str, Any]:
    """Fit and write weights, preprocessing and `predictor.json`; return the model's facts.

    Args:
        config: of the model.
        data: the prepared data's folder.
        tables: () -> the training rows, () -> the validation rows, as they are stored.
        out: an empty folder.
        run: of the stage.
        target: the one target to learn, where the data have several; all of them by default.
    """
    from bessemer.core.forms import Form, write_forms
    from bessemer.core.schema import Role, Schema
    from bessemer.core.types import FitSpec
    from bessemer.stages._tables import copy_columns, is_table

    chosen = plugin_of("models", config)
    model: Model = chosen.function(config)
    if model.fit is None:
        raise UserError(f"the model '{chosen.name}' is a network, which is not fitted here; choose one that fits itself: tfidf_linear or "
                        "probe of texts, lightgbm or linear of tables")
    schema = Schema.load(data)
    if target is not None:
        schema = Schema(columns=tuple(column for column in schema.columns if column.role != Role.TARGET or column.name == target))
    if model.table != is_table(schema):
        kinds = ("a table", "text") if model.table else ("text", "a table")
        raise UserError(f"the model '{chosen.name}' reads {kinds[0]}, the data are {kinds[1]}; choose another model")
    facts = model.fit(FitSpec(schema, *tables, run.seed, out, _info(schema, data, model), data, run.threads, _codec(schema, data, model)))
    files = tuple(sorted(path.name for path in out.iterdir()))
    copy_columns(data, out)
    schema.save(out)
    write_forms(out, (Form(name=chosen.name, predictor=make("predictors", model.predictor), files=files),))
    return facts


def _codec(schema: Schema, data: Path, model: Model) -> Codec | None:
    from bessemer.core.schema import Role
    from bessemer.modalities import codec_of

    return None if model.table else codec_of(schema.only(Role.INPUT, "text"), data)


def _info(schema: Schema, data: Path, model: Model) -> dict[str, Any]:
    from bessemer.modalities.vectors import open_vectors

    return dict(open_vectors(schema, data).info) if model.table else {}
