"""finetune: learn the target from labelled rows: a network (full, head only, LoRA) or a model with a fit of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick, make
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import Cost, RunContext
from bessemer.core.task_spec import TableSpec
from bessemer.engine.config import TrainingConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from bessemer.core.adaptation import Adaptation
    from bessemer.core.types import Model, Task
    from bessemer.stages._learning import Spec


class Finetune(TrainingConfig):
    """Supervised training."""

    needs: ClassVar[tuple[str, ...]] = ("data", "init", "teacher")
    later: ClassVar[Mapping[str, Any]] = {"max_length": None}

    data: str = "prepare"
    """The prepared data."""
    init: str | None = None
    """A stage (pretrain, finetune) or its folder whose weights to start from."""
    teacher: str | None = None
    """A stage (finetune) or its folder with a trained network of text, for what asks for one: relations of the task distillation, the word
    vectors of a student."""
    model: Annotated[Config, Pick("models")] | None = None
    """What to train where `init` is not given."""
    task: Annotated[Config, Pick("tasks")] | None = None
    """What is learned: by default what the network of `init` learnt; else `classification` of a text's one label (`distillation` of data
    that hold a teacher's answers), or `supervised`: every target at once."""
    adaptation: Annotated[Config, Pick("adapt")] = Field(default_factory=lambda: make("adapt", "full"))
    """What of the network is trained: full, head, lora; or sparse, which switches weights off while it trains."""
    max_length: Annotated[int, Field(ge=8, le=100_000)] | None = None
    """Tokens of a text that are learnt from at most, where fewer than prepare's are enough; the network answers by as many as those."""
    replay_rows: Annotated[int, Field(ge=0, le=10_000_000)] = 2000
    """Training rows, drawn at random, that are kept with the model so that a later update does not forget them; 0 keeps none."""

    @model_validator(mode="after")
    def _one_start(self) -> Finetune:
        if (self.init is None) == (self.model is None):
            raise ValueError("give 'init' (weights of an earlier stage) or 'model', one of the two")
        return self


@register("stages", "finetune")
def finetune(config: Finetune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Train and write a folder that predicts: weights, preprocessing, `predictor.json`, curves."""
    if config.model is not None:
        model: Model = plugin_of("models", config.model).function(config.model)
        if model.fit is not None:
            return _fit_own(config.model, inputs, out, run)
    return _fit_network(config, inputs, out, run)


def _fit_own(config: Config, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Fit a model that is no network."""
    import time

    from bessemer.stages._fitting import fit_folder
    from bessemer.stages._streams import STREAM, stream_tables

    data = inputs["data"]

    def tables(split: str) -> Iterator[pa.Table]:
        from bessemer.data.shards import ShardReader

        return stream_tables(data, run.seed) if (data / split / STREAM).is_file() else ShardReader(data / split).tables()

    started = time.perf_counter()
    with run.progress("fit", None, "candidates"):
        facts = fit_folder(config, data, (lambda: tables("train"), lambda: tables("validation")), out, run)
    part = float(run.input_manifests["data"].facts.get("rehearsal_part", 1.0))
    run.cost(Cost("fit", time.perf_counter() - started, part, 1.0))
    return {**facts, "model": plugin_of("models", config).name}


def _fit_network(config: Finetune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    import torch

    from bessemer.engine.job import Job
    from bessemer.stages import _learning as learning
    from bessemer.stages._regrowing import before_step, regrowing
    from bessemer.stages._tasks import task_for, tell_order
    from bessemer.stages._trained import build_spec, keep_replay, save_trained, start_of

    learning.use_threads(run)
    spec = learning.with_teacher(learning.open_split(inputs["data"], "train", run.seed), inputs.get("teacher"), inputs["data"])
    spec = learning.shortened(spec, config.max_length)
    whole, part = learning.rehearsed(learning.open_split(inputs["data"], "validation", run.seed), run)
    validation = learning.shortened(whole, config.max_length)
    chosen = task_for(config.task, inputs.get("init"), spec)
    task = learning.make_task(chosen, spec)
    tell_order(task, spec.schema, run)
    if config.teacher is not None and task.name != "distillation" and not hasattr(config.model, "embeddings"):
        raise UserError("teacher: nothing asks for a teacher's network with these settings; set the task 'distillation', a student such "
                        "as text_cnn, or remove the key")
    metrics = learning.metric_names(task)
    metric = config.metric_for_best_model or ("loss" if task.outputs else "accuracy")
    learning.check_metric(metric, metrics)
    network = learning.build_network(config.model or start_of(inputs["init"]), build_spec(spec, task, inputs.get("init")), run,
                                     inputs["data"])
    adaptation: Adaptation = plugin_of("adapt", config.adaptation).function(config.adaptation)
    torch.manual_seed(run.seed)
    adaptation.apply(network)
    checked = learning.make_task(chosen, learning.fitted_on(validation, spec))
    score = learning.scorer(network, checked, validation, run, measured=True)
    job = Job(network, task, config, learning.batch_shape(config, spec), run, score, (metric, metrics[metric]),
              validation_part=part, train_part=learning.train_part(run), order=_order(spec, config),
              before_step=before_step(network, adaptation, regrowing(network, task, config.model, run.seed)), settled=adaptation.settled,
              naive=checked.naive() if checked.naive is not None and config.naive_after is not None else None)
    facts = learning.train(job, out)
    if isinstance(spec, TableSpec) and spec.left_out is not None and spec.left_out():
        run.timing("rows_left_out", spec.left_out())  # of this process: what an earlier, killed one left out it did not see
        run.note(f"{spec.left_out():,} rows were left out while training, because cleaning rejects them (counted as often as they came up)")
    _merge(network, adaptation.merge, checked, validation)
    saved = save_trained(network, checked, learning.fitted_on(whole, spec), inputs["data"], out)
    if config.replay_rows:
        saved["replay_rows"] = keep_replay(inputs["data"], out, config.replay_rows, run.seed)
    return {**facts, **saved, "task": task.name, "rows": spec.count, "adaptation": plugin_of("adapt", config.adaptation).name}


def _order(spec: Spec, config: Finetune) -> Callable[[int], Sequence[np.ndarray]] | None:
    """Return the batches of each epoch where the rows have an order of their own."""
    if not isinstance(spec, TableSpec) or spec.order is None:
        return None
    order, rows = spec.order, config.per_device_train_batch_size
    return lambda epoch: order(epoch, rows)


def _merge(network: torch.nn.Module, merge: Any, task: Task, spec: Spec) -> None:
    """Fold the adaptation into the network and check that its predictions stay as trained."""
    import numpy as np
    import torch

    from bessemer.export.parity import assert_close

    assert task.predict is not None
    network.eval()
    batch = task.batch(np.arange(min(32, spec.count)), -1)
    with torch.inference_mode():
        before = task.predict(network, batch)
    merge(network)
    network.eval()
    with torch.inference_mode():
        after = task.predict(network, batch)
    for target, answer in before.items():
        assert_close(answer.values, after[target].values, 1e-5, "the merged network's answers against the trained one's")
