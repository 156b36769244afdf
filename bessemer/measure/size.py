"""The bytes that a form needs on disk."""

from __future__ import annotations

from pathlib import Path

from bessemer.core.artifact import MANIFEST, TIMINGS
from bessemer.core.forms import FILE, read_forms

SHARED = (FILE, "schema.json", "heads.json")
"""What every form of a folder reads beside its weights, where it is there; and all that lies under `columns/`."""


def needed(folder: Path, form: str) -> tuple[Path, ...]:
    """Return the files that one form of a folder needs to answer: its weights, and what turns raw rows into its inputs."""
    chosen = next(item for item in read_forms(folder) if item.name == form)
    beside = [f"{name}.data" for name in chosen.files] + ["config.json"] * ("model.safetensors" in chosen.files)
    named = [folder / name for name in (*SHARED, *chosen.files, *beside)]
    columns = sorted((folder / "columns").rglob("*")) if (folder / "columns").is_dir() else []
    return tuple(dict.fromkeys(path for path in (*named, *columns) if path.is_file()))


def size(folder: Path, form: str) -> dict[str, int]:
    """Return bytes: `form` (all that this form needs), `weights` (its graph or weights alone), `folder` (every file of the model).

    The list of forms, `predictor.json`, is the folder's and not counted with a form: so a form's size is the same wherever it is copied.
    """
    chosen = next(item for item in read_forms(folder) if item.name == form)
    weights = [folder / name for name in chosen.files]
    everything = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST, TIMINGS)]
    return {"form": sum(path.stat().st_size for path in needed(folder, form) if path.name != FILE),
            "weights": sum(path.stat().st_size for path in weights), "folder": sum(path.stat().st_size for path in everything)}
