"""evaluate: score every form of every model on the test split in one look, with intervals, pairs and what it costs to run them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from bessemer.core.artifact import write_atomic
from bessemer.core.errors import UserError
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import Cost, RunContext, host

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Predictor

REHEARSED_ROWS = 64
SHOWN = 12
LATENCY_ROUNDS = 60


class Evaluate(StageConfig):
    """Scores on one split."""

    needs: ClassVar[tuple[str, ...]] = ("data", "models")

    data: str = "prepare"
    """The prepared data."""
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("finetune",)
    """Stages whose models are scored; the first is the one that every other is compared with."""
    split: Literal["test", "validation"] = "test"
    """The rows to score."""
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Bootstrap resamples behind each interval."""


@register("stages", "evaluate")
def evaluate(config: Evaluate, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write `scores.json` (what the rows decide), `results.json` (that and what the clock decides), examples and probabilities."""
    from bessemer.core.forms import open_form, read_forms
    from bessemer.core.schema import Role, Schema
    from bessemer.stages._learning import use_threads

    data = inputs["data"]
    schema = Schema.load(data)
    labels = schema.by_role(Role.TARGET)[0].labels
    table, truth, overlap = _rows(data, config.split, run)
    if not len(truth):
        raise UserError(f"the {config.split} split has no rows, so nothing can be scored; give prepare's split a '{config.split}' part")
    forms: dict[str, tuple[Predictor, dict[str, Any]]] = {}
    for index, stage in enumerate(config.models):
        folder = inputs[f"models.{index}"]
        if Schema.load(folder).by_role(Role.TARGET)[0].labels != labels:
            raise UserError(f"models: '{stage}' was trained on other labels than '{config.data}' has; train it on this data")
        for form in read_forms(folder):
            name = f"{stage} {form.name}"
            size = sum((folder / file).stat().st_size for file in form.files)
            forms[name] = (open_form(folder, form.name), {
                "form": name, "name": form.name, "stage": stage, "size_bytes": size, "lossy": form.lossy})
    if any(entry["name"].startswith("torch") for _, entry in forms.values()):
        use_threads(run)
    outputs = _predict(forms, table, run)
    looks = _count_look(run, config.split)
    scores = _score(config, run, labels, truth, outputs, overlap)
    for name, (_, entry) in forms.items():
        scores["forms"][name] = {**entry, **scores["forms"][name]}
    scores.update({"split": config.split, "seed": run.seed, "test_looks": looks, "reference": next(iter(forms)),
                   "examples": {name: _examples(schema, table, truth, found, labels) for name, found in outputs.items()}})
    _write(out / "scores.json", scores)
    latency = _latency(forms, table, run)
    run.timing("latency_ms", latency)
    timed = [{"metric": "latency", "form": name, "value": item["median"], "p95": item["p95"], "unit": "ms", "batch": 1,
              "split": config.split, "rows": item["rounds"], "seed": run.seed} for name, item in latency.items()]
    _write(out / "results.json", {"results": [*_flat(scores), *timed], "latency_ms": latency, "host": host()})
    run.publish("results.json", volatile=True)
    return {"rows": len(truth), "split": config.split, "test_looks": looks,
            "forms": {name: {"accuracy": item["metrics"]["accuracy"], "size_bytes": item["size_bytes"]}
                      for name, item in scores["forms"].items()}}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _rows(data: Path, split: str, run: RunContext) -> tuple[pa.Table, np.ndarray, np.ndarray | None]:
    """Return the raw inputs, the codes int [N] and, for splits as given, which rows also occur in training, bool [N]."""
    import numpy as np

    from bessemer.core.schema import Role, Schema
    from bessemer.data.shards import ShardReader

    schema = Schema.load(data)
    reader = ShardReader(data / split)
    count = len(reader)
    if run.rehearsal and count > REHEARSED_ROWS:
        positions = np.linspace(0, count - 1, REHEARSED_ROWS).astype(np.int64)
    else:
        positions = np.arange(count)
    table = reader.take(positions)
    overlap = table.column("overlap").to_numpy() if "overlap" in table.column_names else None
    return (table.select([column.name for column in schema.by_role(Role.INPUT)]),
            table.column(schema.by_role(Role.TARGET)[0].name).to_numpy(), overlap)


def _predict(forms: Mapping[str, tuple[Predictor, dict[str, Any]]], table: pa.Table, run: RunContext) -> dict[str, np.ndarray]:
    import numpy as np

    outputs = {}
    with run.progress("score", table.num_rows * len(forms), "rows") as progress:
        for name, (predictor, _) in forms.items():
            started = time.perf_counter()
            parts = []
            for chunk in _chunks(table):
                run.check()
                parts.append(predictor.predict(chunk).probabilities)
                progress.advance(chunk.num_rows)
            outputs[name] = np.concatenate(parts)
            rows = run.input_manifests["data"].facts.get("rows", {}).get("test", table.num_rows)
            run.cost(Cost(f"score {name}", time.perf_counter() - started, table.num_rows, max(rows, table.num_rows)))
    return outputs


def _chunks(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, 1024):
        yield table.slice(start, 1024)


def _count_look(run: RunContext, split: str) -> int:
    """Count this look at the test rows: one for every different evaluation of the same data, however often it is repeated."""
    if split != "test":
        return 0
    file = run.root / "test_looks.json"
    seen: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    looks = sorted({*seen.get(run.input_manifests["data"].key, []), run.key})
    write_atomic(file, json.dumps({**seen, run.input_manifests["data"].key: looks}, indent=1) + "\n")
    return len(looks)


def _score(config: Evaluate, run: RunContext, labels: tuple[str, ...], truth: np.ndarray, outputs: Mapping[str, np.ndarray],
           overlap: np.ndarray | None) -> dict[str, Any]:
    from bessemer.evaluate.paired import paired
    from bessemer.evaluate.score import score

    resamples = 100 if run.rehearsal else config.resamples
    started = time.perf_counter()
    forms: dict[str, Any] = {}
    pairs = []
    names = list(outputs)
    for name in names:
        run.check()
        forms[name] = score(truth, outputs[name], labels, run.seed, resamples)
        if overlap is not None and overlap.any() and not overlap.all():
            forms[name]["without_overlap"] = {
                "rows": int((~overlap).sum()),
                "metrics": score(truth[~overlap], outputs[name][~overlap], labels, run.seed, resamples)["metrics"]}
        if name != names[0]:
            pairs.append({"a": names[0], "b": name, **paired(truth, outputs[names[0]], outputs[name], run.seed, resamples)})
    spent = time.perf_counter() - started
    run.cost(Cost("intervals", spent, resamples, config.resamples))
    return {"forms": forms, "pairs": pairs}


def _examples(schema: Any, table: pa.Table, truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the first rows with their predictions and the most confident errors."""
    import numpy as np

    from bessemer.evaluate.score import most_confident_errors

    column = schema.by_role("input")[0].name

    def shown(positions: np.ndarray) -> list[dict[str, Any]]:
        guess = probabilities[positions].argmax(axis=1)
        texts = table.column(column).take(positions).to_pylist()
        return [{"text": text[:500], "truth": labels[truth[row]], "prediction": labels[code],
                 "probability": round(float(probabilities[row, code]), 6)}
                for text, row, code in zip(texts, positions, guess, strict=True)]

    some = np.unique(np.linspace(0, len(truth) - 1, min(SHOWN, len(truth))).astype(np.int64))
    return {"predictions": shown(some), "errors": shown(most_confident_errors(truth, probabilities, SHOWN))}


def _latency(forms: Mapping[str, tuple[Predictor, dict[str, Any]]], table: pa.Table, run: RunContext) -> dict[str, Any]:
    """Time one row at a time, raw text in, probabilities out, the forms in turn: milliseconds, median and 95th percentile."""
    import numpy as np

    rounds = 4 if run.rehearsal else LATENCY_ROUNDS
    positions = np.linspace(0, table.num_rows - 1, rounds).astype(np.int64)
    taken: dict[str, list[float]] = {name: [] for name in forms}
    started = time.perf_counter()
    for position in positions:
        run.check()
        row = table.slice(int(position), 1)
        for name, (predictor, _) in forms.items():
            before = time.perf_counter()
            predictor.predict(row)
            taken[name].append((time.perf_counter() - before) * 1000)
    run.cost(Cost("latency", time.perf_counter() - started, rounds, LATENCY_ROUNDS))
    return {name: {"median": round(float(np.median(values)), 3), "p95": round(float(np.percentile(values, 95)), 3),
                   "batch": 1, "rounds": rounds} for name, values in taken.items()}


def _flat(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry a number: metric, split, form, value, interval, rows, seed."""
    common = {"split": scores["split"], "seed": scores["seed"]}
    found = []
    for name, item in scores["forms"].items():
        for metric, value in item["metrics"].items():
            found.append({"metric": metric, "form": name, **common, **value, "rows": item["rows"], "resamples": item["resamples"]})
        for metric, value in item.get("without_overlap", {}).get("metrics", {}).items():
            found.append({"metric": metric, "form": name, **common, "split": f"{scores['split']} without rows that occur in training",
                          **value, "rows": item["without_overlap"]["rows"], "resamples": item["resamples"]})
        found.append({"metric": "size", "form": name, "value": item["size_bytes"], "unit": "bytes", **common, "rows": item["rows"]})
    for pair in scores["pairs"]:
        for metric in ("accuracy", "f1"):
            entry = pair[metric]
            found.append({"metric": f"{metric} difference", "form": pair["a"], "peer": pair["b"], **common, "value": entry["difference"],
                          "low": entry["low"], "high": entry["high"], "verdict": entry["verdict"], "rows": pair["rows"]})
    return found
