"""What a column is: text, a category. One kind a file, the same functions for preparing, training and serving."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from bessemer.core.config import Config
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column
from bessemer.core.types import Codec, Modality


def config_of(column: Column) -> Config:
    """Return the settings of a schema's column: what was asked, and in the place of what was left open what its training rows settled."""
    return make("modalities", {**column.modality, **column.facts.get("settled", {})})


def modality_of(column: Column) -> Modality:
    """Return the modality that a schema's column was prepared with."""
    config = config_of(column)
    made: Modality = plugin_of("modalities", config).function(config)
    return made


def column_folder(folder: Path, name: str) -> Path:
    """Return the folder of prepared data in which a column's fitted files lie."""
    return folder / "columns" / quote(name, safe=" ").replace(".", "%2E")


def codec_of(column: Column, folder: Path) -> Codec:
    """Return the codec of a column from a folder of prepared data or of a model (its files beside `config.json`)."""
    own = column_folder(folder, column.name)
    return modality_of(column).load(column, own if own.is_dir() else folder)
