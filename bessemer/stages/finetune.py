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
from bessemer.core.schema import Role
from bessemer.core.task_spec import TableSpec
from bessemer.core.types import BuildSpec, FitSpec
from bessemer.engine.config import TrainingConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from bessemer.core.schema import Schema
    from bessemer.core.task_spec import TaskSpec
    from bessemer.core.types import Model, Task
    from bessemer.stages._learning import Spec


class Finetune(TrainingConfig):
    """Supervised training."""

    needs: ClassVar[tuple[str, ...]] = ("data", "init")

    data: str = "prepare"
    """The prepared data."""
    init: str | None = None
    """A stage (pretrain, finetune) or its folder whose weights to start from."""
    model: Annotated[Config, Pick("models")] | None = None
    """What to train where `init` is not given."""
    task: Annotated[Config, Pick("tasks")] | None = None
    """What is learned: by default `classification` of a text, `supervised` of a table."""
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
    import time

    from bessemer.core.forms import Form, write_forms
    from bessemer.core.schema import Schema
    from bessemer.stages._streams import STREAM, stream_tables
    from bessemer.stages._tables import copy_columns, is_table

    assert model.fit is not None
    data = inputs["data"]
    schema = Schema.load(data)
    if model.table != is_table(schema):
        kinds = ("a table", "text") if model.table else ("text", "a table")
        raise UserError(f"the model '{kind}' reads {kinds[0]}, the data are {kinds[1]}; choose another model")

    def tables(split: str) -> Iterator[pa.Table]:
        from bessemer.data.shards import ShardReader

        return stream_tables(data, run.seed) if (data / split / STREAM).is_file() else ShardReader(data / split).tables()

    started = time.perf_counter()
    with run.progress("fit", None, "candidates"):
        facts = model.fit(FitSpec(schema, lambda: tables("train"), lambda: tables("validation"), run.seed, out,
                                  _info(schema, data, model), data, run.threads))
    part = float(run.input_manifests["data"].facts.get("rehearsal_part", 1.0))
    run.cost(Cost("fit", time.perf_counter() - started, part, 1.0))
    files = tuple(sorted(path.name for path in out.iterdir()))
    copy_columns(data, out)
    write_forms(out, (Form(name=kind, predictor=make("predictors", model.predictor), files=files),))
    return {**facts, "model": kind}


def _info(schema: Schema, data: Path, model: Model) -> dict[str, Any]:
    from bessemer.modalities.vectors import open_vectors

    return dict(open_vectors(schema, data).info) if model.table else {}


def _fit_network(config: Finetune, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    import torch

    from bessemer.engine.job import Job
    from bessemer.stages import _learning as learning

    learning.use_threads(run)
    spec = learning.open_split(inputs["data"], "train", run.seed)
    validation, part = learning.rehearsed(learning.open_split(inputs["data"], "validation", run.seed), run)
    task = learning.make_task(config.task, spec)
    metrics = learning.metric_names(task)
    metric = config.metric_for_best_model or ("loss" if isinstance(spec, TableSpec) else "accuracy")
    learning.check_metric(metric, metrics)
    network = learning.build_network(_model(config, inputs), _build_spec(spec, task, inputs), run, inputs["data"])
    adaptation = plugin_of("adapt", config.adaptation).function(config.adaptation)
    torch.manual_seed(run.seed)
    adaptation.apply(network)
    checked = learning.make_task(config.task, learning.fitted_on(validation, spec))
    score = learning.scorer(network, checked, validation, run, measured=True)
    job = Job(network, task, config, learning.batch_shape(config, spec), run, score, (metric, metrics[metric]),
              validation_part=part, train_part=learning.train_part(run), order=_order(spec, config),
              naive=checked.naive() if checked.naive is not None and config.naive_after is not None else None)
    facts = learning.train(job, out)
    _merge(network, adaptation.merge, checked, validation)
    saved = _save_table(network, checked, validation, inputs["data"], out) if isinstance(validation, TableSpec) else _save_text(
        network, learning.text_only(spec, "this network"), inputs["data"], out)
    return {**facts, **saved, "task": task.name, "rows": spec.count, "adaptation": plugin_of("adapt", config.adaptation).name}


def _order(spec: Spec, config: Finetune) -> Callable[[int], Sequence[np.ndarray]] | None:
    """Return the batches of each epoch where the rows have an order of their own."""
    if not isinstance(spec, TableSpec) or spec.order is None:
        return None
    order, rows = spec.order, config.per_device_train_batch_size
    return lambda epoch: order(epoch, rows)


def _build_spec(spec: Spec, task: Task, inputs: Mapping[str, Path]) -> BuildSpec:
    if isinstance(spec, TableSpec):
        return BuildSpec(spec.schema, dict(spec.info), task.heads, outputs=sum(head.width for head in task.outputs),
                         weights=inputs.get("init"))
    return BuildSpec(spec.schema, spec.codec.info, task.heads, spec.schema.by_role(Role.TARGET)[0].labels, weights=inputs.get("init"))


def _save_text(network: torch.nn.Module, spec: TaskSpec, data: Path, out: Path) -> dict[str, Any]:
    """Write the folder of a text network."""
    from typing import cast

    from bessemer.core.forms import Form, write_forms
    from bessemer.nn.checkpoint import save_network
    from bessemer.nn.network import Network
    from bessemer.stages._learning import copy_preprocessing

    text = cast(Network, network)
    save_network(text, out)
    copy_preprocessing(data, out, spec)
    write_forms(out, (Form(name="torch-float32", predictor=make("predictors", {"kind": "torch", "max_length": spec.max_length}),
                           files=("model.safetensors",)),))
    return {"model": str(text.describe()["model_type"])}


def _save_table(network: torch.nn.Module, task: Task, spec: TableSpec, data: Path, out: Path) -> dict[str, Any]:
    """Calibrate on the validation rows and write the folder of a network for tables."""
    from bessemer.core.forms import Form, write_forms
    from bessemer.stages._tables import calibrated, save_table

    heads = calibrated(task, network, spec)
    save_table(network, heads, data, out)
    write_forms(out, (Form(name="torch-float32", predictor=make("predictors", "table_torch"), files=("model.safetensors", "heads.json")),))
    return {"model": "table", "targets": [head.target for head in heads]}


def _model(config: Finetune, inputs: Mapping[str, Path]) -> Config:
    if config.model is not None:
        chosen: Config = config.model
        return chosen
    if (inputs["init"] / "heads.json").is_file():
        return make("models", "mlp")  # the folder's own config.json says what it is
    if not (inputs["init"] / "config.json").is_file():
        raise UserError(f"init: '{inputs['init']}' holds no network to start from; give a pretrain or finetune stage")
    return make("models", {"kind": "pretrained", "path": str(inputs["init"])})


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
