"""The bytes that a form needs on disk: the one rule of what belongs to a form, which whatever copies or counts forms asks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bessemer.core.artifact import MANIFEST, TIMINGS
from bessemer.core.forms import FILE, Form, read_forms

SHARED = (FILE, "schema.json", "heads.json")
"""What every form of a folder reads beside its weights, where it is there; and all that lies under `columns/`."""


def weights(folder: Path, form: Form) -> tuple[Path, ...]:
    """Return the files that hold a form's weights: those that it names, and the data that lie beside a graph of more than 2 GB."""
    return tuple(path for name in form.files for path in (folder / name, folder / f"{name}.data") if path.is_file())


def needed(folder: Path, form: str) -> tuple[Path, ...]:
    """Return the files that one form of a folder needs to answer: its weights, and what turns raw rows into its inputs.

    A form that is made of others (its predictor's config has `inside`: the folder, relative to this one, and the name of each) needs
    what they need.
    """
    chosen = _named(folder, form)
    named = [folder / name for name in (*SHARED, *(["config.json"] if "model.safetensors" in chosen.files else []))]
    # Folders of the first version hold what was fitted of their one column beside the weights.
    columns = sorted((folder / "columns").rglob("*")) if (folder / "columns").is_dir() else [folder / "tokenizer.json"]
    within = [path for place, name in _inside(chosen) for path in needed(folder / place, name)]
    return tuple(dict.fromkeys(path for path in (*named, *weights(folder, chosen), *columns, *within) if path.is_file()))


def size(folder: Path, form: str) -> dict[str, int]:
    """Return bytes: `form` (all that this form needs), `weights` (its graph or weights alone), `folder` (every file of the model).

    The list of forms, `predictor.json`, is the folder's and not counted with a form: so a form's size is the same wherever it is copied.
    """
    everything = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MANIFEST, TIMINGS)]
    return {"form": _bytes(path for path in needed(folder, form) if path.name != FILE),
            "weights": _bytes(weights(folder, _named(folder, form))), "folder": _bytes(everything)}


def _named(folder: Path, form: str) -> Form:
    return next(item for item in read_forms(folder) if item.name == form)


def _inside(form: Form) -> tuple[tuple[str, str], ...]:
    """Return the forms that a form is made of."""
    found: tuple[tuple[str, str], ...] = getattr(form.predictor, "inside", ())
    return found


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
