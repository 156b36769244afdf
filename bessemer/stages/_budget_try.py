"""One candidate of a search: measured untrained, trained rung by rung, its forms measured; what fails is a record and never the end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.artifact import MANIFEST, TIMINGS
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.recipe import make_recipe
from bessemer.core.run import Options, execute
from bessemer.search.front import SLACK, Limits, Point, dominates
from bessemer.search.journal import Journal
from bessemer.stages._budget_measure import Z95, Place
from bessemer.stages._budget_space import RANK, RUNGS, Origin, Settings, Training, forms_recipe, label, no_smaller, recipe_of, short

if TYPE_CHECKING:
    from bessemer.core.run import RunContext
    from bessemer.stages._budget_measure import Yard
    from bessemer.stages.compress import Compress

FULL_DISK = 50_000_000
LEAST_GAIN = 0.01
FORECAST = 1.2
REHEARSED = 1 << 20
PARTS, SHARE = (1.0, 0.5, 0.25), 0.6
ENDING, ENDING_PART = 25.0, 0.25
"""Seconds that are kept for the choice, and the part of the search's time that they are at most."""
EXTRA = 0.35
"""Part of the time left that training on, for int8 or for early exits, may take at most."""
SECOND = "second-"
"""With it begin the records of networks that were trained for a pair; under its own name such a network was dropped."""
ENDED, NO_TIME = "ended", "no time:"
"""Record of the moment in which no time was left for another network; what the reason of one that was not trained for time begins with."""
LEAST_SECONDS = 2.0  # a training that takes less was found finished, or says nothing of the pace


@dataclass
class Hunt:
    """A search under way.

    Attributes:
        config: of the stage.
        run: of the stage.
        origin: the trained network.
        training: what the candidates' recipes share.
        yard: what they are held against.
        journal: what was measured.
        limits: the budget.
        chains: the methods of compression that are tried on every network.
        length: the most tokens that a form reads, where fewer than the data's own were found to be enough.
    """

    config: Compress
    run: RunContext
    origin: Origin
    training: Training
    yard: Yard
    journal: Journal
    limits: Limits
    chains: list[list[Any]] = field(default_factory=list)
    length: int | None = None

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        assert self.config.search is not None
        return 60 * self.config.search.minutes - self.journal.seconds

    @property
    def ending(self) -> float:
        """Return the seconds that are kept for the choice."""
        assert self.config.search is not None
        return min(ENDING, ENDING_PART * 60 * self.config.search.minutes)

    def gains(self, family: str) -> list[float]:
        """Return how much the last rung won over the first, of those of a family that finished."""
        return [record["rungs"][0]["drop"]["value"] - record["rungs"][-1]["drop"]["value"] for record in self.journal.records.values()
                if record.get("rungs") and record["status"] == "finished" and record["settings"]["family"] == family]

    @property
    def rehearsal(self) -> bool:
        """Return whether this is a rehearsal, in which nothing is dropped for what it costs."""
        return self.run.rehearsal is not None

    def folder(self, recipe: dict[str, Any]) -> Path:
        """Return where a sub-recipe's artifacts lie."""
        return (self.run.root / "trials" / str(recipe["name"])).resolve()

    def execute(self, recipe: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Run a sub-recipe: stage -> facts."""
        return self.run.run(make_recipe(recipe, f"the search of stage {self.run.name}"))


def failures() -> tuple[type[BaseException], ...]:
    """Return what a bad candidate may raise: its own mistakes, a loss that is not finite, memory, a graph that the runtime refuses."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (UserError, RuntimeError, MemoryError, ValueError, state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented,
            state.RuntimeException)


