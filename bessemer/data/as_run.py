"""How a file that a command names is read where the sources of the run say more of it than its name and content show.

Rows to predict, to score or to learn are mostly written as those that were trained on: with the same fields in a line, the same mark before
labels, the same sign between them. A file is read so where all sources of its kind in the run's recipe say one thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bessemer.core.config import Config, read_yaml
from bessemer.core.errors import UserError
from bessemer.core.registry import plugin, plugin_of
from bessemer.data.inspect import infer_source
from bessemer.data.rows import kind_of, plain_head

SAID = {"csv": ("delimiter",), "fasttext": ("prefix", "separator"), "lines": ("columns",), "folder": ("pattern", "level")}
"""Kind of source -> what of its settings is about how rows are written, and holds for other files too."""
OF_LINES, OF_FOLDERS = ("lines", "fasttext"), ("class_files", "folder")


def as_in_run(path: Path, run: Path | None) -> tuple[Config, str]:
    """Return how a file or folder is read, and what a person should know of that, a sentence or nothing.

    Args:
        path: as `infer_source` has it.
        run: folder of the run, or of one of its stages, for whose model it is read.

    Raises:
        UserError: there is no such file, or neither it nor the run's sources show what it is.
    """
    said = said_of(run) if run is not None else {}
    try:
        config = infer_source(path)
    except UserError:
        kind = _kind(path, said)
        if kind is None:
            raise
        config = plugin("data/sources", kind).config.model_validate({"path": str(path)})
    name = plugin_of("data/sources", config).name
    if name == "class_files" and path.is_dir() and _only(said, OF_FOLDERS) == "folder":
        name, config = "folder", plugin("data/sources", "folder").config.model_validate({"path": str(path)})
    other = {key: value for key, value in (said.get(name) or {}).items()
             if value != getattr(config, key) and _holds(name, key, value, path)}
    if not other:
        return config, ""
    told = ", ".join(f"{key}: " + (f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)) for key, value in other.items())
    return config.model_copy(update=other), f"{path}: read as {name} with {told}, as the run's sources are"


def recipe_stages(folder: Path) -> Mapping[str, Any]:
    """Return the stages of a run's recipe as plain values, none where there is none to read.

    Args:
        folder: the run's, or a stage's in it.
    """
    for root, stage in ((folder, None), (folder.parent, folder.name)):
        if not (root / "recipe.yaml").is_file():
            continue
        with suppress(UserError):
            plain = read_yaml(root / "recipe.yaml")
            stages = plain.get("stages") if isinstance(plain, dict) else None
            if isinstance(stages, dict) and (stage is None or stage in stages):
                return stages
    return {}


def said_of(run: Path) -> dict[str, dict[str, Any] | None]:
    """Return of each kind of source in a run's recipe what all of that kind say (see SAID); None where they say different things."""
    found: dict[str, dict[str, Any] | None] = {}
    for name, stage in recipe_stages(run).items():
        if isinstance(stage, dict) and stage.get("kind", name) == "prepare":
            for kind, settings in _sources(stage.get("sources")):
                found[kind] = settings if found.get(kind, settings) == settings else None
    return found


def _sources(plain: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind of each source, those of a join's or a query's tables too, and what it says."""
    for item in plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ():
        yield from _sources(item)
    if isinstance(plain, dict) and isinstance(plain.get("kind"), str) and "path" in plain:
        kind = plain["kind"]
        with suppress(UserError, ValueError):
            fields = plugin("data/sources", kind).config.model_fields
            yield kind, {key: tuple(value) if isinstance(value, list) else value
                         for key in SAID.get(kind, ()) if (value := plain.get(key, fields[key].default)) is not None}


def _only(said: Mapping[str, Any], kinds: tuple[str, ...]) -> str | None:
    """Return the only one of these kinds that the run's sources have, where all of it say one thing."""
    found = [kind for kind in kinds if kind in said]
    return found[0] if len(found) == 1 and said[found[0]] is not None else None


def _kind(path: Path, said: Mapping[str, Any]) -> str | None:
    """Return the kind that a file or folder is by the run's sources, where it shows none itself."""
    if path.is_dir():
        return "folder" if _only(said, OF_FOLDERS) == "folder" else None
    return _only(said, OF_LINES) if path.is_file() and kind_of(path) in (None, "lines") else None


def _holds(kind: str, key: str, value: Any, path: Path) -> bool:
    """Tell whether a setting is said of other files too: a delimiter that the header has, a level that is counted from the file."""
    if kind == "csv":
        return str(value) in plain_head(path).split(b"\n", 1)[0].decode("utf-8", "replace")
    return key != "level" or value < 0
