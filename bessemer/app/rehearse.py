"""Rehearsal: run every stage of a recipe on a handful of rows, through the same functions as the real run, and tell what will happen."""

from __future__ import annotations

import resource
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.core import artifact
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.recipe import Recipe
from bessemer.core.run import Options, StageResult, Stop, execute, run_folder

SAMPLE_BYTES = 64_000_000
CHECKPOINT_COPIES = 2
FLOATS_A_PARAMETER = 4


@dataclass(frozen=True)
class StageForecast:
    """What one stage will need.

    Attributes:
        stage: its name.
        seconds: the real run's time.
        disk_bytes: what it leaves on disk.
        state_bytes: what it needs on disk for checkpoints while it works.
        problem: why it would fail, or None.
    """

    stage: str
    seconds: float = 0.0
    disk_bytes: int = 0
    state_bytes: int = 0
    problem: str | None = None


@dataclass(frozen=True)
class Forecast:
    """What a recipe will need.

    Attributes:
        stages: stage by stage, in order; those after a failed one that they need say so.
        memory_bytes: peak resident memory.
        free_disk_bytes: of the disk that the run's folder is on.
        free_memory_bytes: of this machine.
    """

    stages: tuple[StageForecast, ...]
    memory_bytes: int
    free_disk_bytes: int
    free_memory_bytes: int

    @property
    def seconds(self) -> float:
        """Return the whole run's time."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        """Return the most disk that the run needs at one time."""
        return sum(stage.disk_bytes for stage in self.stages) + max((stage.state_bytes for stage in self.stages), default=0)

    @property
    def problems(self) -> list[str]:
        """Return everything that would fail, a sentence each."""
        found = [f"{stage.stage}: {stage.problem}" for stage in self.stages if stage.problem]
        if self.disk_bytes > self.free_disk_bytes:
            found.append(f"disk: the run needs {self.disk_bytes / 1e6:,.0f} MB and {self.free_disk_bytes / 1e6:,.0f} MB are free; make "
                         "room, or choose another place with output_dir=FOLDER")
        if self.memory_bytes > self.free_memory_bytes:
            found.append(f"memory: the run needs {self.memory_bytes / 1e6:,.0f} MB and the machine has "
                         f"{self.free_memory_bytes / 1e6:,.0f} MB; lower per_device_train_batch_size or tokens_per_batch")
        return found


def rehearse(recipe: Recipe, events: Events, stop: Stop | None = None) -> Forecast:
    """Rehearse a recipe in a temporary folder; nothing is left in the run's own."""
    root = run_folder(recipe)
    base = _existing(root)
    with artifact.explained(root):
        probe = Path(tempfile.mkdtemp(prefix=".bessemer-plan-", dir=base))  # on the run's own disk: also checks that it can be written
    try:
        stages = _stages(recipe, _quiet(events), probe / recipe.name, stop)
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return Forecast(tuple(stages), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, shutil.disk_usage(base).free,
                    _available_memory())


def _quiet(events: Events) -> Events:
    """Return events without those that only matter to a run whose folder stays."""

    def tell(kind: str, data: dict[str, Any]) -> None:
        if kind not in ("stage_cached", "stage_end"):
            events.emit(kind, **data)

    return Events([tell])


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _stages(recipe: Recipe, events: Events, root: Path, stop: Stop | None) -> list[StageForecast]:
    found: dict[str, StageForecast] = {}
    for name in recipe.order():
        broken = [item for item in recipe.references(name).values() if item in found and found[item].problem]
        if broken:
            found[name] = StageForecast(name, problem=f"cannot be rehearsed before '{broken[0]}' is mended")
            continue
        try:
            result = execute(recipe, events, Options(until=name, root=root, rehearsal=SAMPLE_BYTES), stop)
        except UserError as error:
            found[name] = StageForecast(name, problem=str(error))
            continue
        found[name] = _forecast(name, result.stages[name])
    return list(found.values())


def _forecast(name: str, result: StageResult) -> StageForecast:
    facts: dict[str, Any] = result.manifest.facts
    part = float(facts.get("rehearsal_part", 1.0))
    measured = sum(cost.seconds for cost in result.costs)
    scaled = sum(cost.seconds * cost.total / cost.done for cost in result.costs if cost.done)
    seconds = (max(0.0, result.seconds - measured) + scaled) / part
    parameters = int(facts.get("trainable_parameters", 0))
    return StageForecast(name, seconds, int(artifact.folder_size(result.folder) / part),
                         parameters * 4 * FLOATS_A_PARAMETER * CHECKPOINT_COPIES)


def _available_memory() -> int:
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
