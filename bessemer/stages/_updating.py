"""The parts of an update: new rows through the old columns, mixed with old ones, and a network trained on them from its old weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest
from bessemer.core.keyed import uniform
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Answer, Batch, Codec, Loss, Source
from bessemer.data import clean as cleaning
from bessemer.data.clean import Feed
from bessemer.data.quarantine import Quarantine
from bessemer.data.shards import ShardReader, ShardWriter
from bessemer.modalities import codec_of
from bessemer.modalities.tags import UNKNOWN
from bessemer.stages._columns import stored, with_years
from bessemer.stages._equal import Equal, equal_to
from bessemer.stages._streams import plan_of
from bessemer.stages._tables import copy_columns, is_table
from bessemer.stages._tasks import task_for
from bessemer.stages._trained import REPLAY, save_trained, start_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.engine.job import Gradients, Job
    from bessemer.stages.update import Update

STREAM = 2_001
NEW_IDS = 1 << 40  # new rows are no old ones, also where randomness is keyed by the row
LEAST_ROWS = 40
PARTS = ("train", "choose", "gate")


@dataclass(frozen=True)
class Sample:
    """Rows to score on: raw inputs, and each target's truth as metrics take it."""

    rows: pa.Table
    truths: dict[str, np.ndarray]


@dataclass(frozen=True)
class Places:
    """Where one method reads and writes.

    Attributes:
        data: the old prepared data.
        old: the old model's folder.
        fresh: the new rows, prepared.
        state: of this method.
    """

    data: Path
    old: Path
    fresh: Path
    state: Path


