"""noise: which labels look wrong, and so how much is left to gain: every row is judged by a model that was fitted without it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import Pick, make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import Cost, RunContext
from bessemer.core.schema import Role

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.schema import Column, Schema
    from bessemer.core.types import Answer
    from bessemer.evaluate.noise import LabelNoise

SPLITS = ("train", "validation")
SHOWN = 50
EVERY = 8
"""Of the rows that a fold's model is fitted on, every so manieth of a label chooses the model's settings."""


class Noise(StageConfig):
    """A search for wrong labels."""

    needs: ClassVar[tuple[str, ...]] = ("data",)

    data: str = "prepare"
    """The prepared data; its training and validation rows are judged, the test rows are not looked at."""
    model: Annotated[Config, Pick("models")] | None = None
    """What judges, fitted once for each fold: a model that is no network (tfidf_linear, probe; of tables lightgbm, linear). By default
    tfidf_linear, of tables lightgbm. The better it is, the better the estimate."""
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Parts of the rows; each is judged by a model fitted on the others."""
    target: str | None = None
    """The target whose labels are judged, where there are several with one label a row; by default the first."""


@register("stages", "noise", revision=2)
def noise(config: Noise, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write `noise.json` and `suspects.csv`, the rows whose label looks wrong, the surest first; return facts."""
    import numpy as np

    from bessemer.core.schema import Schema
    from bessemer.evaluate.noise import label_noise
    from bessemer.evaluate.score import score
    from bessemer.stages._streams import STREAM

    data = inputs["data"]
    if (data / "train" / STREAM).is_file():
        raise UserError("data: rows are judged several times, and these are a stream; prepare some of them with 'prepare'")
    schema = Schema.load(data)
    column = _target(schema, config.target)
    code_N = np.concatenate([table[column.name].to_numpy() for table in _tables(data, [column.name])]).astype(np.int64)
    fold_N = folds_of(code_N, config.folds, run.seed)
    if not (fold_N >= 0).any():
        raise UserError(f"no label of '{column.name}' has {config.folds} rows or more, so none can be judged; set fewer folds or give more "
                        "rows")
    judged, answer = _judged(config, schema, data, column, (code_N, fold_N), run)
    found = label_noise(code_N[judged], answer.values, run.seed)
    accuracy = score(code_N[judged], answer, run.seed, 100 if run.rehearsal else 1000)["metrics"]["accuracy"]
    suspects = judged[found.suspects]
    ceiling = 1 - found.share if 1 - found.share >= accuracy["value"] else None
    sentence = told(column, found, accuracy["value"], ceiling)
    kind = plugin_of("models", config.model or _default(schema)).name
    rows = _written(out / "suspects.csv", schema, data, column, (suspects, code_N, found, answer.values), run)
    kept = {"target": column.name, "model": kind, "folds": config.folds, "seed": run.seed, "splits": list(SPLITS), "rows": len(judged),
            "left_out": int((fold_N < 0).sum()), "accuracy": accuracy, "ceiling": ceiling, "noise": {"value": found.share, "low": found.low,
            "high": found.high}, "labels": list(column.labels), "joint": found.joint.round(6).tolist(), "suspects": len(suspects),
            "sentence": sentence, "shown": rows}
    (out / "noise.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    run.publish("suspects.csv")
    run.note(f"{sentence}; {len(suspects):,} rows in suspects.csv")
    return {name: kept[name] for name in ("target", "model", "folds", "rows", "left_out", "accuracy", "ceiling", "noise", "suspects")}


def told(column: Column, found: LabelNoise, agreed: float, ceiling: float | None) -> str:
    """Return what was found, in words; where the judge agrees with more labels than would be right, that this says more of the judge."""
    import numpy as np

    share = f"{found.share:.1%} [{found.low:.1%}, {found.high:.1%}] of the labels of '{column.name}'"
    if ceiling is not None:
        return (f"{share} look wrong or open to dispute: a model that is right about every row would agree with some {ceiling:.3f} of the "
                f"labels; the judge agrees with {agreed:.3f}")
    given, taken = np.unravel_index((found.joint * (1 - np.eye(len(found.joint)))).argmax(), found.joint.shape)
    return (f"{share} look wrong to a judge that itself agrees with {agreed:.3f} of them, more than so many wrong labels would allow: it "
            f"confuses classes (most often it takes '{column.labels[given]}' for '{column.labels[taken]}'), so how many labels are wrong, "
            "and how many a perfect model would agree with, cannot be told from it; a better judge (model) may tell")


def folds_of(code_N: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, int64 [N]; of each label the rows are dealt out in turn.

    -1: of a label that has fewer rows than there are folds (always learnt from, never judged); -2: without a label.
    """
    import numpy as np

    rank_N = ranks(code_N, seed)
    rows_C = np.bincount(code_N[code_N >= 0], minlength=1)
    return np.where(code_N < 0, -2, np.where(rows_C[np.maximum(code_N, 0)] < folds, -1, rank_N % folds))


def ranks(code_N: np.ndarray, seed: int) -> np.ndarray:
    """Return each row's place among the rows of its label, in an order drawn by the seed, int64 [N]."""
    import numpy as np

    drawn_N = np.random.default_rng(seed).permutation(len(code_N))
    order = np.lexsort((drawn_N, code_N))
    sorted_N = code_N[order]
    begins = np.flatnonzero(np.r_[True, sorted_N[1:] != sorted_N[:-1]]) if len(order) else np.zeros(0, np.int64)
    found = np.empty(len(code_N), np.int64)
    found[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    return found


def _target(schema: Schema, name: str | None) -> Column:
    labels = [column for column in schema.by_role(Role.TARGET) if column.modality["kind"] == "category"]
    if not labels:
        raise UserError("data: no target has one label a row, so there are no labels to judge")
    found = next((column for column in labels if name in (None, column.name)), None)
    if found is None:
        raise UserError(f"target: '{name}' is no target with one label a row; there are {', '.join(column.name for column in labels)}")
    return found


def _default(schema: Schema) -> Config:
    from bessemer.stages._tables import is_table

    return make("models", "lightgbm" if is_table(schema) else "tfidf_linear")


def _tables(data: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    from bessemer.data.shards import ShardReader

    for split in SPLITS:
        if (data / split).is_dir():
            yield from ShardReader(data / split).tables(columns)


def _chosen(data: Path, kept_N: np.ndarray) -> Iterator[pa.Table]:
    """Yield the rows that are kept, bool [N]."""
    import pyarrow as pa

    start = 0
    for table in _tables(data):
        yield table.filter(pa.array(kept_N[start:start + table.num_rows]))
        start += table.num_rows


def _judged(config: Noise, schema: Schema, data: Path, column: Column, rows: tuple[np.ndarray, np.ndarray],
            run: RunContext) -> tuple[np.ndarray, Answer]:
    """Return the positions of the rows that have a fold (in a rehearsal, of the first fold), and the answers to them by models that have
    not seen them.
    """
    import numpy as np

    from bessemer.core.forms import open_form
    from bessemer.core.heads import joined, part_of
    from bessemer.stages._fitting import fit_folder

    code_N, fold_N = rows
    inner_N = (ranks(code_N, run.seed) // config.folds) % EVERY == EVERY - 1
    names = [item.name for item in schema.by_role(Role.INPUT)]
    answers, places = [], []
    for fold in range(1 if run.rehearsal else config.folds):
        run.check()
        started = time.perf_counter()
        known_N = (fold_N != fold) & (fold_N != -2)
        valid_N = known_N & inner_N if (known_N & inner_N).any() else known_N
        folder = run.scratch / f"fold-{fold}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with run.progress(f"fold {fold + 1} of {config.folds}", None, "candidates"):
            fit_folder(config.model or _default(schema), data,
                       (partial(_chosen, data, known_N & ~inner_N), partial(_chosen, data, valid_N)), folder, run, column.name)
        predictor = open_form(folder)
        held = [predictor.predict(table.select(names))[column.name] for table in _chosen(data, fold_N == fold) if table.num_rows]
        answers.append(joined([{column.name: item} for item in held])[column.name])
        places.append(np.flatnonzero(fold_N == fold))
        run.cost(Cost("folds", time.perf_counter() - started, 1, config.folds))
    whole, place_N = joined([{column.name: item} for item in answers])[column.name], np.concatenate(places)
    order = np.argsort(place_N, kind="stable")
    return place_N[order], part_of(whole, order)


def _written(file: Path, schema: Schema, data: Path, column: Column, found: tuple[Any, ...], run: RunContext) -> list[dict[str, Any]]:
    """Write every suspect to a table; return the first of them as the report shows them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    suspects, code_N, noise_found, values_NC = found
    names = [item.name for item in schema.by_role(Role.INPUT)]
    mask = np.zeros(len(code_N), bool)
    mask[suspects] = True
    few = pa.concat_tables([table.select(["row_id", *names]) for table in _chosen(data, mask)])
    back = np.searchsorted(np.sort(suspects), suspects)
    few = few.take(pa.array(back))
    place = noise_found.suspects
    likely = noise_found.likely[place]
    source, row = _sources(few["row_id"].to_numpy(), run)
    labels = np.array(column.labels, dtype=object)
    table = pa.table({"source": source, "row_read": row, **{name: _flat(few[name]) for name in names},
                      column.name: pa.array(labels[code_N[suspects]], pa.string()), "likely": pa.array(labels[likely], pa.string()),
                      "probability_of_label": pa.array(values_NC[place, code_N[suspects]].astype(np.float64).round(4)),
                      "probability_of_likely": pa.array(values_NC[place, likely].astype(np.float64).round(4))})
    csv.write_csv(table, file)
    shown = table.slice(0, SHOWN).to_pylist()
    return [{"row": {name: None if item[name] is None else str(item[name])[:500] for name in names}, "label": item[column.name],
             "likely": item["likely"], "confidence": item["probability_of_likely"]} for item in shown]


def _flat(values: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return a column as a CSV file can hold it: lists as JSON."""
    import pyarrow as pa

    if not pa.types.is_nested(values.type):
        return values
    return pa.array([None if item is None else json.dumps(item) for item in values.to_pylist()], pa.string())


def _sources(ids_N: np.ndarray, run: RunContext) -> tuple[pa.Array, pa.Array]:
    """Return each row's source and its place among the rows that were read of it, from 1."""
    import numpy as np
    import pyarrow as pa

    sources = run.input_manifests["data"].facts.get("sources", [])
    if not sources:
        return pa.nulls(len(ids_N), pa.string()), pa.array(ids_N + 1)
    ends = np.cumsum([int(item["rows_in"]) - int(item.get("not_selected", 0)) for item in sources])
    which = np.minimum(np.searchsorted(ends, ids_N, side="right"), len(sources) - 1)
    begins = np.r_[0, ends[:-1]]
    return pa.array(np.array([item["name"] for item in sources], dtype=object)[which], pa.string()), pa.array(ids_N - begins[which] + 1)
