"""Networks that earlier searches in the same run's folder trained for the same trained network: candidates before anything new is trained.

Their forms are measured again, on this machine and these rows; to train them costs nothing. Which ones there are is recorded once, so that
a search that goes on after a kill asks the same of them though other searches were run in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bessemer.core.artifact import load_manifest
from bessemer.search.journal import Journal
from bessemer.stages._budget_space import RANK, RUNGS, TRAINED, recipe_of, short
from bessemer.stages._budget_try import PARTS, Hunt, attempt, forms_of, other_heads, point_of

EARLIER = "earlier"
"""Record of what was found; with it begin the records of networks that this search would train otherwise."""
BY = " (trained by an earlier search)"
WITHIN = 0.5
"""Part of the time left that may be gone before the next of them is measured."""


def try_earlier(hunt: Hunt, space: Mapping[str, Any]) -> None:
    """Measure what earlier searches trained, the most promising by what they measured first, while half of the time is there."""
    record = attempt(hunt, EARLIER, {"label": "earlier searches", "settings": None},
                     lambda: {"status": "finished", "reason": "", "found": found(hunt, space)})
    until = hunt.left * (1 - WITHIN)
    for item in record.get("found", ()):
        if item["id"] not in hunt.journal and hunt.left < max(until, hunt.ending):
            break
        attempt(hunt, item["id"], {"label": item["label"], "settings": item["settings"]}, lambda one=item: _measured(hunt, one))  # type: ignore[misc]


def found(hunt: Hunt, space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return id, label, settings, trial and stage of each finished network of the other journals, each trial once.

    Those whose forms met this budget come first, then the nearest to it; equal ones by what they lost.
    """
    trials = hunt.run.root / "trials"
    kept: dict[str, tuple[float, float, dict[str, Any]]] = {}
    for file in sorted(trials.glob("*.jsonl")):
        if file.name == hunt.journal.file.name:
            continue
        for record in Journal(file).records.values():
            item = _item(hunt, record, space)
            if item is not None and item["trial"] not in kept:
                points = [point_of(form) for form in record["forms"]]
                over, lost = min((sum(hunt.limits.over(point).values()), point.drop) for point in points)
                kept[item["trial"]] = over, lost, item
    return [item for _, _, item in sorted(kept.values(), key=lambda one: (one[:2], one[2]["trial"]))]


def _item(hunt: Hunt, record: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is needed to measure a record's network again; None where this search has no use for it."""
    settings, model = record.get("settings") or {}, Path(record.get("model") or ".")
    search = hunt.config.search
    assert search is not None
    if record.get("status") != "finished" or not record.get("forms") or settings.get("family") not in {*space} - {TRAINED}:
        return None
    if not model.parent.name.startswith(f"{hunt.training.name}-") or any(form.get("exits") for form in record["forms"]):
        return None
    manifest = load_manifest(hunt.run.root / "trials" / model.parent.name / model.name)
    plain = manifest is not None and manifest.inputs.get("data") == hunt.run.input_manifests["data"].key
    rounded, factors = settings.get("qat", False), settings.get(RANK) is not None
    if manifest is None or (not plain and not search.distil) or (rounded and not search.qat) or (factors and not search.low_rank):
        return None
    own = not rounded and (model.parent.name, model.name) in _names(hunt, settings)
    return {"id": short(settings) if own else f"{EARLIER}-{model.parent.name}", "settings": dict(settings), "trial": model.parent.name,
            "stage": model.name, "label": str(record["label"]).removesuffix(BY) + ("" if own else BY)}


def _names(hunt: Hunt, settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the trials and the stage in which this search itself would train a network of these settings."""
    trainings = [replace(hunt.training, effort=hunt.training.effort * part) for part in PARTS]
    return [(str(recipe_of(settings, RUNGS, hunt.origin, training)["name"]), f"rung-{RUNGS}") for training in trainings]


def _measured(hunt: Hunt, item: Mapping[str, Any]) -> dict[str, Any]:
    """Make and measure the forms of a network that is trained already."""
    model = (hunt.run.root / "trials" / item["trial"] / item["stage"]).resolve()
    reason = other_heads(hunt.origin.folder, model)
    if reason:
        return {"status": "dropped", "reason": reason}
    return {"status": "finished", "reason": "", "model": str(model), "forms": forms_of(hunt, item["trial"], model, hunt.chains)}
