"""Gather: from finished artifacts to the values that a report and a model card show."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core import artifact
from bessemer.core.artifact import TIMINGS, Manifest
from bessemer.core.errors import UserError
from bessemer.stages._gather_columns import profiled, updated
from bessemer.stages._gather_front import fronted
from bessemer.stages._gather_noise import suspected

if TYPE_CHECKING:
    from bessemer.report import data as shown
    from bessemer.report.data import Example
    from bessemer.report.sheets import Comparison, Evaluation, Form, Overlap

PACKAGES = ("bessemer", "torch", "transformers", "tokenizers", "onnxruntime", "scikit-learn", "pyarrow", "duckdb", "numpy")
QUARANTINE_SHOWN = 20
CURVE_POINTS = 400


def gather(root: Path, stages: Mapping[str, Path], *, timings: bool) -> shown.ReportData:
    """Read what the stages found.

    Args:
        root: the run's folder.
        stages: stage name -> its artifact's folder, in the recipe's order.
        timings: whether to show what a clock or a host decided; a model card does not.
    """
    from bessemer.report import data as shown

    manifests = {name: _manifest(folder) for name, folder in stages.items()}
    scores = _first(stages, manifests, "evaluate", "scores.json")
    latency = _latency(stages, manifests) if timings else {}
    parts: dict[str, Any] = {}
    if scores is not None:
        parts.update(_scores(scores, latency, _final(manifests, scores)))
    prepared = next((name for name, item in manifests.items() if item.kind in ("prepare", "stream")), None)
    if prepared is not None:
        parts.update(_data(stages[prepared], manifests[prepared]))
        parts["columns"] = profiled(stages[prepared] / "profile.json")
        parts.update(_task(stages[prepared], scores))
    parts["updates"] = tuple(update for name, item in manifests.items() if item.kind == "update"
                             if (update := updated(name, stages[name] / "update.json")) is not None)
    parts["curves"] = tuple(_curve(name, stages[name], item) for name, item in manifests.items()
                            if (stages[name] / "curves.jsonl").is_file() and "best_step" in item.facts)
    parts["suspects"] = tuple(suspected(stages[name] / "noise.json") for name, item in manifests.items() if item.kind == "noise")
    recipe = root / "recipe.yaml"
    if timings:
        parts["fronts"] = tuple(front for folder in stages.values() if (front := fronted(folder / "front.json")) is not None)
        parts["stages"] = tuple(_cost(name, folder) for name, folder in stages.items())
        parts["host"] = _host(stages)
        parts["environment"] = _versions()
        parts["commands"] = _commands(root, parts.get("reads", "text"))
    if recipe.is_file() and timings:
        parts["recipe"] = recipe.read_text(encoding="utf-8")
    return shown.ReportData(title=root.name, card=_card(manifests), **parts)


def _manifest(folder: Path) -> Manifest:
    manifest = artifact.load_manifest(folder)
    if manifest is None:
        raise UserError(f"'{folder}' is no finished artifact; run the recipe again")
    return manifest


def _first(stages: Mapping[str, Path], manifests: Mapping[str, Manifest], kind: str, file: str) -> dict[str, Any] | None:
    name = next((name for name, item in manifests.items() if item.kind == kind), None)
    if name is None:
        return None
    found: dict[str, Any] = json.loads((stages[name] / file).read_text(encoding="utf-8"))
    return found


def _latency(stages: Mapping[str, Path], manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    found = _first(stages, manifests, "evaluate", "results.json")
    return found["latency_ms"] if found else {}


def _final(manifests: Mapping[str, Manifest], scores: Mapping[str, Any]) -> str:
    """Return the form that the run delivers: the export's, else the first compressed, else the first scored."""
    wanted = [str(item.facts["form"]) for item in manifests.values() if item.kind == "export"]
    wanted += [item["name"] for item in scores["forms"].values() if item["lossy"]]
    return next((name for name, item in scores["forms"].items() if item["name"] in wanted[:1]), str(scores["reference"]))


