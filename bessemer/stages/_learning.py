"""What the learning stages share: from prepared data, a model and a task to a `Job` for the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest
from bessemer.core.pick import make
from bessemer.core.registry import plugin, plugin_of
from bessemer.core.run import RunContext
from bessemer.core.schema import Role, Schema
from bessemer.core.task_spec import TableSpec, TaskSpec
from bessemer.core.types import Answer, BuildSpec, DataSet, Model, Task
from bessemer.stages._tasks import LABEL

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.core.config import Config
    from bessemer.engine.config import TrainingConfig
    from bessemer.engine.job import Job
    from bessemer.engine.loop import Fit
    from bessemer.engine.sampler import BatchShape

REHEARSED_ROWS = 256
OVERHEAD = 2
TABLE_ROWS = 4096
Spec = TaskSpec | TableSpec


def use_threads(run: RunContext) -> None:
    """Set the framework's threads as the recipe says and note them beside the timings."""
    import torch

    if run.threads:
        torch.set_num_threads(run.threads)
    run.timing("threads", torch.get_num_threads())


def open_split(data: Path, split: str, seed: int) -> TaskSpec | TableSpec:
    """Open one split of prepared data for a task: one text column, or the columns of a table (stored, or a stream)."""
    import numpy as np

    from bessemer.data.shards import ShardReader
    from bessemer.modalities import codec_of
    from bessemer.stages._streams import STREAM, open_stream
    from bessemer.stages._tables import SCALED, is_table, open_table, target_info

    schema = Schema.load(data)
    if is_table(schema):
        return open_stream(data, seed) if (data / split / STREAM).is_file() else open_table(data, split, seed)
    column, *rest = schema.texts()
    second = "".join(item.name for item in rest)
    reader, targets = ShardReader(data / split), target_info(schema, data)

    def learnt(name: str, positions: np.ndarray) -> np.ndarray:
        return reader.rows(f"{name}{SCALED}" if targets[name]["kind"] == "number" else name, positions)

    lengths = reader.lengths(f"{column.name}.ids") + (reader.lengths(f"{second}.ids") + 1 if second else 0)
    return TaskSpec(
        schema=schema, take=reader.take, count=len(reader), stored=lambda name: reader.rows(name, np.arange(len(reader))),
        lengths=lengths, codec=codec_of(column, data), column=column.name, seed=seed,
        max_length=int(column.modality["max_length"]), targets=targets, learnt=learnt, second=second)


def shortened(spec: Spec, max_length: int | None) -> Spec:
    """Return the spec as it reads no more than so many tokens of a text."""
    if max_length is None:
        return spec
    text = text_only(spec, "max_length")
    if text.max_length < max_length:
        raise UserError(f"max_length is {max_length}, and the column '{text.column}' was prepared with {text.max_length}; raise it "
                        "there, or give fewer")
    return replace(text, max_length=max_length)


def with_teacher(spec: Spec, teacher: Path | None, data: Path) -> Spec:
    """Return the spec with the folder of the network to learn from, which must know the data's tokens."""
    from bessemer.modalities import column_folder

    if teacher is None:
        return spec
    text = text_only(spec, "learning from a teacher's network")
    _check_tokens(teacher, column_folder(data, text.column) / "tokenizer.json")
    return replace(text, teacher=teacher)


def part_of(spec: Spec, positions: np.ndarray) -> Spec:
    """Return the spec of some of its rows."""
    if isinstance(spec, TableSpec):
        whole = spec
        return replace(whole, read=lambda rows: whole.read(positions[rows]), count=len(positions),
                       truth=lambda name: whole.truth(name)[positions])
    text = spec
    learnt = text.learnt
    return replace(text, take=lambda rows: text.take(positions[rows]), count=len(positions),
                   stored=lambda name: text.stored(name)[positions], lengths=text.lengths[positions],
                   learnt=None if learnt is None else lambda name, rows: learnt(name, positions[rows]))


def rehearsed(spec: Spec, run: RunContext, rows: int = REHEARSED_ROWS) -> tuple[Spec, float]:
    """Return the spec to score on and the part of its rows that this is: all, or evenly spaced ones in a rehearsal."""
    import numpy as np

    if not run.rehearsal or spec.count <= rows:
        return spec, 1.0
    order = np.argsort(spec.lengths, kind="stable") if isinstance(spec, TaskSpec) else np.arange(spec.count)
    return part_of(spec, np.sort(order[np.linspace(0, spec.count - 1, rows).astype(np.int64)])), rows / spec.count


