"""Forms: the runnable shapes of one model (torch float32, ONNX float32, ONNX int8, linear), listed in `predictor.json`.

A folder with a `predictor.json` and a `schema.json` predicts raw rows through one interface, whatever the form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from bessemer.core.config import Config, explain
from bessemer.core.errors import UserError, nearest
from bessemer.core.pick import Pick
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Schema
from bessemer.core.types import Predictor

FILE = "predictor.json"


class Form(Config):
    """One runnable shape of a model."""

    name: str
    """Unique in the folder; shown in tables."""
    predictor: Annotated[Config, Pick("predictors")]
    """Which predictor opens it, with its settings."""
    files: tuple[str, ...] = ()
    """The files that hold its weights; all that it needs is told by `measure/size.py`."""
    lossy: bool = False
    """Whether it may answer otherwise than the trained model (int8); checked by agreement, not by equality."""


class Forms(Config):
    """Content of `predictor.json`."""

    format: int = 1
    """Version of this file."""
    forms: Annotated[tuple[Form, ...], Field(min_length=1)]
    """The forms; the first is the one that predicts unless another is asked for."""


def write_forms(folder: Path, forms: tuple[Form, ...]) -> None:
    """Write `predictor.json`."""
    plain = Forms(forms=forms).model_dump(mode="json")
    (folder / FILE).write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_forms(folder: Path) -> tuple[Form, ...]:
    """Read `predictor.json`."""
    file = folder / FILE
    if not file.is_file():
        raise UserError(f"'{folder}' holds no model that predicts (no {FILE}); give a run's folder, such as runs/NAME, or that of a "
                        "finished finetune, compress or export stage")
    try:
        plain: Any = json.loads(file.read_text(encoding="utf-8"))
        return Forms.model_validate(plain).forms
    except ValidationError as error:
        raise explain(error, str(file), Forms) from None
    except ValueError as error:
        raise UserError(f"'{file}' is damaged ({error}); run again to make it anew") from None


def open_form(folder: Path, name: str | None = None) -> Predictor:
    """Open one form of a model's folder: the first, or the one with this name."""
    forms = read_forms(folder)
    chosen = forms[0]
    if name is not None:
        found = [form for form in forms if form.name == name]
        if not found:
            raise UserError(f"'{folder}' has no form '{name}'{nearest(name, [form.name for form in forms])}")
        chosen = found[0]
    config = chosen.predictor
    predictor: Predictor = plugin_of("predictors", config).function(config)(folder, Schema.load(folder), chosen.name)
    return predictor
