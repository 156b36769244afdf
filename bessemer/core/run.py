"""Run: bring a recipe's artifacts up to date, each from its inputs, computing only what changed."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from bessemer.core import artifact, registry
from bessemer.core.artifact import TIMINGS, Manifest
from bessemer.core.config import ReadTracker, keyed, walk
from bessemer.core.errors import GuardError, Interrupted, UserError
from bessemer.core.events import Events, Progress, log_to
from bessemer.core.recipe import Recipe, StageConfig
from bessemer.core.store import Lock, Store


@dataclass(frozen=True)
class Cost:
    """What a rehearsal measured of work that the real run has more of.

    Attributes:
        label: what was done.
        seconds: taken by the part that was done.
        done: units done.
        total: units that the real run does.
    """

    label: str
    seconds: float
    done: float
    total: float


class Stop:
    """Remembers that Ctrl-C or SIGTERM came, so that work ends at a safe point; a second one ends it at once."""

    def __init__(self) -> None:
        self.signal_number = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM while the block runs (in the main thread; elsewhere nothing is changed)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def handle(number: int, _frame: FrameType | None) -> None:
            if self.signal_number:
                raise KeyboardInterrupt
            self.signal_number = number

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted where a stop was asked for."""
        if self.signal_number:
            raise Interrupted("stopped as asked; what was done is kept", self.signal_number)


@dataclass
class RunContext:
    """What a stage may use of the run that it is part of.

    Attributes:
        name: the stage's name in the recipe.
        key: the cache identity of the artifact that it makes.
        seed: the recipe's seed.
        threads: for arithmetic, or None for the library's default.
        root: the run's folder.
        state: a folder that outlives a kill, for checkpoints; gone once the artifact is finished.
        events: where progress and notes go.
        rehearsal: None, or the bytes of each source that a rehearsal reads at most.
    """

    name: str
    key: str
    seed: int
    threads: int | None
    root: Path
    state: Path
    events: Events
    stop: Stop
    input_manifests: Mapping[str, Manifest]
    rehearsal: int | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    volatile: list[str] = field(default_factory=lambda: [TIMINGS])
    published: list[str] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """Return a temporary folder on the run's disk, emptied at every start of the stage."""
        folder = self.state.parent / "scratch"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def progress(self, label: str, total: int | None, unit: str) -> Progress:
        """Return a context manager that shows work advancing."""
        return self.events.progress(label, total, unit)

    def note(self, message: str) -> None:
        """Tell people one line."""
        self.events.emit("note", stage=self.name, message=message)

    def check(self) -> None:
        """Raise Interrupted at a safe point where a stop was asked for."""
        self.stop.check()

    def timing(self, name: str, value: Any) -> None:
        """Keep a measurement that a clock or host decides, in `timings.json`."""
        self.timings[name] = value

    def cost(self, cost: Cost) -> None:
        """Tell a rehearsal what the real run has more of."""
        self.costs.append(cost)

    def publish(self, name: str, *, volatile: bool = False) -> None:
        """Have a file of the artifact copied to the run's folder; `volatile` files show a clock's readings."""
        self.published.append(name)
        if volatile:
            self.volatile.append(name)

    def run(self, recipe: Recipe) -> dict[str, dict[str, Any]]:
        """Run a sub-recipe (a trial, a candidate, an arm) in `trials/<name>` of this run; return stage -> facts."""
        options = Options(root=self.root / "trials" / recipe.name, rehearsal=self.rehearsal)
        return {name: item.manifest.facts for name, item in execute(recipe, self.events, options, self.stop).stages.items()}


@dataclass(frozen=True)
class Options:
    """How a recipe is run.

    Attributes:
        until: the last stage to bring up to date (with what it needs), or None for all.
        root: the run's folder, in place of the recipe's.
        rehearsal: bytes of each source that a rehearsal reads at most; None is the real thing.
        tentative: a command added to the run's recipe what may fail: recipe.yaml is then put back, as a stage that cannot run would end
            every later run of it. One that was stopped stays in it, so that the same command, or the recipe, goes on where it stopped.
    """

    until: str | None = None
    root: Path | None = None
    rehearsal: int | None = None
    tentative: bool = False


