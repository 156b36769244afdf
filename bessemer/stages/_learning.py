"""What the learning stages share: from prepared data, a model and a task to a `Job` for the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest
from bessemer.core.registry import plugin, plugin_of
from bessemer.core.run import RunContext
from bessemer.core.schema import Role, Schema
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import BuildSpec, DataSet, Model, Task

if TYPE_CHECKING:
    import numpy as np

    from bessemer.core.config import Config
    from bessemer.engine.config import TrainingConfig
    from bessemer.engine.job import Job
    from bessemer.engine.loop import Fit
    from bessemer.engine.sampler import BatchShape
    from bessemer.nn.network import Network

REHEARSED_ROWS = 256
OVERHEAD = 2


def use_threads(run: RunContext) -> None:
    """Set the framework's threads as the recipe says and note them beside the timings."""
    import torch

    if run.threads:
        torch.set_num_threads(run.threads)
    run.timing("threads", torch.get_num_threads())


def open_split(data: Path, split: str, seed: int) -> TaskSpec:
    """Open one split of prepared data for a task on its one text column."""
    from bessemer.data.shards import ShardReader
    from bessemer.modalities import codec_of

    schema = Schema.load(data)
    column = schema.only(Role.INPUT, "text")
    reader = ShardReader(data / split)
    return TaskSpec(
        schema=schema, take=reader.take, count=len(reader), stored=reader.stored, lengths=reader.lengths(f"{column.name}.ids"),
        codec=codec_of(column, data), column=column.name, seed=seed, max_length=int(column.modality["max_length"]))


def part_of(spec: TaskSpec, positions: np.ndarray) -> TaskSpec:
    """Return the spec of some of its rows."""
    return replace(spec, take=lambda rows: spec.take(positions[rows]), count=len(positions),
                   stored=lambda name: spec.stored(name)[positions], lengths=spec.lengths[positions])


def rehearsed(spec: TaskSpec, run: RunContext, rows: int = REHEARSED_ROWS) -> tuple[TaskSpec, float]:
    """Return the spec to score on and the part of its rows that this is: all, or evenly spaced ones in a rehearsal."""
    import numpy as np

    if not run.rehearsal or spec.count <= rows:
        return spec, 1.0
    order = np.argsort(spec.lengths, kind="stable")
    return part_of(spec, np.sort(order[np.linspace(0, spec.count - 1, rows).astype(np.int64)])), rows / spec.count


def make_task(config: Config, spec: TaskSpec) -> Task:
    """Build a task over a split."""
    task: Task = plugin_of("tasks", config).function(config, spec)
    return task


def fetched(name: str, run: RunContext) -> Path:
    """Return the folder of catalogue weights, fetched where they are not cached."""
    from bessemer.core.fetch import fetch

    chosen = plugin("datasets", name)
    item: DataSet = chosen.function(chosen.config())
    if item.kind != "weights":
        raise UserError(f"'{name}' is a data set, no weights; take a name that `bessemer datasets` lists as weights")
    return fetch(item.resource) / item.folder


def build_network(config: Config, spec: BuildSpec, run: RunContext, data: Path) -> Network:
    """Build a network with seeded initial weights; catalogue weights are fetched first, and must know the data's tokens."""
    import torch

    from bessemer.modalities import column_folder
    from bessemer.models.pretrained import longest_input

    model: Model = plugin_of("models", config).function(config)
    if model.build is None:
        raise UserError(f"the model '{plugin_of('models', config).name}' is no network, so this stage cannot train it")
    name = getattr(config, "name", None)
    if name is not None and spec.weights is None:
        spec = replace(spec, weights=fetched(name, run))
    longest = model.max_length if spec.weights is None else longest_input(spec.weights)
    column = spec.schema.only(Role.INPUT, "text")
    if longest is not None and int(column.modality["max_length"]) > longest:
        raise UserError(f"the column '{column.name}' is prepared with max_length {column.modality['max_length']}, but the model reads "
                        f"{longest} tokens at most; lower max_length in prepare, or raise the model's max_position_embeddings")
    path = getattr(config, "path", None)
    source = spec.weights or (Path(path) if path else None)
    if source is not None:
        _check_tokens(source, column_folder(data, column.name) / "tokenizer.json")
    torch.manual_seed(run.seed)
    network: Any = model.build(spec)
    return network


def _check_tokens(folder: Path, prepared: Path) -> None:
    """Refuse weights whose own tokenizer numbers a token of the prepared data otherwise: they would read other words."""
    from tokenizers import Tokenizer

    own = folder / "tokenizer.json"
    if not own.is_file() or not prepared.is_file() or own.read_bytes() == prepared.read_bytes():
        return
    known, used = (Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True) for file in (own, prepared))
    other = min((token for token, number in used.items() if known.get(token) != number), key=used.__getitem__, default=None)
    if other is not None:
        raise UserError(f"'{folder}' has another tokenizer than the prepared data (token {used[other]} is '{other}' in the data, "
                        f"{known.get(other, 'unknown')} in the folder); prepare the data with that model's tokenizer: "
                        f"tokenizer: {{kind: pretrained, path: {folder}}}")


