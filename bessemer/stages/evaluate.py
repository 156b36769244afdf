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
from bessemer.core.schema import Role
from bessemer.stages._blended import made_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.schema import Schema
    from bessemer.core.types import Answer, Predictor

REHEARSED_ROWS = 64
SHOWN = 12
SHOWN_COLUMNS = 6
LATENCY_ROUNDS = 60
LATENCY_SECONDS = 20.0


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
    abstention_rows: Annotated[int, Field(ge=0, le=1_000_000)] = 2000
    """Validation rows at most that choose above which probability a label is sure enough to be given, for each part of the rows that is
    to be answered (`bessemer predict --coverage`); 0 leaves that out. For test rows alone."""


@register("stages", "evaluate")
def evaluate(config: Evaluate, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write `scores.json` (what the rows decide), `results.json` (that and what the clock decides), examples and probabilities."""
    from bessemer.core.forms import open_form, read_forms
    from bessemer.core.schema import Schema
    from bessemer.measure.size import size
    from bessemer.stages._learning import use_threads

    data = inputs["data"]
    schema = Schema.load(data)
    table, truths, overlap = _rows(data, config.split, run)
    if not table.num_rows:
        raise UserError(f"the {config.split} split has no rows, so nothing can be scored; give prepare's split a '{config.split}' part")
    forms: dict[str, tuple[Predictor, dict[str, Any]]] = {}
    for index, stage in enumerate(config.models):
        folder = inputs[f"models.{index}"]
        if _targets(Schema.load(folder)) != _targets(schema):
            raise UserError(f"models: '{stage}' was trained on other targets or labels than '{config.data}' has; train it on this data")
        for form in read_forms(folder):
            name = f"{stage} {form.name}"
            forms[name] = (open_form(folder, form.name), {
                "form": name, "name": form.name, "stage": stage, "size_bytes": size(folder, form.name)["form"],
                "lossy": form.lossy})
    if any("torch" in entry["name"] for _, entry in forms.values()):
        use_threads(run)
    outputs = _predict(forms, table, run)
    looks = _count_look(run, config.split)
    scores = _score(config, run, truths, outputs, overlap)
    for name, item in _sure(config, data, forms, (truths, outputs), run).items():
        scores["forms"][name]["abstention"] = item
    for name, (_, entry) in forms.items():
        scores["forms"][name] = {**entry, **scores["forms"][name]}
    scores.update({"split": config.split, "seed": run.seed, "test_looks": looks, "reference": next(iter(forms)),
                   "examples": {name: _examples(table, truths, found) for name, found in outputs.items()}})
    _write(out / "scores.json", scores)
    latency = _latency(forms, table, run)
    run.timing("latency_ms", latency)
    timed = [{"metric": "latency", "form": name, "value": item["median"], "p95": item["p95"], "unit": "ms", "batch": 1,
              "split": config.split, "rows": item["rounds"], "seed": run.seed} for name, item in latency.items()]
    _write(out / "results.json", {"results": [*_flat(scores), *timed], "latency_ms": latency, "host": host()})
    run.publish("results.json", volatile=True)
    return {"rows": table.num_rows, "split": config.split, "test_looks": looks,
            "forms": {name: {**{metric: item["metrics"][metric] for metric in _first(item["kind"])}, "size_bytes": item["size_bytes"]}
                      for name, item in scores["forms"].items()}}


def _sure(config: Evaluate, data: Path, forms: Mapping[str, tuple[Predictor, dict[str, Any]]],
          scored: tuple[Mapping[str, np.ndarray], Mapping[str, dict[str, Answer]]], run: RunContext) -> dict[str, Any]:
    """Return form -> target -> accuracy where only sure answers are given, thresholds chosen on validation rows."""
    from bessemer.evaluate.abstention import accuracy_at_coverage
    from bessemer.stages.compress import validation_rows

    truths, outputs = scored
    labels = [name for name, answer in next(iter(outputs.values())).items() if answer.kind == "label"]
    if config.split != "test" or not config.abstention_rows or not labels or not (data / "validation").is_dir():
        return {}
    table, known = validation_rows(data, REHEARSED_ROWS if run.rehearsal else config.abstention_rows)
    if not table.num_rows:
        return {}
    answers = _predict(forms, table, run, "find thresholds")
    return {name: {target: accuracy_at_coverage((known[target], answers[name][target].values),
                                                (truths[target], outputs[name][target].values), run.seed, config.resamples)
                   for target in labels} for name in forms}


def _first(kind: str) -> tuple[str, ...]:
    """Return the metric that a form is known by."""
    from bessemer.evaluate.score import headline

    return headline(kind)[:1]


def _targets(schema: Schema) -> list[tuple[str, tuple[str, ...]]]:
    return [(column.name, column.labels) for column in schema.by_role(Role.TARGET)]


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _rows(data: Path, split: str, run: RunContext) -> tuple[pa.Table, dict[str, np.ndarray], np.ndarray | None]:
    """Return the raw inputs, each target's truth and, for splits as given, which rows also occur in training, bool [N]."""
    import numpy as np

    from bessemer.data.shards import ShardReader
    from bessemer.stages.compress import raw_rows

    reader = ShardReader(data / split)
    count = len(reader)
    rehearsed = run.rehearsal and count > REHEARSED_ROWS
    positions = np.linspace(0, count - 1, REHEARSED_ROWS).astype(np.int64) if rehearsed else np.arange(count)
    overlap = reader.rows("overlap", positions) if "overlap" in reader.columns else None
    return (*raw_rows(data, split, positions), overlap)


def _predict(forms: Mapping[str, tuple[Predictor, dict[str, Any]]], table: pa.Table, run: RunContext,
             what: str = "score") -> dict[str, dict[str, Answer]]:
    from bessemer.core.heads import joined

    outputs = {}
    blends = made_of(forms, run)
    with run.progress(what, table.num_rows * (len(forms) - len(blends)), "rows") as progress:
        for name, (predictor, _) in forms.items():
            if name in blends:
                continue
            started = time.perf_counter()
            parts = []
            for chunk in _chunks(table):
                run.check()
                parts.append(predictor.predict(chunk))
                progress.advance(chunk.num_rows)
            outputs[name] = joined(parts)
            rows = run.input_manifests["data"].facts.get("rows", {}).get("test", table.num_rows) if what == "score" else table.num_rows
            run.cost(Cost(f"{what} {name}", time.perf_counter() - started, table.num_rows, max(rows, table.num_rows)))
    for name, members in blends.items():
        outputs[name] = forms[name][0].mix([outputs[member] for member in members])  # type: ignore[attr-defined]
    return {name: outputs[name] for name in forms}


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


def _score(config: Evaluate, run: RunContext, truths: Mapping[str, np.ndarray], outputs: Mapping[str, dict[str, Answer]],
           overlap: np.ndarray | None) -> dict[str, Any]:
    """Return the sheet of every form (its first target's, others apart), and each form paired with the first."""
    from bessemer.core.heads import part_of
    from bessemer.evaluate.paired import paired
    from bessemer.evaluate.score import known_rows, score

    resamples = 100 if run.rehearsal else config.resamples
    started = time.perf_counter()
    forms: dict[str, Any] = {}
    pairs = []
    first = next(iter(outputs))
    for name, answers in outputs.items():
        sheets = {}
        for target, truth in truths.items():
            run.check()
            sheet = score(truth, answers[target], run.seed, resamples)
            if overlap is not None:
                rest = truth[~overlap], part_of(answers[target], ~overlap)
                count = len(known_rows(*rest)[0])
                if 0 < count < sheet["rows"]:  # of the rows that have this target
                    sheet["without_overlap"] = {"rows": count, "metrics": score(*rest, run.seed, resamples)["metrics"]}
            sheets[target] = sheet
            if name != first:
                pairs.append({"a": first, "b": name, "target": target,
                              **paired(truth, outputs[first][target], answers[target], run.seed, resamples)})
        main = next(iter(sheets))
        forms[name] = {"target": main, **sheets.pop(main), **({"others": sheets} if sheets else {})}
    run.cost(Cost("intervals", time.perf_counter() - started, resamples, config.resamples))
    return {"forms": forms, "pairs": pairs}


def _examples(table: pa.Table, truths: Mapping[str, np.ndarray], answers: Mapping[str, Answer]) -> dict[str, Any]:
    """Return some rows with their predictions, and the worst errors: the most confident, or the farthest off."""
    import numpy as np

    from bessemer.core.heads import shown
    from bessemer.evaluate.score import worst

    target, truth = next(iter(truths.items()))
    answer = answers[target]

    def rows(positions: np.ndarray) -> list[dict[str, Any]]:
        few = table.select(table.column_names[:SHOWN_COLUMNS]).take(positions).to_pylist()
        return [{"row": {name: _short(value) for name, value in row.items()}, "text": _line(row), **shown(answer, truth, int(position))}
                for row, position in zip(few, positions, strict=True)]

    some = np.unique(np.linspace(0, len(truth) - 1, min(SHOWN, len(truth))).astype(np.int64))
    return {"predictions": rows(some), "errors": rows(worst(truth, answer, SHOWN))}


def _short(value: Any) -> Any:
    """Return a value as the report shows it."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value if value is None or isinstance(value, (int, bool)) else str(value)[:500]


def _line(row: Mapping[str, Any]) -> str:
    """Return one line that shows a row: a text as it is, columns as `name=value`."""
    if len(row) == 1:
        return str(next(iter(row.values())))[:500]
    return ", ".join(f"{name}={_short(value)}" for name, value in row.items())[:500]


def _latency(forms: Mapping[str, tuple[Predictor, dict[str, Any]]], table: pa.Table, run: RunContext) -> dict[str, Any]:
    """Time one row at a time, raw text in, probabilities out, the forms in turn: milliseconds, median and 95th percentile.

    Where that takes more than 20 seconds in all, it ends early; `rounds` says how many rows were timed.
    """
    from bessemer.measure.latency import LEAST_ROUNDS, Effort, rounds, summary

    effort = Effort(LATENCY_SECONDS, 4 if run.rehearsal else LATENCY_ROUNDS, LEAST_ROUNDS, warm_up=0)
    started = time.perf_counter()
    with run.progress("latency", effort.rounds, "rows") as progress:

        def tick() -> None:
            run.check()
            progress.advance(1)

        found = {name: summary(times) for name, times in
                 rounds({name: predictor for name, (predictor, _) in forms.items()}, table, 1, effort, tick).items()}
    seconds, done = time.perf_counter() - started, next(iter(found.values()))["rounds"]
    run.cost(Cost("latency", seconds, done, min(LATENCY_ROUNDS, max(LEAST_ROUNDS, int(LATENCY_SECONDS * done / seconds)))))
    return {name: {"median": round(item["median_ms"], 3), "p95": round(item["p95_ms"], 3), "batch": 1, "rounds": item["rounds"]}
            for name, item in found.items()}


def _flat(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry a number: metric, split, form, value, interval, rows, seed."""
    common = {"split": scores["split"], "seed": scores["seed"]}
    found = []
    for name, item in scores["forms"].items():
        for target, sheet in {item["target"]: item, **item.get("others", {})}.items():
            known = {"form": name, "target": target}
            for metric, value in sheet["metrics"].items():
                found.append({"metric": metric, **known, **common, **value, "rows": sheet["rows"], "resamples": sheet["resamples"]})
            for metric, value in sheet.get("without_overlap", {}).get("metrics", {}).items():
                found.append({"metric": metric, **known, **common, **value, "rows": sheet["without_overlap"]["rows"],
                              "split": f"{scores['split']} without rows that occur in training", "resamples": sheet["resamples"]})
        for target, entries in item.get("abstention", {}).items():
            found += [{"metric": f"accuracy at coverage {entry['coverage']:g}", "form": name, "target": target, **common,
                       "value": entry["accuracy"], "low": entry["low"], "high": entry["high"], "rows": entry["rows"],
                       "threshold": entry["threshold"], "answered": entry["answered"]} for entry in entries]
        found.append({"metric": "size", "form": name, "value": item["size_bytes"], "unit": "bytes", **common, "rows": item["rows"]})
    for pair in scores["pairs"]:
        for metric, entry in pair.items():
            if isinstance(entry, dict) and "difference" in entry:
                found.append({"metric": f"{metric} difference", "form": pair["a"], "peer": pair["b"], "target": pair["target"], **common,
                              "value": entry["difference"], "low": entry["low"], "high": entry["high"], "verdict": entry["verdict"],
                              "rows": pair["rows"]})
    return found
