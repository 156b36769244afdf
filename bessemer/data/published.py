"""Data that come divided: which splits a folder holds already, so that test rows are not learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.registry import plugin_of
from bessemer.data.rows import split_name

if TYPE_CHECKING:
    from bessemer.core.config import Config

COLUMN = "split"
"""The column by which the hub's layout says which split a row is of."""


def folders_of(folder: Path) -> dict[str, Path]:
    """Return split -> folder where a folder holds nothing but folders named after splits, training and test among them; else nothing.

    >>> folders_of(Path("/nowhere"))
    {}
    """
    inside = [item for item in sorted(folder.iterdir()) if item.is_dir() and not item.name.startswith(".")] if folder.is_dir() else []
    found = {split_name(item.name) or "": item for item in inside}
    if "" in found or len(found) != len(inside) or not _whole(found):
        return {}
    return found


def splits_of(config: Config) -> dict[str, Path | None]:
    """Return split -> the folder of its rows, or None where a column says the split; nothing where the data come undivided."""
    from bessemer.data.hub import layout

    kind, path = plugin_of("data/sources", config).name, getattr(config, "path", None)
    if not isinstance(path, str):
        return {}
    if kind == "folder":
        return dict(folders_of(Path(path)))
    if kind != "hf":
        return {}
    found = {split_name(name) for name, _ in layout(Path(path), None, None)}
    return dict.fromkeys((name for name in found if name), None) if _whole(dict.fromkeys(found)) else {}


def _whole(found: Mapping[str | None, object] | Mapping[str, object]) -> bool:
    return "train" in found and "test" in found
