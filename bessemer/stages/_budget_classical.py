"""The classical model in a search: TF-IDF and a linear model, fitted to the labels alone in a few seconds.

Of texts that words decide it may be all that is needed, so it is a candidate like the networks, or the first of a pair. Where its answers
and the trained network's, averaged, are right more often than the network's on the validation rows, both teach the smaller networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.stages._budget_measure import BASE, RESAMPLES, Z95, Place
from bessemer.stages._budget_space import CLASSICAL
from bessemer.stages._budget_try import NO_TIME, Hunt, attempt, measured
from bessemer.stages._update_kept import HELD_OUT

ANALYZERS = {"both": "TF-IDF and a linear model", "word": "TF-IDF of words and a linear model"}
"""What its terms are -> what it is called: words alone lose a little where characters help, and are found in a third of the time."""
PACE, PACE_CLASS = 8e-6, 5e-7
"""Seconds of a token, and more of a token for each class, about, that fitting takes on one core."""
PART = 0.15
"""Part of the time that it may take; where it would take more, it is left out."""
COMMON = 200.0
"""Tokens of a text, about, where prepare did not count them."""


def try_classical(hunt: Hunt) -> Path | None:
    """Fit and measure it where it can answer what the network answers; return its folder, where it is worth learning from too.

    Where the search does not name it among its `students` it is no candidate, but may still teach.
    """
    search = hunt.config.search
    if search is None or not suits(hunt):
        return None
    listed = search.students is None or CLASSICAL in search.students
    if not listed and not search.distil:
        return None
    found = []
    for analyzer, name in ANALYZERS.items():
        if listed or analyzer == "both":
            about = {"label": name, "settings": {"family": CLASSICAL, "analyzer": analyzer} if listed else None}
            found.append(attempt(hunt, f"{CLASSICAL}-{analyzer}", about, lambda one=analyzer: _fitted(hunt, one, listed)))  # type: ignore[misc]
    return Path(found[0]["folder"]) if search.distil and found[0].get("teaches") else None


def suits(hunt: Hunt) -> bool:
    """Tell whether it can answer what the network answers: of one text, one target of labels, several labels a row, or a plain number.

    Never for an update: of its new rows the data hold no labels.
    """
    from bessemer.core.schema import Role, Schema

    found = list(hunt.yard.reference.values())
    updated = (hunt.origin.folder / HELD_OUT).is_dir()
    if updated or hunt.rehearsal or hunt.origin.table or CLASSICAL not in registry.plugins("models") or len(found) != 1:
        return False
    inputs = Schema.load(hunt.origin.data).by_role(Role.INPUT)
    plain = found[0].kind in ("label", "flags") or (found[0].kind == "number" and found[0].values.shape[1] == 1)
    return plain and [column.modality["kind"] for column in inputs] == ["text"]


def seconds(hunt: Hunt) -> float:
    """Return about how long fitting takes."""
    facts = hunt.run.input_manifests["data"].facts
    counts, columns = facts.get("rows"), facts.get("columns", {})
    rows = float(counts.get("train", 0)) if isinstance(counts, dict) else 0.0
    tokens = next((float(item["lengths"]["mean"]) for item in columns.values() if isinstance(item, dict) and "lengths" in item), COMMON)
    (answer,) = hunt.yard.reference.values()
    return rows * tokens * (PACE + PACE_CLASS * len(answer.labels))


def _fitted(hunt: Hunt, analyzer: str, listed: bool) -> dict[str, Any]:
    """Fit it, measure it where it is a candidate, and say whether it and the network together are better than the network."""
    from bessemer.core.forms import read_forms

    search, late = hunt.config.search, seconds(hunt)
    assert search is not None
    if late > PART * 60 * search.minutes:
        return {"status": "dropped", "reason": f"{NO_TIME} fitting it is forecast to take {late:.0f} s, more than {PART:.0%} of the "
                f"{search.lasts}"}
    training = hunt.training
    model = {"kind": CLASSICAL, "analyzers": [analyzer], "losses": ["squared_hinge"], "c": [4.0, 16.0]}
    recipe = {"name": f"{training.name}-{CLASSICAL}-{analyzer}", "seed": training.seed, "threads": training.threads, "stages": {
        "fit": {"kind": "finetune", "data": str(hunt.origin.data), "model": model}}}
    hunt.execute(recipe)
    folder = hunt.folder(recipe) / "fit"
    (form,) = read_forms(folder)
    forms = [measured(hunt, folder, form, [], None)] if listed else []
    return {"status": "finished", "reason": "", "model": str(folder), "folder": str(folder), "forms": forms,
            "teaches": better_together(hunt, Place(folder, form.name))}


def better_together(hunt: Hunt, place: Place) -> bool:
    """Tell whether the mean of both answers scores higher on the validation rows than the network, by more than one standard error."""
    from bessemer.evaluate.paired import paired
    from bessemer.predictors.blend_form import mixed

    ((target, own),) = hunt.yard.reference.items()
    both = mixed([own, hunt.yard.answers(place)[target]], (0.5, 0.5))
    found = paired(hunt.yard.truths[target], both, own, hunt.run.seed, RESAMPLES)[BASE[own.kind]]
    if found["difference"] is None:
        return False
    return bool(found["difference"] > ((found["high"] or 0.0) - (found["low"] or 0.0)) / (2 * Z95))