def fitted_on(spec: Spec, train: Spec) -> Spec:
    """Return the spec of a split that takes what it fits from the training split."""
    if isinstance(spec, TableSpec) and isinstance(train, TableSpec):
        return replace(spec, fitted_on=train)
    return replace(text_only(spec, "this task"), fitted_on=text_only(train, "this task"))


def text_only(spec: Spec, what: str) -> TaskSpec:
    """Return the spec where it is of text; of a table it is a UserError."""
    if isinstance(spec, TableSpec):
        raise UserError(f"{what} needs a column of running text ({{kind: text}}) as the only input; the data are a table")
    return spec


def make_task(config: Config | None, spec: Spec) -> Task:
    """Build a task over a split; by default the one label of a text, or every target; from teachers' answers where there are."""
    table = isinstance(spec, TableSpec)
    config = config or make("tasks", _default_task(spec))
    chosen = plugin_of("tasks", config)
    if table and chosen.name != "supervised":
        raise UserError(f"the task '{chosen.name}' does not fit the data: a table is learnt by 'supervised'")
    targets = [column.name for column in spec.schema.by_role(Role.TARGET)]
    if chosen.name in LABEL and len(targets) > 1:
        raise UserError(f"the task '{chosen.name}' learns one target, and the data have {len(targets)} ({', '.join(targets[:12])}): take "
                        "supervised, which learns them all and may weigh them (target_weights), or prepare the data with one target")
    task: Task = chosen.function(config, spec)
    return replace(task, settings=config)


def _default_task(spec: Spec) -> str | dict[str, Any]:
    """Return the task of data for which the recipe names none; a validation split is learnt as its training split is."""
    from bessemer.tasks.supervised import taught

    known = taught(spec.fitted_on or spec)
    kinds = [column.modality["kind"] for column in spec.schema.by_role(Role.TARGET)]
    if isinstance(spec, TaskSpec) and kinds == ["category"]:
        return "distillation" if known else "classification"
    if isinstance(spec, TaskSpec) and kinds == ["tags"]:
        return "sequence_labelling"
    return {"kind": "supervised", "distil": {}} if known else "supervised"


def fetched(name: str, run: RunContext) -> Path:
    """Return the folder of catalogue weights, fetched where they are not cached."""
    from bessemer.core.fetch import fetch

    chosen = plugin("datasets", name)
    item: DataSet = chosen.function(chosen.config())
    if item.kind != "weights":
        raise UserError(f"'{name}' is a data set, no weights; take a name that `bessemer datasets` lists as weights")
    return fetch(item.resource) / item.folder


def build_network(config: Config, spec: BuildSpec, run: RunContext, data: Path) -> torch.nn.Module:
    """Build a network with seeded initial weights; catalogue weights are fetched first, and must know the data's tokens."""
    import torch

    from bessemer.stages._tables import is_table

    chosen = plugin_of("models", config)
    model: Model = chosen.function(config)
    if model.build is None:
        raise UserError(f"the model '{chosen.name}' is no network, so this stage cannot train it")
    if model.table != is_table(spec.schema):
        kinds = ("a table", "text") if model.table else ("text", "a table")
        raise UserError(f"the model '{chosen.name}' reads {kinds[0]}, the data are {kinds[1]}; choose another model")
    if not model.table:
        spec = _text_weights(config, model, spec, run, data)
    torch.manual_seed(run.seed)
    network: torch.nn.Module = model.build(replace(spec, data=data))
    describe = getattr(network, "describe", None)
    if not model.table and len(spec.schema.texts()) == 2 and describe is not None and int(describe().get("type_vocab_size", 2)) < 2:
        raise UserError(f"the model '{chosen.name}' cannot tell the two texts of a pair apart (its type_vocab_size is 1); take one of "
                        "BERT's kind, or join the texts in the source")
    return network


def _text_weights(config: Config, model: Model, spec: BuildSpec, run: RunContext, data: Path) -> BuildSpec:
    """Return the spec with the weights to start from; weights that cannot read the data are a UserError."""
    from bessemer.modalities import column_folder
    from bessemer.models.pretrained import longest_input

    name = getattr(config, "name", None)
    if name is not None and spec.weights is None:
        spec = replace(spec, weights=fetched(name, run))
    longest = model.max_length if spec.weights is None else longest_input(spec.weights)
    column = spec.schema.texts()[0]
    if longest is not None and int(column.modality["max_length"]) > longest:
        raise UserError(f"the column '{column.name}' is prepared with max_length {column.modality['max_length']}, but the model reads "
                        f"{longest} tokens at most; lower max_length in prepare, or raise the model's max_position_embeddings")
    path = getattr(config, "path", None)
    source = spec.weights or (Path(path) if path else None)
    if source is not None:
        _check_tokens(source, column_folder(data, column.name) / "tokenizer.json")
    return spec


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