def attempt(hunt: Hunt, name: str, about: dict[str, Any], work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a record from the journal, or do the work that makes it; what fails is recorded with its reason.

    A full disk is nobody's fault among the candidates: it ends the search, which goes on where it stopped.
    """
    if name in hunt.journal:
        return hunt.journal[name]
    started = time.monotonic()
    try:
        found = work()
    except failures() as error:
        if shutil.disk_usage(hunt.run.root).free < FULL_DISK:
            raise
        reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        found = {"status": "failed", "reason": reason}
    record = hunt.journal.add(name, {**about, "forms": [], **found, "seconds": round(time.monotonic() - started, 3)})
    if record["status"] != "finished":
        hunt.run.note(f"{about['label']}: {record['status']}: {record['reason']}")
    return record


def examine(hunt: Hunt, settings: Settings) -> dict[str, Any]:
    """Return the record of one smaller network: its forms with all that was measured, or why there are none."""
    about = {"label": label(settings), "settings": dict(settings)}
    return attempt(hunt, short(settings), about, lambda: _network(hunt, settings))


def train_for_pair(hunt: Hunt, settings: Settings) -> dict[str, Any]:
    """Return the record of a network that is over the budget's latency alone, and is trained all the same: the second of a pair."""
    about = {"label": label(settings), "settings": dict(settings)}
    costs = {name: value for name, value in cost_untrained(hunt, settings).items() if name in ("size_bytes", "latency_ms")}
    return attempt(hunt, f"{SECOND}{short(settings)}", about, lambda: _trained(hunt, settings, costs))


def cost_untrained(hunt: Hunt, settings: Settings) -> dict[str, Any]:
    """Return what an untrained network of these settings costs, from the journal where it was measured; empty where it cannot be made."""
    known = hunt.journal[short(settings)] if short(settings) in hunt.journal else {}
    if "size_bytes" in known or known.get("before"):
        return dict(known.get("before") or known)
    about = {"label": label(settings), "settings": None}
    return attempt(hunt, f"cost-{short(settings)}", about, lambda: {"status": "finished", **_before(hunt, settings)})


def _network(hunt: Hunt, settings: Settings) -> dict[str, Any]:
    least = next((record for record in hunt.journal.records.values() if record.get("over") and "size_bytes" in record
                  and record.get("settings") and no_smaller(settings, record["settings"])), None)
    if least is not None:  # to make one and to measure it takes a dozen seconds
        return {"status": "dropped", "reason": f"it is in nothing smaller than one that is over the budget untrained: {least['label']}"}
    before = {} if hunt.rehearsal else _before(hunt, settings)
    if before.get("reason"):
        return {"status": "dropped", **before}
    return _trained(hunt, settings, before)


def _trained(hunt: Hunt, settings: Settings, before: dict[str, Any]) -> dict[str, Any]:
    """Train a network rung by rung and measure its forms."""
    rungs: list[dict[str, Any]] = []
    hunt, forecast = _affordable(hunt, settings)
    for rung in range(1, RUNGS + 1):
        reason = _no_time(hunt, settings, rungs, forecast)
        if reason:
            return {"status": "dropped", "reason": reason, "rungs": rungs, "before": before}
        recipe = recipe_of(settings, rung, hunt.origin, hunt.training)
        started = time.monotonic()
        hunt.execute(recipe)
        model = hunt.folder(recipe) / f"rung-{rung}"
        reason = other_heads(hunt.origin.folder, model)
        if reason:
            return {"status": "dropped", "reason": reason, "rungs": rungs, "before": before}
        score = hunt.yard.quality(hunt.yard.answers(Place(model, None, hunt.length)))
        rungs.append({**score, "seconds": round(time.monotonic() - started, 3), "rows": _rows(hunt, settings, rung),
                      "training_seconds": json.loads((model / TIMINGS).read_text(encoding="utf-8"))["seconds"]})
        reason = "" if rung == RUNGS or hunt.rehearsal else _hopeless(hunt, settings, rungs[-1], before)
        if reason:
            return {"status": "dropped", "reason": reason, "rungs": rungs, "before": before}
    forms = forms_of(hunt, str(recipe["name"]), model, hunt.chains)
    return {"status": "finished", "reason": "", "rungs": rungs, "before": before, "model": str(model), "forms": forms}


def other_heads(teacher: Path, student: Path) -> str:
    """Return why a network answers something else than the one it is to replace; empty where their heads say the same."""
    said = [_heads(folder) for folder in (teacher, student)]
    plain = [len(heads) < 2 and all(link == "softmax" for _, link, _, _ in heads) for heads in said]
    if said[0] == said[1] or (all(plain) and not all(said)):  # a text's classifier of one label needs no file of heads
        return ""
    wanted, found = ("; ".join(f"{target}: {link}, {width} outputs" + (f", quantiles {quantiles}" if quantiles else "")
                               for target, link, width, quantiles in heads) or "no heads of its own" for heads in said)
    return f"it answers something else ({found}) than the trained network ({wanted})"


def _heads(folder: Path) -> list[tuple[Any, ...]]:
    """Return what the heads of a folder say: target, link, width and quantiles of each."""
    file = folder / "heads.json"
    heads = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return [(head["target"], head["link"], head["width"], head["quantiles"]) for head in heads]


def _before(hunt: Hunt, settings: Settings) -> dict[str, Any]:
    """Measure an untrained network of these settings: `size_bytes` and `latency_ms` of its best form, and `reason` if they are too much."""
    from bessemer.core.forms import read_forms, write_forms
    from bessemer.stages._budget_untrained import untrained

    folder = hunt.run.scratch / "untrained"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    forms = untrained(hunt, settings, folder)
    write_forms(folder, tuple(forms))
    memory = hunt.limits.memory_mb is not None
    found = [hunt.yard.costs(Place(folder, form.name, hunt.length), memory=memory) for form in read_forms(folder)]
    over = [hunt.limits.costly(item["size_bytes"], item["latency_ms"], item.get("memory_bytes"), SLACK) for item in found]
    best = min(range(len(found)), key=lambda index: (sum(over[index].values()), found[index]["latency_ms"]))
    kept = {"size_bytes": found[best]["size_bytes"], "latency_ms": found[best]["latency_ms"]}
    if over[best]:
        return {**kept, "over": sorted(over[best]), "reason": f"untrained, it is over the budget already: {_said(kept, hunt.limits)}"}
    rivals = [item for record in hunt.journal.records.values() if record.get("status") == "finished" for item in record["forms"]
              if item["drop"]["value"] <= 0 and not hunt.limits.over(point_of(item))]
    if any(all(dominates((rival["size_bytes"], rival["latency_ms"]), (item["size_bytes"], item["latency_ms"])) for item in found)
           for rival in rivals):
        return {**kept, "reason": "a finished candidate that loses nothing is smaller and faster than it can be"}
    if settings.get(RANK) is not None and no_faster(hunt.limits, cost_untrained(hunt, {**settings, RANK: None}), kept):
        return {**kept, "reason": "low rank makes it no faster, and without it the network is within the budget's size and latency"}
    return {**kept, "reason": ""}


def no_faster(limits: Limits, whole: Mapping[str, Any], kept: Mapping[str, Any]) -> bool:
    """Tell whether a low-rank network has nothing over the whole one where latency counts: that one is fast and small enough already."""
    if limits.latency_ms is None or "size_bytes" not in whole:
        return False
    return not limits.costly(whole["size_bytes"], whole["latency_ms"]) and bool(whole["latency_ms"] <= kept["latency_ms"])


def _said(kept: dict[str, Any], limits: Limits) -> str:
    from bessemer.search.front import beyond

    return beyond(Point("", 0.0, kept["size_bytes"], kept["latency_ms"]), limits)


def _rows(hunt: Hunt, settings: Settings, rung: int) -> float:
    """Return how many rows a rung's training passes over."""
    recipe = recipe_of(settings, rung, hunt.origin, hunt.training)
    counts = hunt.run.input_manifests["data"].facts.get("rows", {})
    return float(recipe["stages"][f"rung-{rung}"]["num_train_epochs"]) / hunt.training.passes * float(counts.get("train", 1))


def _no_time(hunt: Hunt, settings: Settings, rungs: Sequence[dict[str, Any]], forecast: float) -> str:
    """Return why the next rung is not started: its forecast does not fit into the time that is left; nothing where it may start.

    Args:
        hunt: with the passes that this candidate gets.
        settings: of the candidate.
        rungs: what was trained.
        forecast: seconds of the first rung.
    """
    rung = len(rungs) + 1
    done = hunt.folder(recipe_of(settings, rung, hunt.origin, hunt.training)) / f"rung-{rung}" / MANIFEST
    if hunt.rehearsal or done.is_file():  # trained before a kill, or by another search
        return ""
    rows = [_rows(hunt, settings, number) for number in range(1, RUNGS + 1)]
    if rungs and rungs[-1]["seconds"] > LEAST_SECONDS:  # what was cut and scored beside the training is not done again
        seconds = rungs[-1]["training_seconds"] * rows[rung - 1] / rows[rung - 2]
    else:
        seconds = forecast * (sum(rows) if rung == 1 else rows[rung - 1]) / rows[0]
    if FORECAST * seconds <= hunt.left:
        return ""
    return f"{NO_TIME} its training is forecast to take {seconds:.0f} s more, {max(0.0, hunt.left):.0f} s are left"


def _affordable(hunt: Hunt, settings: Settings) -> tuple[Hunt, float]:
    """Return the search with the passes that this candidate gets, and the forecast of its first rung in seconds.

    It gets fewer passes where all of them would take more than its share of the time.

    A candidate that learns for half as long says more than one that is not tried at all. The parts are few and fixed, so that a search
    that goes on after a kill finds the same training again.
    """
    if hunt.rehearsal:
        return hunt, 0.0
    for part in PARTS:
        training = replace(hunt.training, effort=hunt.training.effort * part)
        recipe = recipe_of(settings, RUNGS, hunt.origin, training)
        if (hunt.folder(recipe) / "rung-1" / MANIFEST).is_file():  # begun before a kill, or by another search
            begun = replace(hunt, training=training)
            return begun, 0.0 if (hunt.folder(recipe) / f"rung-{RUNGS}" / MANIFEST).is_file() else _rehearsed(begun, settings)
    rows = [_rows(hunt, settings, number) for number in range(1, RUNGS + 1)]
    first = _rehearsed(hunt, settings)
    whole = FORECAST * first * sum(rows) / rows[0]
    part = next((one for one in PARTS if one * whole <= SHARE * hunt.left), PARTS[-1])
    if part < 1:
        hunt.run.note(f"{label(settings)}: whole training is forecast to take {whole:.0f} s; it gets {part:.0%} of the passes")
    return replace(hunt, training=replace(hunt.training, effort=hunt.training.effort * part)), first * part


def _rehearsed(hunt: Hunt, settings: Settings) -> float:
    """Return the seconds that the first rung will take."""
    first = recipe_of(settings, 1, hunt.origin, hunt.training)
    stage = dict(first["stages"]["rung-1"])
    if "init" in stage:
        stage["init"] = str(hunt.folder(recipe_of(settings, 0, hunt.origin, hunt.training)) / stage["init"])
    return forecast(hunt, {**first, "stages": {"rung-1": stage}})


def forecast(hunt: Hunt, recipe: dict[str, Any]) -> float:
    """Return the seconds that a recipe's one stage will take, from a few of its steps on batches of the real shape and one validation."""
    folder = hunt.run.scratch / "forecast"
    shutil.rmtree(folder, ignore_errors=True)
    made = make_recipe(recipe, f"the search of stage {hunt.run.name}")
    (done,) = execute(made, Events(), Options(root=folder, rehearsal=REHEARSED), hunt.run.stop).stages.values()
    return sum(cost.seconds * cost.total / cost.done for cost in done.costs if cost.done)


def no_time_for(hunt: Hunt, recipe: dict[str, Any], what: str) -> str:
    """Return why the one stage of a recipe is not run: it would take more than its part of the time; nothing where it may run."""
    (stage,) = recipe["stages"]
    if (hunt.folder(recipe) / stage / MANIFEST).is_file():  # trained before a kill
        return ""
    seconds, part = forecast(hunt, recipe), EXTRA * max(0.0, hunt.left - hunt.ending)
    return "" if FORECAST * seconds <= part else f"{NO_TIME} {what} is forecast to take {seconds:.0f} s, and {part:.0f} s are for it"


def _hopeless(hunt: Hunt, settings: Settings, rung: dict[str, Any], before: dict[str, Any]) -> str:
    """Return why a network is not trained on after its first rung; nothing where it may yet reach the budget's quality."""
    drop = rung["drop"]["value"]
    gains = hunt.gains(str(settings["family"]))
    if gains and drop - 1.5 * max(*gains, LEAST_GAIN) > hunt.limits.accuracy_drop:
        return (f"after its first rung it loses {drop:.4f}, and further training won at most {max(gains):.4f} for others of its family: it "
                f"will not come down to {hunt.limits.accuracy_drop:g}")
    own = (drop, before["size_bytes"], before["latency_ms"])
    for record in hunt.journal.records.values():
        if record.get("rungs") and record.get("before") and record.get("settings", {}).get("family") == settings["family"]:
            other = (record["rungs"][0]["drop"]["value"], record["before"]["size_bytes"], record["before"]["latency_ms"])
            if dominates(other, own) and other[0] < rung["drop"]["low"]:
                return f"after the first rung {record['label']} was clearly better, and it is neither larger nor slower"
    return ""


def forms_of(hunt: Hunt, name: str, model: Path, chains: Sequence[list[Any]]) -> list[dict[str, Any]]:
    """Make and measure the forms of a network's folder: one for each chain of methods that works on it, then the float graph."""
    try:
        made = _made(hunt, name, model, chains)
    except failures():
        if not chains:
            raise
        made = _made(hunt, name, model, [])  # what fails without any method is the network's fault
        for chain in chains:
            try:
                made = [*_made(hunt, name, model, [chain])[:-1], *made]
            except failures() as error:
                hunt.run.note(f"{described(chain)} does not work on {name}: {str(error).splitlines()[0][:200]}")
    return [measured(hunt, folder, form, chain, hunt.length) for folder, form, chain in made]


def _made(hunt: Hunt, name: str, model: Path, chains: Sequence[list[Any]]) -> list[tuple[Path, Any, list[Any]]]:
    """Return folder, form and chain of each form that one compress stage makes; the float graph's chain is empty."""
    from bessemer.core.forms import read_forms
    from bessemer.core.pick import make
    from bessemer.stages._compressing import chain_names

    recipe = forms_recipe(name, model, chains, hunt.origin, hunt.training)
    (stage,) = recipe["stages"]
    methods = hunt.execute(recipe)[stage]["methods"]
    folder, names = hunt.folder(recipe) / stage, chain_names([[make("compress", method) for method in chain] for chain in chains])
    kept = [chain for name, chain in zip(names, chains, strict=True) if not methods[name].get("left_out")]
    return [(folder, form, chain) for form, chain in zip(read_forms(folder), [*kept, []], strict=True)]


def measured(hunt: Hunt, folder: Path, form: Any, chain: list[Any], length: int | None) -> dict[str, Any]:
    """Return all that is measured of one form: quality, drop, bytes, milliseconds, memory where it is limited."""
    place = Place(folder, form.name, length)
    score = hunt.yard.quality(hunt.yard.answers(place))
    costs = hunt.yard.costs(place, whole=True, memory=hunt.limits.memory_mb is not None)
    return {"form": form.name, "folder": str(folder), "methods": chain, "length": length, "lossy": form.lossy or length is not None,
            "how": described(chain) + (f", {length} tokens" if length else ""), **score, **costs}


def described(chain: Sequence[Any]) -> str:
    """Return a chain of methods as a person reads it.

    >>> described([{"kind": "weight_only", "bits": 4}]), described([])
    ('weight_only bits 4', 'float32')
    """
    each = [" ".join([str(method["kind"]), *(f"{name} {value}" for name, value in method.items() if name != "kind")]) for method in chain]
    return " + ".join(each) or "float32"


def point_of(item: dict[str, Any], name: str = "") -> Point:
    """Return a form's record as a point of the front."""
    drop = item["drop"]
    error = ((drop["high"] or 0.0) - (drop["low"] or 0.0)) / (2 * Z95)
    return Point(name, drop["value"], item["size_bytes"], item["latency_ms"], item.get("memory_bytes"), error)
