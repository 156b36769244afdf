"""python -m benchmarks.compress [SET ...] [--minutes m] [--arms a,b] [--folder f] [--report]: a network compressed to budgets.

Sets: r8, tweets, newsgroups (a fine-tuned minilm), adult (members). For each set the teacher is trained once, then each budget is searched,
then the table: bytes, latency in turn with torch float32 and with plain dynamic int8, and what is lost on the test rows, paired. `--arms`
adds the ablation (each way alone, each left out), `--students` the same student with and without distillation. Everything is an artifact
or a journal under --folder: a stopped run goes on where it was, and parts can be run one by one; `--report` writes results/compress.md
from what is there.

Time on two idle cores: the teacher of r8 4 min, tweets 9 min, newsgroups 14 min, adult 3 min; each budget --minutes (20) and 1 more for the
table; each arm of the ablation --arm-minutes (6).
"""

import argparse
import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from bessemer.api import run
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.core.run import RunResult, host
from bessemer.evaluate.paired import paired
from bessemer.measure.latency import Effort, latency
from bessemer.measure.size import size
from bessemer.stages.compress import raw_rows

MINILM = {"kind": "pretrained", "name": "minilm", "new_heads": True}


@dataclass(frozen=True)
class Set:
    """A data set, how its teacher is trained, and the budgets to compress it to."""

    prepare: dict[str, Any]
    finetune: dict[str, Any]
    budgets: Mapping[str, tuple[float, float, float]]
    """Name -> how many times smaller, how many times faster than the teacher in torch float32, and what may be lost."""
    unlabelled: tuple[dict[str, Any], ...] = ()
    """Further rows, whose labels nobody reads, that the teacher answers."""
    teachers: tuple[str, ...] = ("finetune",)
    """What answers where students are compared with such of labels alone: the network, or `baseline` beside it."""


def texts(name: str, length: int, epochs: float, **more: Any) -> Set:
    unlabelled, teachers = tuple(more.pop("unlabelled", ())), tuple(more.pop("teachers", ("finetune",)))
    prepare = {"sources": [{"kind": "catalogue", "name": name, **more.pop("source", {})}],
               "inputs": {"text": {"kind": "text", "max_length": length, "tokenizer": {"kind": "pretrained", "name": "minilm"}}},
               "targets": {"label": {"kind": "category"}}, **more}
    finetune = {"model": MINILM, "num_train_epochs": epochs, "learning_rate": 1e-4, "head_learning_rate": 1e-3, "replay_rows": 0,
                "bf16": "auto"}
    return Set(prepare, finetune, {"same family": (4, 6, 0.005), "any": (4, 30, 0.005)}, unlabelled, teachers)


NUMBERS = ("age", "fnlwgt", "education_years", "capital_gain", "capital_loss", "hours_per_week")
CODES = ("workclass", "education", "marital_status", "occupation", "relationship", "race", "sex", "native_country")
COLUMNS = {**{name: {"kind": "number"} for name in NUMBERS}, **{name: {"kind": "category"} for name in CODES}}
SETS = {
    "r8": texts("r8", 128, 3, split={"kind": "given", "column": "split"}),
    "tweets": texts("tweets", 64, 1, source={"where": {"label": ["positive", "negative"]}}, limit=22000,
                    split={"kind": "stratified", "validation": 4000, "test": 2000},  # half a point: 1.8 standard errors of a drop
                    unlabelled=[{"kind": "catalogue", "name": "tweets", "where": {"label": ["neutral"]}}]),
    "newsgroups": texts("newsgroups", 256, 3, split={"kind": "given", "column": "split"}, teachers=("finetune", "baseline")),
    "adult": Set({"sources": [{"kind": "catalogue", "name": "adult"}], "inputs": COLUMNS, "targets": {"income": {"kind": "category"}},
                  "split": {"kind": "given", "column": "split"}},
                 {"model": {"kind": "members", "members": 16}, "num_train_epochs": 8, "learning_rate": 1.5e-3,
                  "per_device_train_batch_size": 256, "replay_rows": 0},
                 {"members": (4, 3, 0.003)})}
