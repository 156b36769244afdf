"""Pairs of forms in a search: a fast form answers, a slower one where the first is unsure.

Pairs of what was measured need no training: answers are known already. Where a budget is too fast for all but the fastest networks, one
that is too slow alone is trained for the rows that those are unsure of.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bessemer.core import registry
from bessemer.core.artifact import digest
from bessemer.core.pick import make
from bessemer.search.front import MB
from bessemer.stages._budget_deliver import candidates, place_of
from bessemer.stages._budget_measure import Place
from bessemer.stages._budget_space import Settings, label, ladder
from bessemer.stages._budget_try import Hunt, attempt, cost_untrained, measured, point_of, train_for_pair

CASCADE = "cascade"
TRIED = 3
FASTER = 0.5
SURE = 0.3
SPENT = 0.9
"""Part of the budget's latency that a pair is made to take in the mean, so that what is measured again is still within it."""
NEARLY = 0.005
"""A slow form may lose so much more than the budget: the pair is then the nearest to it."""


Pair = tuple[float, dict[str, Any], dict[str, Any], float]
"""Expected milliseconds of a row, fast form, slow form, and how sure the first must be."""
Measure = Callable[[Hunt, tuple[dict[str, Any], dict[str, Any]], float], dict[str, Any]]
"""(search, fast and slow form, how sure) -> what is measured of the pair."""


def pair_up(hunt: Hunt) -> None:
    """Try the most promising pairs of forms that were measured; each is a candidate like the others.

    A fast form that loses too much is set before one that meets the quality. How sure the first must be is the lowest probability at which
    the rows that stop there lose no more than the budget still allows, or a higher one, as `spent` says. Only for one target that is a
    label.
    """
    if not pairable(hunt):
        return
    whole = [item for item in candidates(hunt) if not item.get("exits")]  # one network with exits is a pair of its own
    for pair in promising(hunt, whole)[:TRIED]:
        _, cheap, dear, _ = pair
        about = {"label": f"pair: {cheap['name']}, where unsure {dear['name']}", "settings": {"family": CASCADE}}
        name = f"{CASCADE}-{digest([cheap['name'], dear['name']])[:10]}"
        attempt(hunt, name, about, lambda one=pair: tried(hunt, one, _measured))  # type: ignore[misc]


def tried(hunt: Hunt, pair: Pair, measure: Measure) -> dict[str, Any]:
    """Measure a pair that spends the budget's latency; where that takes longer than the budget, also one that sends fewer rows on.

    The rows that go on may be longer than others, and find the second form's weights in no cache: what one of them takes is known once the
    pair is measured.

    Args:
        hunt: the search.
        pair: as `promising` found it.
        measure: what measures two forms with a threshold between them.
    """
    expected, cheap, dear, sure = spent(hunt, pair)
    forms = [measure(hunt, (cheap, dear), sure)]
    limit, on = hunt.limits.latency_ms, _share(hunt, cheap, sure)
    if limit is not None and forms[0]["latency_ms"] > limit and on > 0:
        slower = {**dear, "latency_ms": max(dear["latency_ms"], (forms[0]["latency_ms"] - cheap["latency_ms"]) / on)}
        less = spent(hunt, (pair[0], cheap, slower, pair[3]))[3]
        if less < sure:
            forms.insert(0, measure(hunt, (cheap, dear), less))
    return {"status": "finished", "reason": "", "model": dear["model"], "expected_ms": round(expected, 4), "forms": forms}


def _share(hunt: Hunt, cheap: dict[str, Any], sure: float) -> float:
    """Return the share of the validation rows that a fast form is less sure of."""
    first = hunt.yard.answers(place_of(cheap))[next(iter(hunt.yard.truths))].values
    return float((first.max(axis=1) < sure).mean())


def pairable(hunt: Hunt) -> bool:
    """Tell whether the recipe asks for pairs and the answers allow them: one target that is a label."""
    search = hunt.config.search
    labels = [answer.kind == "label" for answer in hunt.yard.reference.values()]
    return search is not None and search.cascades and labels == [True] and CASCADE in registry.plugins("predictors")


def train_seconds(hunt: Hunt, space: Mapping[str, Mapping[str, Any]]) -> None:
    """Train one network that is too slow for the budget alone, for the rows that the fast ones are unsure of.

    Only where no candidate meets the budget yet and some form is fast enough. How slow the second may be follows from the share of rows
    that would go on to it, judged with the trained network in its place. Of the networks within that the slowest of the first family that
    has one is trained: the slower ones lose less, and the families come with the most faithful first.
    """
    listed = [item for item in candidates(hunt) if not item.get("exits")]
    if not pairable(hunt) or hunt.limits.latency_ms is None or any(not hunt.limits.over(point_of(item)) for item in listed):
        return
    room = max((_room(hunt, item) for item in listed), default=0.0)
    for family in space if room else ():
        rungs = [settings for settings in ladder(space) if settings["family"] == family]
        found = [(costs["latency_ms"], settings) for settings, costs in _untrained(hunt, rungs) if costs["latency_ms"] <= room]
        if found:
            settings = max(found, key=lambda item: item[0])[1]
            hunt.run.note(f"{label(settings)}: too slow for the budget alone; it is trained for the rows that a faster one is unsure of")
            train_for_pair(hunt, settings)
            return