def _task(folder: Path, scores: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what a row is, and the task by Hugging Face's name."""
    from bessemer.core.schema import Role, Schema

    texts = any(column.modality["kind"] == "text" for column in Schema.load(folder).by_role(Role.INPUT))
    kind = next(iter(scores["forms"].values())).get("kind", "label") if scores else "label"
    if texts:
        return {"reads": "text", "task": "token-classification" if kind == "tags" else "text-classification"}
    return {"reads": "table", "task": "tabular-regression" if kind == "number" else "tabular-classification"}


def _scores(scores: Mapping[str, Any], latency: Mapping[str, Any], final: str) -> dict[str, Any]:
    from bessemer.report.sheets import Target

    reference = scores["reference"]
    base = latency.get(reference, {}).get("median")
    forms = []
    for name, item in scores["forms"].items():
        timed = latency.get(name, {})
        forms.append(_form(name, item, final).model_copy(update={
            "size_bytes": item["size_bytes"], "latency_median_ms": timed.get("median"), "latency_p95_ms": timed.get("p95"),
            "speedup": base / timed["median"] if base and timed.get("median") else None}))
    item = scores["forms"][final]
    further = item.get("others", {})
    others = tuple(Target(name=target, evaluation=_sheet(sheet, target), forms=tuple(
        _form(name, entry["others"][target], final) for name, entry in scores["forms"].items())) for target, sheet in further.items())
    examples = {key: tuple(_example(entry, item.get("kind", "label")) for entry in scores["examples"][final][key])
                for key in ("predictions", "errors")}
    return {"forms": tuple(forms), "reference": reference, "comparisons": _comparisons(scores, several=bool(further)),
            "evaluation": _sheet(item, str(item.get("target", "")) if further else ""), "others": others,
            "split": scores["split"], "looks": scores["test_looks"] or None, "overlaps": _overlaps(item),
            "examples": examples["predictions"], "errors": examples["errors"]}


def _form(name: str, sheet: Mapping[str, Any], final: str) -> Form:
    """Return a form with the scores of one target that stand first."""
    from bessemer.evaluate.score import headline
    from bessemer.report.part import Value
    from bessemer.report.sheets import Form

    metrics = {metric: Value(**sheet["metrics"][metric]) for metric in headline(sheet.get("kind", "label")) if metric in sheet["metrics"]}
    return Form(name=name, metrics=metrics, final=name == final)


def _sheet(item: Mapping[str, Any], target: str) -> Evaluation:
    from bessemer.report.sheets import Evaluation

    return Evaluation.model_validate({**{key: value for key, value in item.items() if key in Evaluation.model_fields}, "target": target})


def _comparisons(scores: Mapping[str, Any], *, several: bool) -> tuple[Comparison, ...]:
    from bessemer.evaluate.paired import COMPARED
    from bessemer.report.part import Value
    from bessemer.report.sheets import Comparison

    found = []
    for pair in scores["pairs"]:
        for index, metric in enumerate(COMPARED[pair.get("kind", "label")]):
            entry = pair[metric]
            found.append(Comparison(
                question=_question(pair, scores), a=pair["a"], b=pair["b"], a_value=entry["a"], b_value=entry["b"], metric=metric,
                target=pair["target"] if several else "",
                difference=Value(value=entry["difference"], low=entry["low"], high=entry["high"]),
                p=pair["mcnemar"]["p"] if "mcnemar" in pair and index == 0 else None, verdict=entry["verdict"]))
    return tuple(found)


def _question(pair: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    a, b = scores["forms"][pair["a"]], scores["forms"][pair["b"]]
    if b["stage"] == a["stage"] or b["lossy"] or b["name"].startswith("onnx"):
        return f"What does the form {pair['b']} lose?"
    return f"Is stage {a['stage']} better than stage {b['stage']}?"


def _example(entry: Mapping[str, Any], kind: str) -> Example:
    from bessemer.report.data import Example

    truth, row = entry["truth"], entry.get("row", {})
    return Example(
        text=entry["text"], row={name: _shown(value) for name, value in row.items()}, predicted=_shown(entry["prediction"]),
        confidence=entry["probability"], spread="" if entry.get("spread") is None else _shown(entry["spread"]),
        truth=None if truth is None else _shown(truth), right=None if truth is None or kind == "number" else truth == entry["prediction"])


def _shown(value: Any) -> str:
    from bessemer.report.show import brief

    if isinstance(value, float):
        return brief(value)
    return "" if value is None else str(value)


def _overlaps(item: Mapping[str, Any]) -> tuple[Overlap, ...]:
    from bessemer.evaluate.paired import COMPARED
    from bessemer.report.part import Value
    from bessemer.report.sheets import Overlap

    without = item.get("without_overlap")
    if not without:
        return ()
    return tuple(Overlap(
        metric=metric, everything=Value(**item["metrics"][metric]), distinct=Value(**without["metrics"][metric]),
        rows=item["rows"], overlapping=item["rows"] - without["rows"]) for metric in COMPARED[item.get("kind", "label")])


def _data(folder: Path, manifest: Manifest) -> dict[str, Any]:
    from bessemer.report import data as shown

    facts = manifest.facts
    funnel = tuple(shown.Funnel(source=item["name"], rows_in=item["rows_in"], rejected=_left_out(item), rows_out=item["rows_out"])
                   for item in facts["sources"])
    counts = facts.get("splits", {})
    splits = tuple(shown.Split(name=name, rows=int(facts["rows"][name]), labels=counts.get(name) or {}) for name in facts["rows"])
    return {"funnel": funnel, "splits": splits, "quarantine": _quarantine(folder),
            "data_name": ", ".join(item.source for item in funnel)}


def _left_out(source: Mapping[str, Any]) -> dict[str, int]:
    """Return why rows of a source are not used: quarantined by reason, not selected by `where`, not drawn by `limit`."""
    asked = {"not selected by the recipe": source["not_selected"], "not drawn (limit)": source["not_sampled"]}
    return {**source["rejected"], **{reason: count for reason, count in asked.items() if count}}


def _quarantine(folder: Path) -> tuple[shown.Quarantined, ...]:
    import pyarrow.parquet as parquet

    from bessemer.report import data as shown

    file = folder / "quarantine.parquet"
    if not file.is_file():
        return ()
    table = next(parquet.ParquetFile(file).iter_batches(QUARANTINE_SHOWN, columns=["source", "row", "reason", "content"]), None)
    if table is None:
        return ()
    return tuple(shown.Quarantined(**{**row, "content": row["content"] or ""}) for row in table.to_pylist())


def _curve(name: str, folder: Path, manifest: Manifest) -> shown.Curve:
    from bessemer.report import data as shown

    points = [json.loads(line) for line in (folder / "curves.jsonl").read_text(encoding="utf-8").splitlines()]
    step = max(1, len(points) // CURVE_POINTS)
    kept = [point for index, point in enumerate(points) if index % step == 0 or any(key.startswith("validation") for key in point)]
    alarm = manifest.facts.get("overfitting")
    return shown.Curve(stage=name, points=tuple(kept), alarm=alarm["message"] if alarm else "", best_step=manifest.facts["best_step"])


def _timings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / TIMINGS).read_text(encoding="utf-8"))
    return found


def _cost(name: str, folder: Path) -> shown.Stage:
    from bessemer.report import data as shown

    timings = _timings(folder)
    return shown.Stage(name=name, seconds=timings["seconds"], peak_memory_bytes=timings["peak_memory_bytes"],
                       disk_bytes=artifact.folder_size(folder))


def _host(stages: Mapping[str, Path]) -> dict[str, str]:
    return {key: str(value) for key, value in _timings(list(stages.values())[-1])["host"].items()}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commands(root: Path, reads: str) -> tuple[shown.Command, ...]:
    from bessemer.report import data as shown

    run = f"runs/{root.name}" if root.parent.name == "runs" else root.name
    ask = f'bessemer predict {run} "a text of yours"' if reads == "text" else f"bessemer predict {run} --file FILE"
    return (shown.Command(command=ask, about="ask the delivered form"),
            shown.Command(command=f"bessemer evaluate {run} --data FILE", about="score it on other labelled rows"),
            shown.Command(command=f"bessemer doctor {run}", about="verify every checksum"))


def _card(manifests: Mapping[str, Manifest]) -> shown.Card:
    from bessemer.report import data as shown

    sentences = [f"Stage {name}: task {item.facts['task']}, {item.facts['rows']:,} rows, {item.facts['steps']:,} steps, "
                 f"{item.facts['parameters']:,} parameters ({item.facts['trainable_parameters']:,} trained)."
                 for name, item in manifests.items() if "trainable_parameters" in item.facts]
    sentences += [f"Stage {name}: model {item.facts['model']}, {item.facts['num_train_rows']:,} rows, {item.facts['num_features']:,} "
                  "features." for name, item in manifests.items() if {"model", "num_train_rows", "num_features"} <= item.facts.keys()]
    return shown.Card(training=" ".join(sentences), tags=("bessemer",))
