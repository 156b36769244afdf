"""Fitting columns for the tests of modalities."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from bessemer.core.pick import dump_plugin, make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role, Schema
from bessemer.modalities import codec_of, column_folder


def fitted(folder: Path, name: str, settings, values: pa.Array, role: str = "input"):
    """Return the column and its clean values, set-aside ones left out."""
    config = make("modalities", settings)
    modality = plugin_of("modalities", config).function(config)
    clean, why = modality.clean(values)
    clean = clean.filter(why.is_null())
    own = column_folder(folder, name)
    own.mkdir(parents=True)
    labels, facts = modality.fit(iter([clean.slice(0, 100), clean.slice(100)]), 3, own)
    plain = dump_plugin("modalities", config)
    return Column(name=name, role=Role(role), modality=plain, labels=labels, facts=facts), clean


def codec(folder: Path, settings, values: pa.Array, role: str = "input"):
    """Return a fitted column and its codec."""
    column, _ = fitted(folder, "x", settings, values, role)
    return column, codec_of(column, folder)


def numbers(encoded):
    """Return the stored numbers as a matrix."""
    return encoded["numbers"].flatten().to_numpy().reshape(len(encoded["numbers"]), -1)


def schema_of(columns) -> Schema:
    """Return the schema of columns."""
    return Schema(columns=tuple(columns))