def batch_shape(config: TrainingConfig, spec: TaskSpec) -> BatchShape:
    """Return the shape of training batches."""
    from bessemer.engine.sampler import BatchShape

    if config.tokens_per_batch is not None and config.tokens_per_batch < spec.max_length:
        raise UserError(f"tokens_per_batch is {config.tokens_per_batch}, but one row may have max_length {spec.max_length} tokens; "
                        "raise the first or lower the second")
    return BatchShape(config.per_device_train_batch_size, config.tokens_per_batch, OVERHEAD, spec.max_length)


def scorer(network: Network, task: Task, spec: TaskSpec, run: RunContext,
           measure: Callable[[np.ndarray, np.ndarray], dict[str, float]] | None = None) -> Callable[[], dict[str, float]]:
    """Return a function that scores the network on a split: the task's own sums, or `measure` of its predictions."""
    import numpy as np

    from bessemer.engine.sampler import BatchShape, in_order

    batches = in_order(task.costs, BatchShape(64, 8192, OVERHEAD, spec.max_length))

    def score() -> dict[str, float]:
        sums: dict[str, list[float]] = {}
        outputs: list[np.ndarray] = []
        for positions in batches:
            run.check()
            batch = task.batch(positions, -1)
            if measure is not None and task.predict is not None:
                outputs.append(task.predict(network, batch))
                continue
            loss = task.loss(network, batch)
            for name, (total, count) in loss.sums.items():
                entry = sums.setdefault(name, [0.0, 0.0])
                entry[0] += float(total)
                entry[1] += float(count)
        if measure is None or not outputs:
            means = {name: total / count for name, (total, count) in sums.items() if count}
            return {"loss": sum(value for name, value in means.items() if name.endswith("loss")), **means}
        rows = np.concatenate(batches)
        truth = spec.stored(spec.schema.by_role(Role.TARGET)[0].name)[rows]
        return measure(truth, np.concatenate(outputs))

    return score


def check_metric(name: str, known: Iterable[str]) -> None:
    """Refuse a metric that validation does not give, before any training."""
    names = set(known)
    if name not in names:
        raise UserError(f"metric_for_best_model: there is no validation metric '{name}'{nearest(name, names)}")


def loss_names(network: Network, task: Task) -> tuple[str, ...]:
    """Return the names of the values that a validation by the task's own loss gives."""
    import numpy as np
    import torch

    network.eval()
    with torch.inference_mode():
        return ("loss", *task.loss(network, task.batch(np.arange(min(64, len(task.costs))), -1)).sums)


def report_fit(fit: Fit) -> dict[str, Any]:
    """Return the facts of a training: JSON values, none of them a timing."""
    return {"steps": fit.steps, "total_steps": fit.total_steps, "best_step": fit.best_step, "best_value": fit.best_value,
            "stopped_early": fit.stopped_early, "validations": fit.validations, "overfitting": fit.overfitting}


def train(job: Job, out: Path) -> dict[str, Any]:
    """Train, keep the curves beside the weights and as TensorBoard events, and return the facts."""
    from bessemer.engine.curves import read_curves, write_tensorboard
    from bessemer.engine.loop import fit

    result = fit(job)
    shutil.copyfile(result.curves, out / "curves.jsonl")
    if not job.context.rehearsal:
        board = job.context.root / "tensorboard" / job.context.name
        shutil.rmtree(board, ignore_errors=True)
        write_tensorboard(read_curves(result.curves), board)
    return {**report_fit(result), "metric": job.metric[0],
            "parameters": sum(value.numel() for value in job.network.parameters()),
            "trainable_parameters": sum(value.numel() for value in job.network.parameters() if value.requires_grad)}


def copy_preprocessing(data: Path, out: Path, spec: TaskSpec) -> None:
    """Copy what turns raw rows into inputs (schema, fitted modalities, tokenizer) beside the weights."""
    from bessemer.modalities import column_folder

    shutil.copyfile(data / "schema.json", out / "schema.json")
    shutil.copytree(data / "columns", out / "columns", dirs_exist_ok=True)
    tokenizer = column_folder(data, spec.column) / "tokenizer.json"
    shutil.copyfile(tokenizer, out / "tokenizer.json")
    write_tokenizer_config(tokenizer, out / "tokenizer_config.json", spec.codec.info, spec.max_length)


def write_tokenizer_config(tokenizer: Path, target: Path, info: Mapping[str, Any], max_length: int) -> None:
    """Write what `AutoTokenizer.from_pretrained` needs beside `tokenizer.json`."""
    from tokenizers import Tokenizer

    opened = Tokenizer.from_file(str(tokenizer))
    tokens = {f"{name}_token": opened.id_to_token(info[f"{name}_token_id"]) for name in ("cls", "sep", "pad", "mask", "unk")
              if info.get(f"{name}_token_id") is not None}
    plain = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length, **tokens}
    target.write_text(json.dumps(plain, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def train_part(run: RunContext) -> float:
    """Return the part of the real run's training rows that the prepared data hold (below 1 in a rehearsal of large files)."""
    return float(run.input_manifests["data"].facts.get("rehearsal_part", 1.0))