PLAIN = {"kind": "compress", "methods": ["dynamic_int8"], "max_accuracy_drop": 0.1, "min_agreement": 0.5}
ARMS: Mapping[str, dict[str, Any]] = {
    "methods alone": {"search": {"trials": 1, "minutes": 0.01}},
    "slim alone": {"search": {"students": ["slim"], "distil": False}, "methods": []},
    "slim, distilled": {"search": {"students": ["slim"]}, "methods": []},
    "all": {},
    "without distillation": {"search": {"distil": False}},
    "without copies": {"search": {"copies": 0}},
    "without further rows": {"search": {"unlabelled": []}},
    "without the classical model": {"search": {"students": ["slim", "text_cnn", "text_rnn", "ngrams"]}},
    "without slim": {"search": {"students": ["tfidf_linear", "text_cnn", "text_rnn", "ngrams"]}},
    "without quantisation": {"methods": []},
    "without low rank": {"search": {"low_rank": False}},
    "without qat": {"search": {"qat": False}},
    "without early exit": {"search": {"early_exits": False}}}
"""Ablation: what differs from the search for the first budget."""
WAYS = {"slim networks": "slim:", "other architectures": "text_cnn|text_rnn|ngrams|mlp", "TF-IDF": "TF-IDF", "pairs": "^pair:",
        "8-bit products": "int8", "weights of 8 or 4 bits alone": "weight_only", "4 bits": "bits 4", "low rank": "low rank",
        "longer training": "trained for longer", "fewer tokens": r"\d tokens", "early exits": "exit"}
"""What a candidate's name says of the ways that it was made by."""


def recipe(name: str, chosen: Set, folder: Path, stages: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "output_dir": str(folder / name), "stages": {"prepare": chosen.prepare, "finetune": chosen.finetune, **stages}}


def told(kind: str, data: dict[str, Any]) -> None:
    if kind in ("note", "stage_start"):
        print(f"  {data['stage']}: {data.get('message', 'begins')}", flush=True)


def stage_of(name: str, budget: Mapping[str, float], minutes: float, change: Mapping[str, Any] | None = None) -> dict[str, Any]:
    change = dict(change or {})
    further = {"unlabelled": list(SETS[name].unlabelled)} if SETS[name].unlabelled else {}
    search = {"minutes": minutes, **further, **change.pop("search", {})}
    return {"kind": "compress", "budget": dict(budget), "search": search, "rows": 20_000, **change}


def teacher(name: str, folder: Path) -> RunResult:
    """Train the teacher and its plain dynamic int8, and note once what the teacher costs, which the budgets are parts of."""
    made = run(recipe(name, SETS[name], folder, {"plain": PLAIN}), events=Events([told]))
    if "teacher" not in known_of(folder, name):
        import numpy as np

        place = made.stages["finetune"].folder
        rows, _ = raw_rows(made.stages["prepare"].folder, "validation", np.arange(200))
        timed = latency({"teacher": open_form(place)}, rows, (1,), Effort(20.0, 100))["teacher"]["1"]
        keep(folder, name, "teacher", {"ms": timed["median_ms"], "bytes": size(place, read_forms(place)[0].name)["form"]})
    return made


def limits_of(name: str, label: str, folder: Path) -> dict[str, float]:
    """Return a budget in megabytes and milliseconds; the milliseconds a little less, as they are measured again."""
    smaller, faster, drop = SETS[name].budgets[label]
    cost = known_of(folder, name)["teacher"]
    return {"size_mb": round(cost["bytes"] / smaller / 1e6, 3), "latency_ms": round(0.95 * cost["ms"] / faster, 3), "accuracy_drop": drop}


def squeezed(name: str, stage: str, settings: dict[str, Any], folder: Path) -> RunResult:
    """Run the recipe with one budgeted stage more; what was run before is found finished."""
    found = run(recipe(name, SETS[name], folder, {"plain": PLAIN, stage: settings}), events=Events([told]))
    print(f"{name} {stage}: {found.stages[stage].manifest.facts['sentence']}", flush=True)
    return found