@dataclass(frozen=True)
class StageResult:
    """One stage of a finished run."""

    folder: Path
    manifest: Manifest
    cached: bool
    seconds: float
    costs: tuple[Cost, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    root: Path
    recipe: Recipe
    stages: dict[str, StageResult]


def run_folder(recipe: Recipe) -> Path:
    """Return where a recipe's run lives."""
    return Path(recipe.output_dir) if recipe.output_dir else Path("runs") / recipe.name


def host() -> dict[str, Any]:
    """Return what a timing depends on: processor, cores, memory, system, Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text(errors="replace").splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory / 1e9, 1),
            "system": f"{platform.system()} {platform.release()}", "python": platform.python_version()}


def stage_key(name: str, recipe: Recipe, inputs: Mapping[str, str], store: Store) -> str:
    """Return a stage's cache identity: kind, configuration, input keys, seed, outside bytes, revisions of its plug-ins."""
    stage: StageConfig = recipe.stages[name]
    chosen = registry.plugin_of("stages", stage)
    revisions = {}
    for _, part in walk(stage):
        for folder in list(registry.loaded()):
            for item in registry.plugins(folder).values():
                if item.config is type(part):
                    revisions[f"{folder}/{item.name}"] = item.revision
    outside = [path for _, part in walk(stage) for path in getattr(part, "outside", tuple)()]
    return artifact.digest({
        "kind": chosen.name, "inputs": dict(inputs),
        "config": {name: value for name, value in keyed(stage).items() if name not in stage.needs},
        "seed": recipe.seed, "threads": recipe.threads, "revisions": revisions,
        "outside": artifact.fingerprint(outside, store.stamps)})


def _input(reference: str, done: Mapping[str, StageResult], store: Store) -> tuple[Path, Manifest]:
    if reference in done:
        return done[reference].folder, done[reference].manifest
    folder = Path(reference)
    manifest = artifact.load_manifest(folder)
    if manifest is None:
        raise UserError(f"'{reference}' is no finished artifact (it has no manifest.json); give a stage's name or the folder of a "
                        "finished stage, such as runs/NAME/finetune")
    artifact.verify(folder, manifest, store.stamps)
    return folder, manifest


def _wanted(recipe: Recipe, until: str | None) -> list[str]:
    order = recipe.order()
    if until is None:
        return order
    if until not in recipe.stages:
        raise UserError(f"--until {until}: the recipe has no such stage; it has {', '.join(recipe.stages)}")
    needed, queue = set(), [until]
    while queue:
        name = queue.pop()
        if name not in needed:
            needed.add(name)
            queue += [item for item in recipe.references(name).values() if item in recipe.stages]
    return [name for name in order if name in needed]


def execute(recipe: Recipe, events: Events, options: Options = Options(), stop: Stop | None = None) -> RunResult:  # noqa: B008
    """Bring the recipe's stages up to date, in order, and return every artifact."""
    root = options.root or run_folder(recipe)
    stop = stop or Stop()
    wanted = _wanted(recipe, options.until)
    with artifact.explained(root), stop.listening(), Lock(root):
        store = Store(root)
        text = yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True, width=110)
        target = root / "recipe.yaml"
        before = target.read_text(encoding="utf-8") if target.is_file() else None
        if before != text:
            artifact.write_atomic(target, text)
        heard = log_to(root / "events.jsonl")
        events.listeners.append(heard)
        back = before if options.tentative else None
        try:
            events.emit("run_start", name=recipe.name, folder=str(root), stages=wanted)
            done: dict[str, StageResult] = {}
            for name in wanted:
                stop.check()
                done[name] = _stage(name, recipe, done, store, _Means(events, stop, options))
            store.stamps.save()
            events.emit("run_end", name=recipe.name, folder=str(root),
                        seconds=round(sum(item.seconds for item in done.values()), 3))
            back = None
        except (Interrupted, KeyboardInterrupt):
            back = None
            raise
        finally:
            events.listeners.remove(heard)
            if back is not None:
                with suppress(OSError):  # what was wrong is what is told, be the disk full or not
                    artifact.write_atomic(target, back)
        return RunResult(root, recipe, done)


def stale(recipe: Recipe, until: str, root: Path) -> str | None:
    """Return the first stage that would be run again before `until` is, or None where all that it needs is up to date."""
    store, done = Store(root), dict[str, StageResult]()
    for name in _wanted(recipe, until):
        if name == until:
            break
        found = {slot: _input(item, done, store)[1].key for slot, item in recipe.references(name).items()}
        manifest = artifact.load_manifest(root / name)
        if manifest is None or manifest.key != stage_key(name, recipe, found, store):
            return name
        done[name] = StageResult(root / name, manifest, True, 0.0)
    return None


@dataclass(frozen=True)
class _Means:
    events: Events
    stop: Stop
    options: Options


def _stage(name: str, recipe: Recipe, done: Mapping[str, StageResult], store: Store, means: _Means) -> StageResult:
    config: StageConfig = recipe.stages[name]
    found = {slot: _input(item, done, store) for slot, item in recipe.references(name).items()}
    keys = {slot: manifest.key for slot, (_, manifest) in found.items()}
    key = stage_key(name, recipe, keys, store)
    store.stamps.save()  # a stage may ask for the SHA-256 of a file that was read for its key
    started = time.perf_counter()
    manifest = store.find(name, key)
    if manifest is not None:
        means.events.emit("stage_cached", stage=name, folder=str(store.root / name))
        return StageResult(store.root / name, manifest, True, time.perf_counter() - started)
    work = store.work(name, key)
    shutil.rmtree(work / "out", ignore_errors=True)
    shutil.rmtree(work / "scratch", ignore_errors=True)
    (work / "out").mkdir(parents=True)
    context = RunContext(name, key, recipe.seed, recipe.threads, store.root, work / "state", means.events, means.stop,
                         {slot: item for slot, (_, item) in found.items()}, means.options.rehearsal)
    chosen = registry.plugin_of("stages", config)
    means.events.emit("stage_start", stage=name, stage_kind=chosen.name)
    with ReadTracker() as tracker:
        try:
            facts = chosen.function(config, {slot: folder for slot, (folder, _) in found.items()}, work / "out", context)
        except BaseException:
            store.discard(work)
            raise
    ignored = [item for item in tracker.unread(config) if item.split(".")[0] not in config.needs]
    if ignored:
        store.discard(work)
        raise GuardError(f"stages.{name}: nothing reads the key '{ignored[0]}' with these settings, so it would have no effect; "
                         "remove it, or change the setting that it belongs to")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    timings = {"seconds": round(seconds, 3), "peak_memory_bytes": peak, "host": host(), **context.timings}
    (work / "out" / TIMINGS).write_text(json.dumps(timings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    manifest = store.commit(name, Manifest(
        kind=chosen.name, key=key, inputs=keys, files={}, volatile=tuple(context.volatile),
        published=tuple(context.published), facts=facts))
    means.events.emit("stage_end", stage=name, seconds=round(seconds, 3), folder=str(store.root / name), facts=facts)
    return StageResult(store.root / name, manifest, False, seconds, tuple(context.costs))
