"""Thresholds of a finished run: above which probability a label is sure enough, so that a wished part of the rows is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bessemer.core.answering import Finished
from bessemer.core.errors import UserError

if TYPE_CHECKING:
    from bessemer.api import Model


def thresholds_of(finished: Finished, model: Model, coverage: float) -> dict[str, float]:
    """Return target -> threshold, as the run's evaluation chose it on validation rows for the form that answers.

    Args:
        finished: the run's finished stages.
        model: that answers.
        coverage: part of the rows that is to be answered; one of those that the evaluation has.
    """
    _check(model)
    entries = _entries(finished, model)
    found: dict[str, float] = {}
    for target, each in entries.items():
        known = {item["coverage"]: item["threshold"] for item in each}
        if coverage not in known:
            raise UserError(f"--coverage {coverage:g}: expected one of {', '.join(f'{item:g}' for item in sorted(known))}, for which the "
                            "run's evaluation has chosen thresholds")
        found[target] = known[coverage]
    return found


def _check(model: Model) -> None:
    """Refuse a model of which no target has one label a row: nothing else has a probability that says how sure an answer is."""
    from bessemer.core.schema import Role
    from bessemer.modalities import modality_of

    kinds = {column.name: modality_of(column).answer for column in model.schema.by_role(Role.TARGET)}
    if "label" not in kinds.values():
        said = {"number": "is a number", "flags": "may have several labels in a row", "tags": "has a tag for each unit of a text"}
        each = ", ".join(f"'{target}' {said[kind]}" for target, kind in kinds.items())
        raise UserError(f"--coverage is for targets with one label a row, whose probability says how sure it is; {each}: leave "
                        "--coverage out")


def _entries(finished: Finished, model: Model) -> Mapping[str, list[dict[str, Any]]]:
    """Return target -> what each coverage gives, of the evaluated form of this name."""
    run, stage = finished.root, model.folder.name
    mine = {stage, *_packed(finished, stage)}
    for file in [run / name / "scores.json" for name in finished.kept if (run / name / "scores.json").is_file()]:
        forms = json.loads(file.read_text(encoding="utf-8"))["forms"].values()
        same = [item for item in forms if item["name"] == model.form and "abstention" in item and item["stage"] in mine]
        own = [item for item in same if item["stage"] == stage]
        if same:
            entries: Mapping[str, list[dict[str, Any]]] = (own or same)[0]["abstention"]
            return entries
    raise UserError(f"'{run}' has no thresholds for the form '{model.form}' of {stage}: no evaluation of its labels on validation and test "
                    "rows is there; run its recipe with an evaluate stage that scores this form of it, or leave --coverage out")


def _packed(finished: Finished, stage: str) -> set[str]:
    """Return the stages of which an export holds the forms as they are; none of another stage, such as an update."""
    manifest = finished.kept.get(stage)
    if manifest is None or manifest.kind != "export":
        return set()
    return {name for name, item in finished.kept.items() if item.key in manifest.inputs.values()}