def alone(name: str, stage: str, settings: dict[str, Any], folder: Path) -> RunResult:
    """Search in a run of its own: in the set's run it would begin with what other arms trained."""
    base = teacher(name, folder)
    whole = {**settings, "data": str(base.stages["prepare"].folder.resolve()), "model": str(base.stages["finetune"].folder.resolve())}
    found = run({"name": f"{name}-{stage}", "output_dir": str(folder / f"{name}-{stage}"), "stages": {stage: whole}}, events=Events([told]))
    print(f"{name} {stage}: {found.stages[stage].manifest.facts['sentence']}", flush=True)
    return replace(found, stages={**base.stages, **found.stages})


def table_of(result: RunResult, stage: str, seconds: float) -> dict[str, Any]:
    """Measure the chosen form in turn with torch float32 and plain dynamic int8, and compare them on the test rows: JSON values."""
    import numpy as np

    from bessemer.data.shards import ShardReader

    folders = {name: item.folder for name, item in result.stages.items()}
    places = {"torch float32": (folders["finetune"], None), "chosen": (folders[stage], read_forms(folders[stage])[0].name)}
    plain = read_forms(folders["plain"])[0]
    places["dynamic int8"] = (folders["plain"], plain.name)
    rows, truths = raw_rows(folders["prepare"], "test", np.arange(len(ShardReader(folders["prepare"] / "test"))))
    opened = {name: open_form(*place) for name, place in places.items()}
    timed = latency(opened, rows, (1, 16), Effort(seconds), "torch float32")
    answers = {name: predictor.predict(rows) for name, predictor in opened.items()}
    target = next(iter(truths))
    loss = {name: paired(truths[target], answers["torch float32"][target], found[target], 0)["accuracy"] for name, found in answers.items()}
    bytes_of = {name: size(folder, form or read_forms(folder)[0].name)["form"] for name, (folder, form) in places.items()}
    return {"candidate": result.stages[stage].manifest.facts["candidate"], "latency": timed, "test": loss, "bytes": bytes_of,
            "rows": rows.num_rows, "front": json.loads((folders[stage] / "front.json").read_text()), "host": host()}


def students(name: str, folder: Path, epochs: float, chosen: Sequence[str]) -> dict[str, Any]:
    """Train the same small networks from labels and from the teachers, on as many passes over as many rows; pair them on the test rows."""
    import numpy as np

    from bessemer.data.shards import ShardReader

    shapes: dict[str, dict[str, Any]] = {"slim, 3 layers": {"init": "cut"}, "text_cnn": {"model": {"kind": "text_cnn"}}}
    shapes = {label: start for label, start in shapes.items() if label.split(",")[0] in chosen}
    teachers = SETS[name].teachers
    stages: dict[str, dict[str, Any]] = {
        **({"baseline": {"kind": "finetune", "model": {"kind": "tfidf_linear"}}} if "baseline" in teachers else {}),
        **({"cut": {"kind": "prune", "layers": 3, "layer_choice": "spaced", "vocabulary": "used"}} if "slim" in chosen else {}),
        "teach": {"kind": "teach", "copies": 2, "bf16": "auto", "sources": list(SETS[name].unlabelled), "models": list(teachers)}}
    made = run(recipe(name, SETS[name], folder, {"plain": PLAIN, **stages}), events=Events([told]))
    counts = [made.stages[stage].manifest.facts["rows"]["train"] for stage in ("prepare", "teach")]
    found = {}
    for label, start in shapes.items():
        rate = 2e-4 if "init" in start else 1e-3
        short = label.split(",")[0]
        common = {"kind": "finetune", "learning_rate": rate, "replay_rows": 0, **({"bf16": "auto"} if "init" in start else {}), **start}
        stages[f"{short}-labels"] = {**common, "num_train_epochs": epochs}
        stages[f"{short}-taught"] = {**common, "data": "teach", "num_train_epochs": round(epochs * counts[0] / counts[1], 4)}
    made = run(recipe(name, SETS[name], folder, {"plain": PLAIN, **stages}), events=Events([told]))
    data = made.stages["prepare"].folder
    rows, truths = raw_rows(data, "test", np.arange(len(ShardReader(data / "test"))))
    target = next(iter(truths))
    for label in shapes:
        short = label.split(",")[0]
        taught, alone = (open_form(made.stages[f"{short}-{side}"].folder).predict(rows)[target] for side in ("taught", "labels"))
        found[label] = paired(truths[target], taught, alone, 0)["accuracy"]
    return found


