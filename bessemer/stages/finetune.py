"""finetune: learn the target from labelled rows: a network (full, head only, LoRA) or a model with a fit of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick, make
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import Cost, RunContext
from bessemer.engine.config import TrainingConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.task_spec import TaskSpec
    from bessemer.core.types import Model
    from bessemer.nn.network import Network

LESS_IS_BETTER = ("loss", "log_loss", "ece")


class Finetune(TrainingConfig):
    """Supervised training."""

    needs: ClassVar[tuple[str, ...]] = ("data", "init")

    data: str = "prepare"
    """The prepared data."""
    init: str | None = None
    """A stage (pretrain, finetune) or its folder whose weights to start from."""
    model: Annotated[Config, Pick("models")] | None = None
    """What to train where `init` is not given."""
    task: Annotated[Config, Pick("tasks")] = Field(default_factory=lambda: make("tasks", "classification"))
    """What is learned."""
    adaptation: Annotated[Config, Pick("adapt")] = Field(default_factory=lambda: make("adapt", "full"))
    """What of the network is trained: full, head, lora."""

    @model_validator(mode="after")
    def _one_start(self) -> Finetune:
        if (self.init is None) == (self.model is None):
            raise ValueError("give 'init' (weights of an earlier stage) or 'model', one of the two")
        return self


@register("stages", "finetune")
def finetune(config: Finetune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Train and write a folder that predicts: weights, preprocessing, `predictor.json`, curves."""
    if config.model is not None:
        chosen = plugin_of("models", config.model)
        model: Model = chosen.function(config.model)
        if model.fit is not None:
            return _fit_own(chosen.name, model, inputs, out, run)
    return _fit_network(config, inputs, out, run)


def _fit_own(kind: str, model: Model, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Fit a model that is no network."""
    import shutil
    import time

    from bessemer.core.forms import Form, write_forms
    from bessemer.core.schema import Schema
    from bessemer.core.types import FitSpec
    from bessemer.data.shards import ShardReader

    assert model.fit is not None
    data = inputs["data"]

    def tables(split: str) -> Iterator[pa.Table]:
        return ShardReader(data / split).tables()

    started = time.perf_counter()
    with run.progress("fit", None, "candidates"):
        facts = model.fit(FitSpec(Schema.load(data), lambda: tables("train"), lambda: tables("validation"), run.seed, out))
    part = float(run.input_manifests["data"].facts.get("rehearsal_part", 1.0))
    run.cost(Cost("fit", time.perf_counter() - started, part, 1.0))
    shutil.copyfile(data / "schema.json", out / "schema.json")
    files = tuple(sorted(path.name for path in out.iterdir() if path.name != "schema.json"))
    write_forms(out, (Form(name=kind, predictor=make("predictors", "linear"), files=files),))
    return {**facts, "model": kind}


def _fit_network(config: Finetune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    import torch

    from bessemer.core.forms import Form, write_forms
    from bessemer.core.schema import Role
    from bessemer.core.types import BuildSpec
    from bessemer.engine.job import Job
    from bessemer.evaluate.score import MAIN
    from bessemer.nn.checkpoint import save_network
    from bessemer.stages import _learning as learning

    learning.use_threads(run)
    spec = learning.open_split(inputs["data"], "train", run.seed)
    full = learning.open_split(inputs["data"], "validation", run.seed)
    validation, part = learning.rehearsed(full, run)
    task = learning.make_task(config.task, spec)
    labels = spec.schema.by_role(Role.TARGET)[0].labels
    network = learning.build_network(_model(config, inputs), BuildSpec(
        spec.schema, spec.codec.info, task.heads, labels, inputs.get("init")), run, inputs["data"])
    adaptation = plugin_of("adapt", config.adaptation).function(config.adaptation)
    torch.manual_seed(run.seed)
    adaptation.apply(network)
    metric = config.metric_for_best_model or "accuracy"
    learning.check_metric(metric, ("loss", *MAIN))
    checked = learning.make_task(config.task, replace(validation, fitted_on=spec))
    score = learning.scorer(network, checked, validation, run, _measure)
    job = Job(network, task, config, learning.batch_shape(config, spec), run, score, (metric, metric not in LESS_IS_BETTER),
              validation_part=part, train_part=learning.train_part(run))
    facts = learning.train(job, out)
    _merge(network, adaptation.merge, checked, validation)
    save_network(network, out)
    learning.copy_preprocessing(inputs["data"], out, spec)
    form = Form(name="torch-float32", predictor=make("predictors", {"kind": "torch", "max_length": spec.max_length}),
                files=("model.safetensors",))
    write_forms(out, (form,))
    return {**facts, "task": task.name, "rows": spec.count, "adaptation": plugin_of("adapt", config.adaptation).name,
            "model": str(network.describe()["model_type"])}


def _model(config: Finetune, inputs: Mapping[str, Path]) -> Config:
    if config.model is not None:
        chosen: Config = config.model
        return chosen
    if not (inputs["init"] / "config.json").is_file():
        raise UserError(f"init: '{inputs['init']}' holds no network to start from; give a pretrain or finetune stage")
    return make("models", {"kind": "pretrained", "path": str(inputs["init"])})


def _measure(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Return what validation shows: every main metric, and the log loss as `loss`."""
    from bessemer.evaluate.score import MAIN, named

    found = {}
    for name in MAIN:
        metric = named(name)
        found[name] = float(metric.finalise(metric.update(None, truth, probabilities)))
    return {"loss": found["log_loss"], **found}


def _merge(network: Network, merge: Any, task: Any, spec: TaskSpec) -> None:
    """Fold the adaptation into the network and check that its predictions stay as trained."""
    import numpy as np
    import torch

    from bessemer.export.parity import assert_close

    network.eval()
    batch = task.batch(np.arange(min(32, spec.count)), -1)
    with torch.inference_mode():
        before = task.predict(network, batch)
    merge(network)
    network.eval()
    with torch.inference_mode():
        assert_close(before, task.predict(network, batch), 1e-5, "the merged network's probabilities against the trained one's")
