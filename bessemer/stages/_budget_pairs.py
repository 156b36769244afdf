"""Pairs of forms in a search: a fast form answers, a slower one where the first is unsure. No training: answers are known already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.core.artifact import digest
from bessemer.core.pick import make
from bessemer.search.front import MB
from bessemer.stages._budget_deliver import candidates, copy_weights, place_of
from bessemer.stages._budget_measure import Place
from bessemer.stages._budget_try import Hunt, attempt, measured

CASCADE = "cascade"
TRIED = 3
FASTER = 0.5
SURE = 0.3


def pair_up(hunt: Hunt) -> None:
    """Try the most promising pairs of forms that were measured; each is a candidate like the others.

    A fast form that loses too much is set before one that meets the quality. How sure the first must be is the lowest probability at which
    the rows that stop there lose no more than the budget still allows. Only for one target that is a label.
    """
    search = hunt.config.search
    labels = [answer.kind == "label" for answer in hunt.yard.reference.values()]
    if search is None or not search.cascades or labels != [True] or CASCADE not in registry.plugins("predictors"):
        return
    for expected, cheap, dear, threshold in promising(hunt, candidates(hunt))[:TRIED]:
        about = {"label": f"pair: {cheap['name']}, where unsure {dear['name']}", "settings": {"family": CASCADE}}
        name = f"{CASCADE}-{digest([cheap['name'], dear['name']])[:10]}"
        attempt(hunt, name, about, lambda pair=(cheap, dear), sure=threshold, late=expected: {  # type: ignore[misc]
            "status": "finished", "reason": "", "model": pair[1]["model"], "expected_ms": round(late, 4),
            "forms": [_measured(hunt, pair, sure)]})


def promising(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> list[tuple[float, dict[str, Any], dict[str, Any], float]]:
    """Return (expected milliseconds of a row, fast, slow, threshold), the fastest first: pairs that beat the slow one alone."""
    from bessemer.measure.cascade import NEVER, calibrate_cascade

    target, truth = next(iter(hunt.yard.truths.items()))
    allowed = hunt.limits.accuracy_drop
    good = sorted((item for item in listed if item["drop"]["value"] <= allowed), key=lambda item: item["latency_ms"])[:TRIED]
    found = []
    for dear in good:
        for cheap in listed:
            both = (cheap["size_bytes"] + dear["size_bytes"]) / MB
            late = cheap["latency_ms"] > FASTER * dear["latency_ms"] or cheap["drop"]["value"] > SURE
            alone = any((Path(item["folder"]) / "heads.json").is_file() for item in (cheap, dear))
            if late or alone or (hunt.limits.size_mb is not None and both > hunt.limits.size_mb):
                continue
            first, second = (hunt.yard.answers(place_of(item))[target].values for item in (cheap, dear))
            threshold = calibrate_cascade(first, second, truth, max(0.0, allowed - dear["drop"]["value"]))
            if threshold >= NEVER:
                continue
            on = float((first.max(axis=1) < threshold).mean())
            expected = cheap["latency_ms"] + on * dear["latency_ms"]
            if expected < dear["latency_ms"]:
                found.append((expected, cheap, dear, threshold))
    return sorted(found, key=lambda item: item[0])


def _measured(hunt: Hunt, pair: tuple[dict[str, Any], dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Write the folder of a pair and measure it."""
    mark = digest([threshold, *(str(place_of(item)) for item in pair)])[:10]
    folder = (hunt.run.root / "trials" / f"{hunt.training.name}-{CASCADE}-{mark}").resolve()
    form = write_pair(folder, [place_of(item) for item in pair], threshold)
    found = measured(hunt, folder, form, [], None)
    return {**found, "how": f"from {threshold:.3f} on", "methods": [item["methods"] for item in pair]}


def write_pair(folder: Path, places: Sequence[Place], threshold: float) -> Any:
    """Write a folder in which the forms at two places are a cascade; return the cascade's form.

    Both read the same columns, so what prepares the inputs is the first one's.
    """
    from bessemer.core.forms import Form, read_forms, write_forms
    from bessemer.stages.compress import copy_files

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy_files(places[0].folder, folder)
    members = []
    for part, place in zip(("first", "second"), places, strict=True):
        form = place.shortened(next(item for item in read_forms(place.folder) if item.name == place.form))
        inside = folder / ".part"
        inside.mkdir()
        copy_weights(form, place.folder, inside)
        for file in sorted(inside.iterdir()):
            file.rename(folder / f"{part}_{file.name}")
        inside.rmdir()
        changed = form.predictor.model_copy(update={"file": f"{part}_{getattr(form.predictor, 'file', '')}"})
        members.append(Form(name=f"{part}-{form.name}", predictor=changed, files=tuple(f"{part}_{name}" for name in form.files),
                            lossy=form.lossy))
    names = [member.name for member in members]
    cascade = Form(name=CASCADE, predictor=make("predictors", {"kind": CASCADE, "forms": names, "thresholds": [threshold]}),
                   files=tuple(name for member in members for name in member.files), lossy=True)
    write_forms(folder, (cascade, *members))
    return cascade