def known_of(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def keep(folder: Path, name: str, key: str, value: Any) -> None:
    text = json.dumps({**known_of(folder, name), key: value}, indent=1, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n")


def report(folder: Path) -> None:
    """Write results/compress.md from what was kept; the sections of sets that were not run here stay as they are."""
    machine, file = host(), RESULTS / "compress.md"
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    taken = next((line for line in before.splitlines() if line.startswith("Machine: ")), "")
    old = {part.split("\n", 1)[0]: part for part in before.split("\n## ")[1:]}
    lines = ["# Compressed to a budget", "", "The teacher in torch float32, its plain dynamic int8, and the form that the budget chose, in "
             "turn; times faster: the median of the rounds' ratios with its 95% interval, and the ratio of the means, which "
             "holds the rows that a pair sends on to its second network; drop on the test rows, paired bootstrap. MB: all files that "
             "a form needs but the list of forms.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}. Date: "
             f"{datetime.date.today()}. Command: `python -m benchmarks.compress`.", ""]
    for name in SETS:
        known = known_of(folder, name)
        if known:
            note = [known["note"], ""] if "note" in known else []  # written by hand beside the figures: in what conditions they were taken
            lines += [f"## {name}", "", *_budgets(known), *_ways(known), *note, *_ablation(known), *_students(known)]
        elif name in old:
            lines += [f"## {old[name].rstrip()}", "", *([] if "Taken earlier. " in old[name] else [f"Taken earlier. {taken}", ""])]
    file.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _times(found: Mapping[str, Any]) -> str:
    return f"{found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _drop(found: Mapping[str, Any]) -> str:
    return f"{100 * found['difference']:+.2f} [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}]"


def _budgets(known: Mapping[str, Any]) -> list[str]:
    lines = ["| budget | chosen | MB | smaller | ms, batch 1: median, mean, p95 | faster than torch, batch 1 | by the mean | batch 16 | "
             "faster than dynamic int8, batch 1 | by the mean | test drop, points |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    for key, item in known.items():
        if not key.startswith("budget "):
            continue
        timed, amount = item["latency"]["chosen"], item["bytes"]
        eager, plain = (item["latency"][name]["1"] for name in ("torch float32", "dynamic int8"))
        own = timed["1"]
        limits = ", ".join(f"{name} {value:g}" for name, value in item["front"]["limits"].items())
        reached = "" if item["front"]["reachable"] else " (not reached)"
        cells = (f"{key.removeprefix('budget ')}: {limits}{reached}", item["candidate"], f"{amount['chosen'] / 1e6:.2f}",
                 f"{amount['torch float32'] / amount['chosen']:.1f}", ", ".join(f"{own[name]:.2f}" for name in
                                                                               ("median_ms", "mean_ms", "p95_ms")),
                 _times(own["ratio"]), f"{eager['mean_ms'] / own['mean_ms']:.2f}", _times(timed["16"]["ratio"]),
                 f"{plain['median_ms'] / own['median_ms']:.2f}", f"{plain['mean_ms'] / own['mean_ms']:.2f}",
                 _drop(item["test"]["chosen"]))
        lines.append(f"| {' | '.join(cells)} |")
    found = [item for key, item in known.items() if key.startswith("budget ")]
    if not found:
        return []
    minutes = ", ".join(f"{item['front']['minutes']:g}" for item in found)
    return [*lines, "", f"{found[0]['rows']:,} test rows, seed 0. Searches of {minutes} minutes, which chose on "
            f"{found[0]['front']['rows']:,} validation rows.", ""]


def _ways(known: Mapping[str, Any]) -> list[str]:
    """Return what each way is worth: of a search's own candidates within size and latency, the least loss with it and without it."""
    lines = []
    for key, item in known.items():
        if not key.startswith("budget "):
            continue
        limits = item["front"]["limits"]
        found = [entry for entry in item["front"]["candidates"] if entry["status"] == "finished"]
        small = [entry for entry in found if entry["size_bytes"] <= 1e6 * limits["size_mb"] and entry["latency_ms"] <= limits["latency_ms"]]
        for way, pattern in WAYS.items():
            users = [entry for entry in found if re.search(pattern, entry["name"])]
            left = [entry for entry in small if entry not in users]
            if users and small:
                cells = (key.removeprefix("budget "), way, f"{len(users)} of {len(found)}", _least(small), _least(left))
                lines.append(f"| {' | '.join(cells)} |")
    said = ("Each way left out, of the same search's own candidates: the least loss on validation rows, in points, of those that are small "
            "and quick enough.")
    return [said, "", "| budget | way | candidates with it | with all | without it |", "|---|---|---|---|---|", *lines, ""] if lines else []


def _least(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the least loss of some candidates in points, and which it is."""
    best = min(entries, key=lambda entry: entry["drop"]["value"], default=None)
    return "none is small and quick enough" if best is None else f"{100 * best['drop']['value']:+.2f} ({best['name']})"


def _ablation(known: Mapping[str, Any]) -> list[str]:
    arms = {key.removeprefix("arm "): item for key, item in known.items() if key.startswith("arm ")}
    if not arms:
        return []
    lines = ["| arm | chosen | reached | MB | times faster than torch | test drop, points |", "|---|---|---|---|---|---|"]
    for name, item in arms.items():
        reached = "yes" if item["front"]["reachable"] else "no"
        cells = (name, item["candidate"], reached, f"{item['bytes']['chosen'] / 1e6:.2f}",
                 _times(item["latency"]["chosen"]["1"]["ratio"]), _drop(item["test"]["chosen"]))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _students(known: Mapping[str, Any]) -> list[str]:
    if "students" not in known:
        return []
    lines = ["| the same network | taught | labels alone | difference, points | verdict |", "|---|---|---|---|---|"]
    lines += [f"| {label} | {found['a']:.4f} | {found['b']:.4f} | {_drop(found)} | {found['verdict']} |"
              for label, found in known["students"].items()]
    return [*lines, ""]


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=["r8", "tweets"])
    parser.add_argument("--budgets", default="", help="names of budgets, with commas between; all by default; - for none")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--arms", default="", help="arms of the ablation, with commas between, or all")
    parser.add_argument("--arm-minutes", type=float, default=6.0)
    parser.add_argument("--students", action="store_true", help="the same networks taught and from labels alone")
    parser.add_argument("--shapes", default="slim,text_cnn", help="which of those, with commas between")
    parser.add_argument("--epochs", type=float, default=3.0, help="passes of those over the training rows")
    parser.add_argument("--again", action="store_true", help="measure the finished budgets once more, search nothing")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long forms are timed")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-compress"))
    parser.add_argument("--report", action="store_true", help="write the page from what is there, run nothing")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in () if options.report else options.sets:
        budgets = SETS[name].budgets
        teacher(name, options.folder)
        known = known_of(options.folder, name)
        wanted = list(budgets) if not options.budgets else [item for item in options.budgets.split(",") if item in budgets]
        for label in [item for item in wanted if f"budget {item}" in known] if options.again else wanted:
            stage = "budget-" + label.replace(" ", "-")
            change = {"search": {"students": ["slim"]}} if label == "same family" else None
            minutes = known[f"budget {label}"]["front"]["minutes"] if options.again else options.minutes  # else it were another search
            result = squeezed(name, stage, stage_of(name, limits_of(name, label, options.folder), minutes, change), options.folder)
            keep(options.folder, name, f"budget {label}", table_of(result, stage, options.seconds))
        first = limits_of(name, next(iter(budgets)), options.folder)
        for arm in ARMS if options.arms == "all" else [item for item in options.arms.split(",") if item]:
            stage = "arm-" + arm.replace(",", "").replace(" ", "-")
            result = alone(name, stage, stage_of(name, first, options.arm_minutes, ARMS[arm]), options.folder)
            keep(options.folder, name, f"arm {arm}", table_of(result, stage, options.seconds / 2))
        if options.students:
            keep(options.folder, name, "students", students(name, options.folder, options.epochs, options.shapes.split(",")))
    report(options.folder)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