def _room(hunt: Hunt, cheap: dict[str, Any]) -> float:
    """Return the milliseconds that a second form may take so that a row takes no longer than the budget's, in the mean."""
    from bessemer.measure.cascade import NEVER, calibrate_cascade

    limit, (target, truth) = hunt.limits.latency_ms or 0.0, next(iter(hunt.yard.truths.items()))
    if cheap["latency_ms"] >= limit:
        return 0.0
    first = hunt.yard.answers(place_of(cheap))[target].values
    threshold = calibrate_cascade(first, hunt.yard.reference[target].values, truth, hunt.limits.accuracy_drop)
    on = float((first.max(axis=1) < threshold).mean())
    room: float = (limit - cheap["latency_ms"]) / max(on, 1e-3)
    return 0.0 if threshold >= NEVER else room


def _untrained(hunt: Hunt, settings: Sequence[Settings]) -> Iterable[tuple[Settings, dict[str, Any]]]:
    """Yield the settings whose untrained networks are over the budget's latency and over nothing else, with what they cost."""
    for item in settings:
        costs = cost_untrained(hunt, item)
        if costs.get("over") == ["latency_ms"]:
            yield item, costs


def promising(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> list[Pair]:
    """Return the pairs that beat the slow one alone.

    First the fastest pair of each slow form, those within the budget's latency before the others.
    """
    found = [pair for dear in _good(hunt, listed) for pair in _with(hunt, dear, listed)]
    limit = hunt.limits.latency_ms
    found.sort(key=lambda item: item[0])
    firsts = {str(place_of(dear)): index for index, (_, _, dear, _) in reversed(list(enumerate(found)))}.values()
    order = sorted((limit is not None and pair[0] > limit, index not in firsts, index) for index, pair in enumerate(found))
    return [found[index] for *_, index in order]


def _good(hunt: Hunt, listed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the fastest forms that meet the quality, or nearly do, and leave room for another form within the budget's size."""
    least = min((item["size_bytes"] for item in listed), default=0)
    fitting = [item for item in listed if hunt.limits.size_mb is None or (least + _added(item)) / MB <= hunt.limits.size_mb]
    allowed = hunt.limits.accuracy_drop
    meeting = sorted((item for item in fitting if item["drop"]["value"] <= allowed), key=lambda item: item["latency_ms"])[:TRIED]
    near = sorted((item for item in fitting if allowed < item["drop"]["value"] <= allowed + NEARLY), key=lambda item: item["latency_ms"])
    return meeting + near[:TRIED - len(meeting) if meeting else TRIED]


def _added(dear: dict[str, Any]) -> int:
    """Return the bytes that a second form adds to a pair: its weights, as the tokenizer or the columns are the first one's."""
    found: int = dear.get("weights_bytes", dear["size_bytes"])  # what was measured before version 0.5 does not say
    return found


def _with(hunt: Hunt, dear: dict[str, Any], listed: Sequence[dict[str, Any]]) -> list[Pair]:
    """Return the pairs of one slow form with each form that is fast enough beside it."""
    from bessemer.measure.cascade import NEVER, calibrate_cascade

    target, truth = next(iter(hunt.yard.truths.items()))
    found = []
    for cheap in listed:
        both = (cheap["size_bytes"] + _added(dear)) / MB
        late = cheap["latency_ms"] > FASTER * dear["latency_ms"] or cheap["drop"]["value"] > SURE
        alone = any((Path(item["folder"]) / "heads.json").is_file() for item in (cheap, dear))
        if late or alone or (hunt.limits.size_mb is not None and both > hunt.limits.size_mb):
            continue
        first, second = (hunt.yard.answers(place_of(item))[target].values for item in (cheap, dear))
        threshold = calibrate_cascade(first, second, truth, max(0.0, hunt.limits.accuracy_drop - dear["drop"]["value"]))
        expected = cheap["latency_ms"] + float((first.max(axis=1) < threshold).mean()) * dear["latency_ms"]
        if threshold < NEVER and expected < dear["latency_ms"]:
            found.append((expected, cheap, dear, threshold))
    return found


def spent(hunt: Hunt, pair: Pair) -> Pair:
    """Return the pair with as many rows sent on as the budget's latency allows: what is left of it buys quality.

    The lowest threshold that loses little on the validation rows owes some of that to chance: a pair that kept to it took three
    quarters of the time it had, and lost three times as much on test rows as on those. It is never lowered.
    """
    import numpy as np

    expected, cheap, dear, threshold = pair
    limit = hunt.limits.latency_ms
    if limit is None:
        return pair
    first = hunt.yard.answers(place_of(cheap))[next(iter(hunt.yard.truths))].values
    sure = np.sort(first.max(axis=1))
    share = (SPENT * min(limit, dear["latency_ms"]) - cheap["latency_ms"]) / dear["latency_ms"]
    raised = max(threshold, float(sure[int(share * len(sure))])) if share > 0 else threshold
    return max(expected, cheap["latency_ms"] + _share(hunt, cheap, raised) * dear["latency_ms"]), cheap, dear, raised


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
    from bessemer.stages.compress import copy_files, copy_weights

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
        own = {"file": f"{part}_{form.predictor.file}"} if hasattr(form.predictor, "file") else {"prefix": f"{part}_"}
        changed = form.predictor.model_copy(update=own)
        members.append(Form(name=f"{part}-{form.name}", predictor=changed, files=tuple(f"{part}_{name}" for name in form.files),
                            lossy=form.lossy))
    names = [member.name for member in members]
    cascade = Form(name=CASCADE, predictor=make("predictors", {"kind": CASCADE, "forms": names, "thresholds": [threshold]}),
                   files=tuple(name for member in members for name in member.files), lossy=True)
    write_forms(folder, (cascade, *members))
    return cascade
