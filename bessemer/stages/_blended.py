"""Blends whose members are scored themselves: their answers are mixed from those of the members, which need not answer twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bessemer.core.run import RunContext

if TYPE_CHECKING:
    from bessemer.core.types import Predictor


def made_of(forms: Mapping[str, tuple[Predictor, dict[str, Any]]], run: RunContext) -> dict[str, tuple[str, ...]]:
    """Return blend -> the names of the forms that its members are; of those alone whose members are all there, file by file the same.

    Args:
        forms: name (`stage form`) -> the opened form, and `stage` of it.
        run: of the stage, whose inputs `models.0`, `models.1`, … are the stages of `forms`.
    """
    manifests = {entry["stage"]: run.input_manifests[f"models.{index}"].files for index, entry in
                 enumerate({entry["stage"]: entry for _, entry in forms.values()}.values())}
    found = {}
    for name, (predictor, entry) in forms.items():
        members = []
        for folder, form in getattr(predictor, "places", ()):
            head = f"{folder}/"
            own = {path.removeprefix(head): item["sha256"] for path, item in manifests[entry["stage"]].items() if path.startswith(head)}
            same = [f"{stage} {form}" for stage, files in manifests.items()
                    if own and all(files.get(path, {}).get("sha256") == sha for path, sha in own.items())]
            members += [other for other in same if other in forms][:1]
        if members and len(members) == len(predictor.places):  # type: ignore[attr-defined]
            found[name] = tuple(members)
    return found