def take_in(config: Update, old: Path, data: Path, out: Path, run: RunContext) -> tuple[Path, dict[str, int]]:
    """Read, clean and encode the new rows with the model's own columns.

    Rows that fail, and rows with a label that the model does not know, go to `quarantine.parquet`; the counts to `funnel.json`.

    Returns:
        The folder with `train`, `choose` and `gate`, and how many new rows equal old ones (see Equal).
    """
    equal = equal_to(old, data, config.rows)
    schema = Schema.load(old)
    plan = replace(plan_of(schema), rehearsal=run.rehearsal)
    feeds = [_feed(item, schema) for item in config.sources]
    file, fresh = run.scratch / "clean.parquet", out / "new"
    kinds = [kind for column in schema.by_role(Role.INPUT) for kind in column.modality.get("scrub", ())]
    with Quarantine(out / "quarantine.parquet", kinds) as quarantine, run.progress("reading", None, "rows") as progress:
        counts = cleaning.clean(feeds, plan, file, quarantine, progress.advance)
        written = _write(file, schema, old, fresh, (quarantine, run, config.held_out, equal))
    funnel = {"sources": [{"name": count.name, "rows_in": count.rows_in, "rejected": quarantine.reasons.get(count.name, {})}
                          for count in counts], "rows": written, "equal_to_old": equal.counts}
    total = sum(written.values())
    lost = sum(count.rows_in for count in counts) - total
    unlearnt = equal.counts["left_out"]
    if lost != quarantine.count + unlearnt:
        raise UserError(f"{lost - quarantine.count - unlearnt} new rows are unaccounted for; this is a fault of Bessemer, please report it")
    (out / "funnel.json").write_text(json.dumps(funnel, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    run.note(f"new rows: {total:,} of {total + lost:,} can be learnt" + (f"; quarantined: {quarantine.top()}" if quarantine.count else "")
             + equal.told())
    if min(written.values()) < LEAST_ROWS // 4 or total < LEAST_ROWS:
        shown = ", ".join(f"{name} {rows}" for name, rows in written.items())
        aside = f"; set aside were: {quarantine.top()}" if quarantine.count else ""
        raise UserError(f"{total} new rows are too few to learn from and to judge by ({shown}){equal.told()}{aside}; "
                        f"give at least {LEAST_ROWS}")
    _tell(fresh, schema, run)
    return fresh, equal.counts


def _feed(config: Any, schema: Schema) -> Feed:
    """Return the new rows under the schema's names; a column that they lack is a UserError."""
    source: Source = plugin_of("data/sources", config).function(config)
    found: list[str] = next((chunk.table.column_names for chunk in source.read() if chunk.table.num_columns), [])
    names = [config.rename.get(name, name) for name in found]
    rename, missing = dict(config.rename), []
    raw = [column for column in schema.columns if not column.of]
    for column in raw:
        name = column.named_in(names)
        if name is None:
            missing.append(column.name)
        elif name != column.name:
            rename[name] = column.name
    if missing:
        targets = [column.name for column in schema.by_role(Role.TARGET)]
        empty = f"; where no row has '{missing[0]}', give it as an empty column" if missing[0] in targets and len(targets) > 1 else ""
        raise UserError(f"'{source.name}' has no column '{missing[0]}', which the model was trained on{nearest(missing[0], names)}"
                        + (f" (and {len(missing) - 1} more are missing: {', '.join(missing[1:6])})" if len(missing) > 1 else "") + empty)
    back = {new: old for old, new in rename.items()}
    wanted = tuple(back.get(column.name, column.name) for column in raw)
    where = {rename.get(name, name): values for name, values in config.where.items()}
    more = tuple(name for name in config.where if name not in wanted)
    narrowed = config.model_copy(update={"columns": (*wanted, *more)})
    return Feed(plugin_of("data/sources", narrowed).function(narrowed), where, rename)


def _write(file: Path, schema: Schema, old: Path, fresh: Path, means: tuple[Quarantine, RunContext, float, Equal]) -> dict[str, int]:
    """Encode the clean rows and divide them by a hash of their position; return the rows of each part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bessemer.modalities.vectors import open_vectors

    quarantine, run, held_out, equal = means
    codecs: dict[str, Codec] = {column.name: codec_of(column, old) for column in schema.columns if column.role != Role.WEIGHT}
    vectors = open_vectors(schema, old) if is_table(schema) else None
    writers = {name: ShardWriter(fresh / name) for name in PARTS}
    copy_columns(old, fresh)
    if file.is_file():
        with pq.ParquetFile(file, pre_buffer=False) as clean:
            for batch in clean.iter_batches(batch_size=8192, use_threads=False):
                run.check()
                table = _known(pa.Table.from_batches([batch]), schema, quarantine)
                draw = uniform(run.seed, 0, table["row_id"].to_numpy(), 1, STREAM)[:, 0]
                twice = equal.seen(table) & (draw >= held_out)
                equal.counts["left_out"] += int(twice.sum())
                draw[twice] = 2.0  # of no part: an old validation row that is learnt tells nothing of what is forgotten
                whole = stored(table.set_column(0, "row_id", pa.array(table["row_id"].to_numpy() + NEW_IDS)), schema, codecs, vectors)
                for name, low, high in (("choose", 0.0, held_out / 2), ("gate", held_out / 2, held_out), ("train", held_out, 1.0)):
                    writers[name].add(whole.filter(pa.array((draw >= low) & (draw < high))))
    for writer in writers.values():
        writer.close()
    return {name: writer.total for name, writer in writers.items()}


def _known(table: pa.Table, schema: Schema, quarantine: Quarantine) -> pa.Table:
    """Return the rows whose labels the model knows; the others go to quarantine: a network has no output for them."""
    import pyarrow.compute as pc

    from bessemer.evaluate._truths import unknown

    for column in schema.by_role(Role.TARGET):
        strange = unknown(column, table[column.name].combine_chunks())
        bad = table.filter(strange)
        if len(bad):
            shown = [value if isinstance(value, str) else ", ".join(value) for value in bad[column.name].to_pylist()]
            quarantine.add("new rows", bad["row"].combine_chunks(), ["label is not known to the model"] * len(bad),
                           [f"column '{column.name}'"] * len(bad), shown)
            table = table.filter(pc.invert(strange))
    return table


def _tell(fresh: Path, schema: Schema, run: RunContext) -> None:
    """Tell of targets that no new row has, and of tags that the model does not know."""
    import numpy as np

    readers = [ShardReader(fresh / name) for name in PARTS]
    for column in schema.by_role(Role.TARGET):
        found = [reader.rows(column.name, np.arange(len(reader))) for reader in readers]
        if not any(answered(part).any() for part in found):
            run.note(f"new rows: none has a value of '{column.name}', so it is neither learnt from them nor scored on them")
        strange = sum(int((part == UNKNOWN).sum()) for part in found) if column.modality["kind"] == "tags" else 0
        if strange:
            run.note(f"new rows: {strange:,} tags of '{column.name}' are none that the model knows: they are not learnt and count as wrong")


def answered(truth: np.ndarray) -> np.ndarray:
    """Return which rows have a truth as metrics take it, bool [N]: no nan, no code or flag below 0, some tag."""
    import numpy as np

    if truth.ndim > 1:
        some: np.ndarray = (truth != -1).any(axis=1)
        return some
    return ~np.isnan(truth) if truth.dtype.kind == "f" else truth >= 0


def samples(config: Update, data: Path, fresh: Path, run: RunContext) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Return the rows by which methods are compared, and those that decide about promotion: old and new ones of each.

    Each sample has the truths of the targets of which one of its rows has a value at least.
    """
    import numpy as np

    from bessemer.stages.compress import raw_rows

    count = len(ShardReader(data / "validation"))
    limit = min(count, 200 if run.rehearsal else config.rows)
    positions = np.unique(np.linspace(0, count - 1, limit).astype(np.int64))
    if len(positions) < 4:
        raise UserError(f"the old data have {count} validation rows, too few to see what is forgotten; prepare them with more")
    found = []
    for start, name in enumerate(PARTS[1:]):
        new = np.arange(len(ShardReader(fresh / name)))
        each = {f"old {name}": raw_rows(data, "validation", positions[start::2]), f"new {name}": raw_rows(fresh, name, new)}
        found.append({key: Sample(rows, {target: truth for target, truth in truths.items() if answered(truth).any()})
                      for key, (rows, truths) in each.items()})
    return found[0], found[1]


def answers_now(folder: Path, old: Path, gate: Mapping[str, Sample]) -> Mapping[str, Mapping[str, Answer]]:
    """Return what the model that answers now says of the gate's rows; one that learnt other targets or labels is a UserError."""
    from bessemer.core.forms import open_form

    learnt = [{column.name: column.labels for column in Schema.load(item).by_role(Role.TARGET)} for item in (old, folder)]
    answers = {} if learnt[0] != learnt[1] else {name: open_form(folder).predict(sample.rows) for name, sample in gate.items()}
    if not answers or any(set(gate[name].truths) - set(found) for name, found in answers.items()):
        raise UserError(f"'{folder}' answers now, and it learnt other targets or labels than '{old}', so they cannot be compared; name a "
                        "network of the same targets with --stage, or give --set against=null, by which the update is held against its own "
                        "past alone")
    return answers


def train(config: Update, method: str, places: Places, run: RunContext) -> Path:
    """Train the old network on the new rows by one method; return the folder of the result."""
    import torch

    from bessemer.engine.job import Job, backpropagate
    from bessemer.stages import _learning as learning
    from bessemer.stages._trained import build_spec

    own = replace(run, name=f"{run.name}-{method}", state=places.state)
    learning.use_threads(run)
    mix = _mixed(config, method, places, run)
    spec = learning.open_split(mix, "train", run.seed)
    validation = learning.open_split(mix, "validation", run.seed)
    chosen = task_for(config.task, places.old, spec)
    task = learning.make_task(chosen, spec)
    checked = learning.make_task(chosen, learning.fitted_on(validation, spec))
    metrics = learning.metric_names(task)
    metric = config.metric_for_best_model or "loss"
    learning.check_metric(metric, metrics)
    network = learning.build_network(start_of(places.old), build_spec(spec, task, places.old), run, places.old)
    network.requires_grad_(True)
    gradients: Gradients = backpropagate
    if method in ("anchor", "both"):
        gradients = _anchored(config.anchor, {name: value.detach().clone() for name, value in network.named_parameters()})
    score = learning.scorer(network, checked, validation, run, measured=True)
    folder = places.state / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job = Job(network, task, config, learning.batch_shape(config, spec), own, score, (metric, metrics[metric]),
              gradients=gradients)
    learning.train(job, folder)
    network.eval()
    with torch.no_grad():
        save_trained(network, checked, validation, places.old, folder)
    return folder


def _anchored(strength: float, start: dict[str, Any]) -> Gradients:
    """Return the gradient function that adds the pull towards the old weights: strength x (weight - old weight)."""
    from bessemer.engine.job import backpropagate

    def gradients(job: Job, batches: list[Batch], step: int) -> list[Loss]:
        losses = backpropagate(job, batches, step)
        for name, value in job.network.named_parameters():
            if value.grad is not None:
                value.grad.add_(value.detach() - start[name], alpha=strength)
        return losses

    return gradients


def _mixed(config: Update, method: str, places: Places, run: RunContext) -> Path:
    """Write the rows that one method learns from, and the rows that choose its weights; return their folder."""
    import numpy as np

    mix = places.state / "rows"
    shutil.rmtree(mix, ignore_errors=True)
    copy_columns(places.old, mix)
    writer = ShardWriter(mix / "train")
    for table in ShardReader(places.fresh / "train").tables():
        writer.add(table)
    names = next(ShardReader(places.fresh / "train").tables(rows=1)).column_names
    if method in ("replay", "both"):
        for table in replayed(config.replay_rows, places.old, places.data, run.seed):
            writer.add(table.select(names))
    writer.close()
    writer = ShardWriter(mix / "validation")
    reader = ShardReader(places.data / "validation")
    new = ShardReader(places.fresh / "choose")
    positions = np.unique(np.linspace(0, len(reader) - 1, min(len(reader), config.rows)).astype(np.int64))[0::2]
    writer.add(reader.take(positions, names))
    writer.add(new.take(np.arange(len(new)), names))
    writer.close()
    return mix


def replayed(rows: int, old: Path, data: Path, seed: int) -> Iterator[pa.Table]:
    """Yield old training rows: those kept with the model, or, of a model that keeps none, of the data that it was trained on."""
    import numpy as np

    from bessemer.stages._streams import STREAM as STREAMED

    if (old / REPLAY).is_dir():
        folder = old / REPLAY
    elif (data / "train" / STREAMED).is_file():
        raise UserError(f"'{old}' keeps no old rows (replay_rows is 0) and its training rows were a stream; train it with replay_rows, or "
                        "leave out the methods 'replay' and 'both'")
    else:
        folder = data / "train"
    reader = ShardReader(folder)
    order = np.random.Generator(np.random.Philox(key=[seed, 2**34])).permutation(len(reader))
    yield reader.take(np.sort(order[:rows]))


def keep(config: Update, old: Path, data: Path, fresh: Path, out: Path, run: RunContext) -> int:
    """Keep a sample of old and new rows with the updated model, each in its share of all rows kept; return how many."""
    import numpy as np
    import pyarrow as pa

    new = ShardReader(fresh / "train")
    fresh_rows = new.take(np.arange(min(len(new), config.replay_rows)))
    tables = [fresh_rows]
    if (old / REPLAY).is_dir():
        tables.append(pa.concat_tables([table.select(fresh_rows.column_names) for table in ShardReader(old / REPLAY).tables()]))
    whole = pa.concat_tables(tables)
    limit = max(len(tables[-1]), min(len(whole), config.replay_rows))
    order = np.random.Generator(np.random.Philox(key=[run.seed, 2**35])).permutation(len(whole))
    writer = ShardWriter(out / REPLAY)
    writer.add(whole.take(pa.array(np.sort(order[:limit]))))
    writer.close()
    return writer.total


def drift(old: Path, data: Path, fresh: Path) -> list[dict[str, Any]]:
    """Return how far the new rows are from the old ones in every column of a table, the most changed first; of text nothing."""
    from bessemer.data.profile import profile

    schema = Schema.load(old)
    if not is_table(schema):
        return []
    before = ShardReader(old / REPLAY if (old / REPLAY).is_dir() else data / "validation").tables()
    after = ShardReader(fresh / "train").tables()
    found = profile(with_years(before, schema, old), with_years(after, schema, old), schema,
                    tuple(column.name for column in schema.by_role(Role.TARGET)))
    rows = [{"column": name, **(item.get("drift") or {})} for name, item in found["columns"].items()]
    return sorted(rows, key=lambda row: -(row.get("psi") or 0.0))
