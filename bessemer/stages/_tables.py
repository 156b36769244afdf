"""Tables as the learning stages read them: one split of prepared data as a `TableSpec`, and the folder that a trained network makes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.heads import Head, save_heads
from bessemer.core.schema import Role, Schema
from bessemer.core.task_spec import TableRows, TableSpec, TaskSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.core.types import Batch, Task

NUMBERS, CODES, SCALED, FIRSTS = ".numbers", ".codes", ".scaled", ".firsts"
CALIBRATED_ROWS = 200_000


def is_table(schema: Schema) -> bool:
    """Tell whether the inputs are the columns of a table; columns of both kinds together are a UserError."""
    from bessemer.modalities import modality_of

    kinds = {column.name: modality_of(column).vector for column in schema.by_role(Role.INPUT)}
    if len(set(kinds.values())) > 1:
        text = next(name for name, vector in kinds.items() if not vector)
        raise UserError(f"the inputs hold running text ('{text}', {{kind: text}}) beside columns of a table, which this version does not "
                        f"learn together; make '{text}' a {{kind: words}} column")
    return next(iter(kinds.values()), False)


def open_table(data: Path, split: str, seed: int) -> TableSpec:
    """Open one stored split of a prepared table."""
    import numpy as np

    from bessemer.data.shards import ShardReader
    from bessemer.modalities.vectors import open_vectors

    schema = Schema.load(data)
    reader = ShardReader(data / split)
    vectors = open_vectors(schema, data)
    targets = target_info(schema, data)
    weight = any(True for _ in schema.by_role(Role.WEIGHT))
    taught = [name for name in targets if f"{name}.teacher" in reader.columns]

    def read(positions: np.ndarray) -> TableRows:
        count = len(positions)
        numbers = reader.rows(NUMBERS, positions) if NUMBERS in reader.columns else np.zeros((count, 0), np.float32)
        codes = reader.rows(CODES, positions) if CODES in reader.columns else np.zeros((count, 0), np.int32)
        found = {name: reader.rows(f"{name}{SCALED}" if info["kind"] == "number" else name, positions) for name, info in targets.items()}
        weights = reader.rows("weight", positions) if weight else np.ones(count, np.float32)
        said = {name: reader.rows(f"{name}.teacher", positions) for name in taught}
        return TableRows(numbers, codes.astype(np.int64), found, weights, reader.rows("row_id", positions), said)

    def truth(name: str) -> np.ndarray:
        return reader.rows(name, np.arange(len(reader)))

    return TableSpec(schema, read, len(reader), vectors.info, targets, truth, seed, taught=bool(taught))


def target_info(schema: Schema, data: Path) -> dict[str, dict[str, Any]]:
    """Return target -> info of its codec and the `kind` of its answer."""
    from bessemer.modalities import codec_of, modality_of

    return {column.name: {**codec_of(column, data).info, "kind": modality_of(column).answer} for column in schema.by_role(Role.TARGET)}


def calibrated(task: Task, network: torch.nn.Module, spec: TableSpec | TaskSpec) -> tuple[Head, ...]:
    """Return the task's heads, their quantiles shifted so that on these rows (validation) they hold the share that they say.

    Each level's shift is the conformal quantile of the rows' distances to it (Romano, Patterson & Candes 2019, one side at a time).
    """
    import numpy as np
    import torch

    heads = task.outputs
    if not any(head.quantiles for head in heads):
        return heads
    outputs, rows = [], np.arange(min(spec.count, CALIBRATED_ROWS))
    step = 8192 if isinstance(spec, TableSpec) else 64
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), step):
            outputs.append(_raw(network, task.batch(rows[start:start + step], -1)))
    whole_NO = np.concatenate(outputs)
    targets = spec.read(rows).targets if isinstance(spec, TableSpec) else {
        head.target: spec.learnt(head.target, rows) for head in heads if spec.learnt is not None}
    found, start = [], 0
    for head in heads:
        part_NW = whole_NO[:, start:start + head.width]
        start += head.width
        if head.quantiles:
            truth_N = targets[head.target]
            known = np.isfinite(truth_N)
            gaps_NQ = truth_N[known][:, None] - part_NW[known][:, 1:]
            count = max(1, len(gaps_NQ))
            levels = [min(1.0, np.ceil((count + 1) * level) / count) if level >= 0.5 else max(0.0, np.floor((count + 1) * level) / count)
                      for level in head.quantiles]
            offsets = [float(np.quantile(gaps_NQ[:, index], level)) for index, level in enumerate(levels)]
            head = head.model_copy(update={"offsets": tuple(offsets)})
        found.append(head)
    return tuple(found)


def _raw(network: torch.nn.Module, batch: Batch) -> np.ndarray:
    """Return a batch's raw outputs, a mean over the members, float32 [B, O]."""
    if "numbers" in batch.inputs.get("table", {}):
        found: np.ndarray = network(**batch.inputs["table"]).numpy().mean(axis=1)
        return found
    (inputs,) = batch.inputs.values()
    found = network(**inputs).numpy()
    return found


def save_table(network: torch.nn.Module, heads: Sequence[Head], data: Path, out: Path) -> None:
    """Write the network, its heads and what turns raw rows into its inputs."""
    from typing import cast

    from bessemer.nn.table import TableNetwork, save_table_network

    save_table_network(cast(TableNetwork, network), out)
    save_heads(out, heads)
    copy_columns(data, out)


def copy_columns(source: Path, out: Path) -> None:
    """Copy what turns raw rows into inputs (schema, fitted columns, a text's tokenizer) from one folder to another."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("schema.json", "tokenizer.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    if (source / "columns").is_dir():
        shutil.copytree(source / "columns", out / "columns", dirs_exist_ok=True)
