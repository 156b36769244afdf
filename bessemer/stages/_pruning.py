"""What pruning shares, whatever the network: rows to measure by, the choice of what stays, rounds with training between them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bessemer.core.errors import UserError
from bessemer.core.run import Cost, RunContext
from bessemer.core.task_spec import TableSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.core.types import Batch, Task
    from bessemer.nn.importance import Site
    from bessemer.stages._learning import Spec
    from bessemer.stages.prune import Prune

REHEARSED_ROWS = 48
BATCH_ROWS = 32


@dataclass(frozen=True)
class Work:
    """What pruning a network needs.

    Attributes:
        config: of the stage.
        data: folder of the prepared data.
        spec: the training split.
        task: over it.
        sample: over the rows that importance is measured on.
        validation: rows on which quality is shown.
        checked: the task over them.
        run: the context.
    """

    config: Prune
    data: Path
    spec: Spec
    task: Task
    sample: Task
    validation: Spec
    checked: Task
    run: RunContext


class Shrinking(Protocol):
    """A network on its way to its goal."""

    network: Any

    def shrink(self) -> list[dict[str, Any]]:
        """Shrink it to the goal; return the share of importance that stayed, round by round."""

    def shape(self) -> dict[str, Any]:
        """Return the widths that it has, JSON values."""


def opened(config: Prune, inputs: Mapping[str, Path], run: RunContext) -> Work:
    """Open the data and the task, and choose the rows."""
    import numpy as np

    from bessemer.stages import _learning as learning
    from bessemer.stages._tasks import task_for

    spec = learning.open_split(inputs["data"], "train", run.seed)
    rows = min(config.rows, REHEARSED_ROWS) if run.rehearsal else config.rows
    few = spec
    if spec.count > rows and not (isinstance(spec, TableSpec) and spec.order is not None):
        few = learning.part_of(spec, np.unique(np.linspace(0, spec.count - 1, rows).astype(np.int64)))
    validation = learning.open_split(inputs["data"], "validation", run.seed)
    if validation.count > rows:
        validation = learning.part_of(validation, np.unique(np.linspace(0, validation.count - 1, rows).astype(np.int64)))
    task = task_for(config.task, inputs["model"], spec)
    sample = learning.make_task(task, few if few is spec else learning.fitted_on(few, spec))
    return Work(config, inputs["data"], spec, learning.make_task(task, spec), sample, validation,
                learning.make_task(task, learning.fitted_on(validation, spec)), run)


def batches(work: Work) -> Iterator[Batch]:
    """Yield the batches that importance is measured on, and tell a rehearsal what they cost."""
    from bessemer.engine.sampler import BatchShape, in_order

    config, run, task = work.config, work.run, work.sample
    if isinstance(work.spec, TableSpec) and work.spec.order is not None:  # a stream: its first rows in its own order
        order = work.spec.order(0, BATCH_ROWS)
        found = [order[index] for index in range(min(len(order), -(-config.rows // BATCH_ROWS)))]
    else:
        found = in_order(task.costs, task.count, BatchShape(BATCH_ROWS, None, 0, 1 << 30))
    started = time.perf_counter()
    done = 0
    with run.progress("importance", sum(len(item) for item in found), "rows") as progress:
        for positions in found:
            run.check()
            yield task.batch(positions, -1)
            done += len(positions)
            progress.advance(len(positions))
    run.cost(Cost("importance", time.perf_counter() - started, done, min(config.rows, work.spec.count)))


def importance(work: Work, network: torch.nn.Module, sites: Mapping[str, Site]) -> dict[str, torch.Tensor]:
    """Return the importance of every group of every site on the sample."""
    from bessemer.nn.importance import taylor

    def losses() -> Iterator[tuple[int, Callable[[], torch.Tensor]]]:
        for batch in batches(work):
            assert batch.row_ids is not None
            yield len(batch.row_ids), partial(_total, work.sample, network, batch)

    return taylor(network.eval(), sites, losses())


def _total(task: Task, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    return task.loss(network, batch).total


def measured(work: Work, network: torch.nn.Module) -> dict[str, float]:
    """Return the metrics of a network on the validation rows."""
    import torch

    from bessemer.stages import _learning as learning

    network.eval()
    with torch.inference_mode():
        return learning.scorer(network, work.checked, work.validation, work.run, measured=True)()


def strongest(scores: Sequence[torch.Tensor], total: int, step: int = 1) -> list[list[int]]:
    """Choose groups over several layers together, the most important first, at least `step` in each layer.

    Args:
        scores: importance of the groups of each layer.
        total: how many stay in all layers together; a multiple of `step` is used, the nearest.
        step: groups are taken in so many at a time, best first within a layer (widths that a processor likes).

    Returns:
        what stays of each layer, rising.

    >>> import torch
    >>> strongest([torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.1, 0.2, 0.3])], 3)
    [[0, 2], [2]]
    """
    blocks = []
    for layer, score in enumerate(scores):
        order = score.argsort(descending=True, stable=True).tolist()
        for start in range(0, len(order), step):
            block = order[start:start + step]
            blocks.append((start > 0, -float(score[block].sum()) / len(block), layer, start, block))
    kept: list[list[int]] = [[] for _ in scores]
    for _, _, layer, _, block in sorted(blocks)[:max(len(scores), round(total / step))]:
        kept[layer] += block
    return [sorted(block) for block in kept]


def at_round(start: float, goal: float | None, number: int, rounds: int) -> float:
    """Return the size to reach in round `number` (from 1): each round takes out the same part of what is left.

    >>> [round(at_round(16, 2, number, 3)) for number in (1, 2, 3)]
    [8, 4, 2]
    """
    return start if goal is None else start * (goal / start) ** (number / rounds)


def check_goal(name: str, goal: int | None, there: float) -> None:
    """Refuse a goal above what the network has."""
    if goal is not None and goal > there:
        raise UserError(f"{name}: {goal} should stay, but the network has {there:g}; give at most that, or leave it out")


def share(scores: Sequence[torch.Tensor], kept: Sequence[Sequence[int]]) -> float:
    """Return the part of the importance that the kept groups have."""
    total = sum(float(score.sum()) for score in scores)
    left = sum(float(score[list(places)].sum()) for score, places in zip(scores, kept, strict=True))
    return round(left / total, 6) if total > 0 else 1.0


def parts(network: torch.nn.Module) -> dict[str, int]:
    """Return the parameters of each part of a network."""
    import re

    found: dict[str, int] = {}
    for name, value in network.named_parameters():
        part = re.sub(r"^(bert\.)?(encoder\.)?(layers?|norms)\.\d+\.(attention|intermediate|output)?.*", r"\4", name)
        part = {"intermediate": "feed_forward", "output": "feed_forward", "": "hidden_layers"}.get(part, part)
        part = part.removeprefix("bert.").split(".")[0]
        found[part] = found.get(part, 0) + value.numel()
    return found


def in_rounds(work: Work, open_folder: Callable[[Path], Any], save: Callable[[Any, Path], None],
              once: Callable[[Any, int], tuple[Any, dict[str, Any]]], network: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Shrink a network round by round, with training between; what is finished outlives a kill.

    Args:
        work: see Work.
        open_folder: reads a network that `save` wrote.
        save: writes one.
        once: (network, number of the round) -> the smaller network, facts.
        network: at the start.

    Returns:
        the network, and the facts of each round.
    """
    rounds, facts = work.config.rounds, list[dict[str, Any]]()
    for number in range(1, rounds + 1):
        folder = work.run.state / f"round-{number}"
        if folder.is_dir():
            network, facts = open_folder(folder), json.loads((folder / "rounds.json").read_text(encoding="utf-8"))
            continue
        network, found = once(network, number)
        facts.append(found)
        if number < rounds and work.config.tune is not None:
            _tune(work, network, number)
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            save(network, part)
            (part / "rounds.json").write_text(json.dumps(facts), encoding="utf-8")
            part.rename(folder)
    return network, facts


def _tune(work: Work, network: torch.nn.Module, number: int) -> None:
    """Train a network for a short while, in place."""
    from bessemer.engine.job import Job
    from bessemer.stages import _learning as learning

    config, run = work.config.tune, work.run
    assert config is not None
    metrics = learning.metric_names(work.checked)
    metric = config.metric_for_best_model or ("loss" if work.task.outputs else "accuracy")
    learning.check_metric(metric, metrics)
    own = replace(run, name=f"{run.name}-round-{number}", state=run.state / f"tune-{number}")
    curves = own.state / "curves"
    curves.mkdir(parents=True, exist_ok=True)
    network.requires_grad_(True)
    order = None
    if isinstance(work.spec, TableSpec) and work.spec.order is not None:
        whole = work.spec.order

        def order(epoch: int) -> Sequence[np.ndarray]:
            return whole(epoch, config.per_device_train_batch_size)

    score = learning.scorer(network, work.checked, work.validation, run, measured=True)
    job = Job(network, work.task, config, learning.batch_shape(config, work.spec), own, score, (metric, metrics[metric]), order=order,
              train_part=learning.train_part(run))
    learning.train(job, curves)
    network.eval()
