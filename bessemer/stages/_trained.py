"""What every stage that ends with a trained network shares: where it starts from, and the folder that it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.schema import Role, Schema
from bessemer.core.task_spec import TableSpec, TaskSpec
from bessemer.core.types import BuildSpec
from bessemer.stages._tasks import save_task

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from bessemer.core.types import Task
    from bessemer.stages._learning import Spec

REPLAY, MADE = "replay", ".made"


def start_of(folder: Path) -> Config:
    """Return the model config that goes on from a folder's weights."""
    from bessemer.nn.table import is_table_network

    if is_table_network(folder):
        return make("models", "mlp")  # the folder's own config.json says what it is
    if not (folder / "config.json").is_file():
        raise UserError(f"init: '{folder}' holds no network to start from; give a pretrain or finetune stage")
    return make("models", {"kind": "pretrained", "path": str(folder)})


def build_spec(spec: Spec, task: Task, weights: Path | None) -> BuildSpec:
    """Return what a network for a task is built from."""
    if isinstance(spec, TableSpec):
        return BuildSpec(spec.schema, dict(spec.info), task.heads, outputs=sum(head.width for head in task.outputs), weights=weights)
    return BuildSpec(spec.schema, spec.codec.info, task.heads, outputs_of(task) or spec.schema.by_role(Role.TARGET)[0].labels,
                     weights=weights, teacher=spec.teacher)


def outputs_of(task: Task) -> tuple[str, ...]:
    """Return the names of a text network's outputs where its task divides them among targets: of one label the labels themselves."""
    if len(task.outputs) == 1 and task.outputs[0].kind in ("label", "tags") and task.outputs[0].link == "softmax":
        return task.outputs[0].labels
    return tuple(f"{head.target} {number}" for head in task.outputs for number in range(head.width))


def save_trained(network: torch.nn.Module, task: Task, validation: Spec, data: Path, out: Path) -> dict[str, Any]:
    """Write a folder that predicts: weights, what turns raw rows into inputs, `predictor.json`, `task.json`. Return facts.

    Args:
        network: trained and merged.
        task: over the validation rows, by which quantiles are calibrated.
        validation: those rows.
        data: the folder with the schema and the fitted columns.
        out: the folder to write to.
    """
    save_task(task, out)
    if isinstance(validation, TableSpec):
        return _save_table(network, task, validation, data, out)
    return _save_text(network, task, validation, data, out)


def _save_text(network: torch.nn.Module, task: Task, spec: TaskSpec, data: Path, out: Path) -> dict[str, Any]:
    """Calibrate on the validation rows and write the folder of a text network."""
    from typing import cast

    from bessemer.core.forms import Form, write_forms
    from bessemer.core.heads import save_heads
    from bessemer.nn.checkpoint import save_network
    from bessemer.nn.network import Network
    from bessemer.stages._chains import chained
    from bessemer.stages._learning import copy_preprocessing
    from bessemer.stages._tables import calibrated

    text = cast(Network, network)
    save_network(text, out)
    copy_preprocessing(data, out, spec)
    files: tuple[str, ...] = ("model.safetensors",)
    if task.outputs:
        save_heads(out, tuple(chained(head, task, network, spec) if head.kind == "tags" else head
                              for head in calibrated(task, network, spec)))
        files = (*files, "heads.json")
    write_forms(out, (Form(name="torch-float32", predictor=make("predictors", {"kind": "torch", "max_length": spec.max_length}),
                           files=files),))
    return {"model": str(text.describe()["model_type"])}


def _save_table(network: torch.nn.Module, task: Task, spec: TableSpec, data: Path, out: Path) -> dict[str, Any]:
    """Calibrate on the validation rows and write the folder of a network for tables."""
    from bessemer.core.forms import Form, write_forms
    from bessemer.stages._tables import calibrated, save_table

    heads = calibrated(task, network, spec)
    save_table(network, heads, data, out)
    write_forms(out, (Form(name="torch-float32", predictor=make("predictors", "table_torch"), files=("model.safetensors", "heads.json")),))
    return {"model": "table", "targets": [head.target for head in heads]}


def keep_replay(data: Path, out: Path, rows: int, seed: int) -> int:
    """Keep a random sample of the training rows with the model, for later updates; return how many."""
    import numpy as np

    from bessemer.data.shards import ShardReader, ShardWriter
    from bessemer.stages._streams import STREAM, stream_tables
    from bessemer.stages._tables import is_table

    writer = ShardWriter(out / REPLAY)
    if (data / "train" / STREAM).is_file():
        for table in stream_tables(data, seed):
            writer.add(table.slice(0, rows - writer.total))
            if writer.total >= rows:
                break
    else:
        reader = ShardReader(data / "train")
        order = np.random.Generator(np.random.Philox(key=[seed, 2**33])).permutation(len(reader))
        if MADE in reader.columns:  # rows that are not of the data have no label to keep
            order = order[reader.stored(MADE)[order] == 0]
        schema = Schema.load(data)
        kinds = {column.name: column.modality["kind"] for column in schema.by_role(Role.TARGET)}
        if set(kinds.values()) == {"category"} and not is_table(schema):  # texts without any label teach an update nothing
            order = order[np.any([reader.stored(name)[order] >= 0 for name in kinds], axis=0)]
        writer.add(_plain(reader.take(np.sort(order[:rows]))))
    writer.close()
    return writer.total


def _plain(table: pa.Table) -> pa.Table:
    """Return rows without the mark of splits as given and without teachers' answers, which new rows do not have."""
    return table.drop_columns([name for name in table.column_names if name in ("overlap", MADE) or name.endswith(".teacher")])