def batch_shape(config: TrainingConfig, spec: Spec) -> BatchShape:
    """Return the shape of training batches."""
    from bessemer.engine.sampler import BatchShape

    if isinstance(spec, TableSpec):
        if config.tokens_per_batch is not None:
            raise UserError("tokens_per_batch has no effect on tables, whose rows all cost the same; set per_device_train_batch_size")
        return BatchShape(config.per_device_train_batch_size, None, 0, 1)
    if config.tokens_per_batch is not None and config.tokens_per_batch < spec.max_length:
        raise UserError(f"tokens_per_batch is {config.tokens_per_batch}, but one row may have max_length {spec.max_length} tokens; "
                        "raise the first or lower the second")
    return BatchShape(config.per_device_train_batch_size, config.tokens_per_batch, OVERHEAD, spec.max_length)


def scorer(network: torch.nn.Module, task: Task, spec: Spec, run: RunContext, measured: bool) -> Callable[[], dict[str, float]]:
    """Return a function that scores the network on a split: the task's own sums and, where `measured`, the metrics of its answers."""
    from bessemer.core.heads import joined
    from bessemer.engine.sampler import BatchShape, in_order

    own = bool(task.outputs)  # targets of several kinds have a loss of their own; of one label it is the log loss
    shape = BatchShape(TABLE_ROWS, None, 0, 1) if isinstance(spec, TableSpec) else BatchShape(64, 8192, OVERHEAD, spec.max_length)
    batches = in_order(task.costs, spec.count, shape)

    def score() -> dict[str, float]:
        sums: dict[str, list[float]] = {}
        parts: list[dict[str, Answer]] = []
        for positions in batches:
            run.check()
            batch = task.batch(positions, -1)
            if measured and task.predict is not None:
                parts.append(task.predict(network, batch))
            if parts and not own:
                continue
            for name, (total, count) in task.loss(network, batch).sums.items():
                entry = sums.setdefault(name, [0.0, 0.0])
                entry[0] += float(total)
                entry[1] += float(count)
        means = {name: total / count for name, (total, count) in sums.items() if count}
        found = {"loss": means.get("loss", sum(value for name, value in means.items() if name.endswith("loss"))), **means} if sums else {}
        return {**found, **_measured(spec, joined(parts), batches, own)} if parts else found

    return score


def _measured(spec: Spec, answers: Mapping[str, Answer], batches: list[np.ndarray], own: bool) -> dict[str, float]:
    """Return the point value of every main metric of every target; where the task has no loss of its own also the log loss as `loss`."""
    import numpy as np

    from bessemer.evaluate.score import measure

    rows = np.concatenate(batches)
    found = {}
    for target, answer in answers.items():
        truth = (spec.truth(target) if isinstance(spec, TableSpec) else spec.stored(target))[rows]
        prefix = f"{target} " if len(answers) > 1 else ""
        found.update({f"{prefix}{name}": value for name, value in measure(truth, answer).items()})
    return found if own else {"loss": found["log_loss"], **found}


def metric_names(task: Task) -> dict[str, bool]:
    """Return the metrics that a validation of a supervised task gives, and whether more of each is better."""
    from bessemer.evaluate.score import MAIN, larger_is_better, measurable

    tags = next((head.labels for head in task.outputs if head.kind == "tags"), ())
    kinds = {head.target: head.kind for head in task.outputs} or {task.name: "label"}
    prefix = "{} " if len(kinds) > 1 else ""
    found = {"loss": False}
    for target, kind in kinds.items():
        names = measurable(kind, labels=tags) if tags else MAIN[kind]
        found.update({f"{prefix.format(target)}{name}": larger_is_better(name, kind) for name in names})
    return found


def check_metric(name: str, known: Iterable[str]) -> None:
    """Refuse a metric that validation does not give, before any training."""
    names = set(known)
    if name not in names:
        raise UserError(f"metric_for_best_model: there is no validation metric '{name}'{nearest(name, names)}")


def loss_names(network: torch.nn.Module, task: Task) -> tuple[str, ...]:
    """Return the names of the values that a validation by the task's own loss gives."""
    import numpy as np
    import torch

    network.eval()
    with torch.inference_mode():
        return ("loss", *task.loss(network, task.batch(np.arange(min(64, task.count)), -1)).sums)


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
