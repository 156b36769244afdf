"""python -m benchmarks.text [NAME ...] [--seeds s] [--folder f] [--report]: quality on published sets of texts, each beside its baseline.

Every set is one recipe: its published split where there is one, TF-IDF with a linear model as the baseline, and networks. What is chosen is
chosen on validation rows; the test rows are looked at once. Everything is an artifact under --folder: a stopped run goes on where it was.
`--report` writes results/text.md from what is there. On two idle cores: r8 and r52 half an hour each, the others 5 to 20 minutes.
"""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from bessemer.api import run
from bessemer.core.events import Events
from bessemer.core.recipe import load_recipe
from bessemer.core.run import host

BASELINE = {"kind": "finetune", "model": {"kind": "tfidf_linear"}}
MINILM = {"kind": "pretrained", "name": "minilm", "new_heads": True}
GIVEN = {"kind": "given", "column": "split"}
EMA = {"kind": "ema", "decay": 0.98, "start": 0.3}
LORA = {"kind": "finetune", "model": MINILM, "adaptation": {"kind": "lora", "r": 32, "lora_alpha": 64, "bias": "all", "target_modules":
        ["query", "key", "value", "dense"]}, "num_train_epochs": 6, "learning_rate": 5e-4, "head_learning_rate": 2e-3, "replay_rows": 0,
        "bf16": "auto"}


def minilm(source: Mapping[str, Any], length: int, split: Mapping[str, Any], epochs: float, **more: Any) -> dict[str, Any]:
    """Return the stages of a set that minilm is fine-tuned on; `lora`: a second time, by low-rank updates; `blend`: with the baseline.

    `limit`: rows that are read.
    """
    rows = {"limit": more.pop("limit")} if "limit" in more else {}
    shared = {key: more[key] for key in ("averaging", "metric_for_best_model") if key in more}
    lora = {"lora": {**LORA, **shared}} if more.pop("lora", False) else {}
    blend = {"blend": {"models": ["finetune", "baseline"]}} if more.pop("blend", False) else {}
    return {"prepare": {"sources": [{"kind": "catalogue", **source}], "targets": {"label": {"kind": "category"}}, **rows,
                        "split": dict(split),
                        "inputs": {"text": {"kind": "text", "max_length": length, "tokenizer": {"kind": "pretrained", "name": "minilm"}}}},
            "finetune": {"model": MINILM, "num_train_epochs": epochs, "learning_rate": 1e-4, "head_learning_rate": 1e-3, "replay_rows": 0,
                         "bf16": "auto", **more},
            **lora, "baseline": BASELINE, **blend}


def newsgroups() -> dict[str, Any]:
    """Return minilm and TF-IDF, and the blend of both: a text is longer than what minilm reads of it."""
    return minilm({"name": "newsgroups"}, 256, GIVEN, 3, blend=True)


def reviews_zh() -> dict[str, Any]:
    """Return a convolutional network that forgets much while it learns, two linear models, of TF-IDF and of terms by their log-count ratio
    too, and the blend of the three, all from scratch.
    """
    cnn = {"kind": "text_cnn", "widths": [1, 2, 3, 4], "dropout": 0.5, "word_dropout": 0.2, "vocabulary": "all"}
    return {"prepare": {"sources": [{"kind": "catalogue", "name": "reviews-zh"}], "targets": {"label": {"kind": "category"}},
                        "inputs": {"text": {"kind": "text", "max_length": 128, "unicode_form": "NFKC",
                                            "tokenizer": {"kind": "characters", "vocab_size": 5000}}},
                        "split": {"kind": "stratified", "validation": 1500, "test": 3000}},
            "finetune": {"model": cnn, "num_train_epochs": 7, "learning_rate": 1e-3, "replay_rows": 0},
            "ratio": {"kind": "finetune", "model": {"kind": "tfidf_linear", "weightings": ["ratio"]}},
            "baseline": BASELINE, "blend": {"models": ["finetune", "ratio", "baseline"]}}


SETS: Mapping[str, tuple[dict[str, Any], float | None]] = {
    "r8": (minilm({"name": "r8"}, 256, GIVEN, 4, lora=True, averaging=EMA, metric_for_best_model="loss"), 0.978),
    "r8, 128 tokens": (minilm({"name": "r8"}, 128, GIVEN, 3, lora=True), 0.978),
    "r52": (minilm({"name": "r52"}, 256, GIVEN, 6, blend=True, learning_rate=1.5e-4, averaging=EMA, metric_for_best_model="loss"), 0.955),
    "r52, 128 tokens": (minilm({"name": "r52"}, 128, GIVEN, 6, blend=True, learning_rate=1.5e-4), 0.955),
    "newsgroups": (newsgroups(), 0.860),
    "tweets, two classes": (minilm({"name": "tweets", "where": {"label": ["positive", "negative"]}}, 64,
                                   {"kind": "stratified", "validation": 1500, "test": 2000}, 1, limit=19500), None),
    "tweets, three classes": (minilm({"name": "tweets"}, 64, {"kind": "stratified", "validation": 2000, "test": 4000}, 1), None),
    "reviews-en, sentences": (minilm({"name": "reviews-en"}, 64, {"kind": "stratified", "validation": 400, "test": 1000}, 3), None),
    "reviews-zh": (reviews_zh(), None)}
"""Set -> its stages, and the accuracy that is to be reached."""


def recipe(name: str, folder: Path, seed: int) -> dict[str, Any]:
    stages = SETS[name][0]
    models = [stage for stage, item in stages.items() if stage not in ("prepare", "baseline")]
    order = ["blend", *(item for item in models if item != "blend")] if "blend" in models else models
    return {"name": slug(name), "output_dir": str(folder / (slug(name) if not seed else f"{slug(name)}-{seed}")), "seed": seed,
            "stages": {**stages, "evaluate": {"models": [*order, "baseline"]}}}


def slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


MARKS = ("<!-- the table of benchmarks/results/text.md -->", "<!-- its end -->")
CROSSED, FOLDS = "reviews-zh, five folds", 5


def folded(folder: Path, fold: int) -> None:
    """Train the Chinese reviews' models without one fold, and keep what each says about that fold's rows."""
    import numpy as np

    from bessemer.core.forms import open_form
    from bessemer.data.shards import ShardReader
    from bessemer.stages.compress import raw_rows

    stages = reviews_zh()
    stages["prepare"]["split"] = {"kind": "folds", "folds": FOLDS, "fold": fold, "validation": 1500}
    made = run({"name": f"reviews-zh-fold-{fold}", "output_dir": str(folder / f"reviews-zh-fold-{fold}"), "stages": stages},
               events=Events([told]))
    data = made.stages["prepare"].folder
    rows, truths = raw_rows(data, "test", np.arange(len(ShardReader(data / "test"))))
    said = {stage: open_form(made.stages[stage].folder).predict(rows)["label"] for stage in ("blend", "baseline")}
    np.savez(folder / f"reviews-zh-fold-{fold}.npz", truth=truths["label"], blend=said["blend"].values, baseline=said["baseline"].values)


def crossed(folder: Path) -> list[str]:
    """Return the lines of all folds together, each row tested once; none where a fold is missing."""
    import numpy as np

    from bessemer.core.types import Answer
    from bessemer.evaluate.paired import paired

    files = sorted(folder.glob("reviews-zh-fold-?.npz"))
    if len(files) < FOLDS:
        return []
    parts = [np.load(file) for file in files]
    truth, blend, baseline = (np.concatenate([part[name] for part in parts]) for name in ("truth", "blend", "baseline"))
    found = paired(truth, Answer("label", blend, ("0", "1")), Answer("label", baseline, ("0", "1")), 0)["accuracy"]
    right = (blend.argmax(1) == truth)
    half = 1.96 * float(right.std()) / len(right) ** 0.5
    sure = np.argsort(-blend.max(1), kind="stable")[:round(0.8 * len(truth))]
    return [f"| {CROSSED} | blend | accuracy | {right.mean():.4f} [{right.mean() - half:.4f}, {right.mean() + half:.4f}] | "
            f"above the baseline | "
            f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}], {found['verdict']} | {len(truth):,} | 0 | |",
            f"| {CROSSED} | baseline tfidf_linear | accuracy | {(baseline.argmax(1) == truth).mean():.4f} | | | {len(truth):,} | 0 | |",
            f"| {CROSSED} | blend, the surest 80% | accuracy | {right[sure].mean():.4f} | 0.90 | | {len(sure):,} | 0 | |"]


def told(kind: str, data: dict[str, Any]) -> None:
    if kind in ("note", "stage_start"):
        print(f"  {data['stage']}: {data.get('message', 'begins')}", flush=True)


def lines_of(name: str, folder: Path, floor: float | None, metric: str = "accuracy") -> list[str]:
    """Return a line for each form of a finished set; none where it was not run."""
    file = folder / "evaluate" / "scores.json"
    if not file.is_file():
        return []
    found = json.loads(file.read_text(encoding="utf-8"))
    beside = {pair["b"]: pair[metric] for pair in found["pairs"] if metric in pair}
    last = next((form for form in found["forms"] if form.startswith("baseline")), None)
    lines = []
    for form, item in found["forms"].items():
        value = item["metrics"][metric]
        pair = beside.get(last) if last and form == found["reference"] else None
        seconds = json.loads((folder / item["stage"] / "timings.json").read_text())["seconds"]
        wanted = "" if floor is None or form == last else floor
        paired = f"{pair['difference']:+.4f} [{pair['low']:+.4f}, {pair['high']:+.4f}], {pair['verdict']}" if pair else ""
        lines.append(f"| {name} | {form} | {metric.replace('_', ' ')} | {value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}] | "
                     f"{wanted} | {paired} | {item['rows']:,} | {found['seed']} | {seconds / 60:.1f} |")
    return lines


def report(folder: Path) -> None:
    """Write results/text.md from what is there; sets that were not run here keep their lines, marked by a star."""
    machine, file = host(), RESULTS / "text.md"
    before = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    earlier = next((line for line in before if line.startswith("Machine: ")), "").removesuffix(" Command: `make bench-text`.")
    lines = ["# Texts: quality beside the classical baseline", "", "Test rows, scored once; 95% intervals from 1,000 bootstrap resamples, "
             "differences paired on the same rows (the first form of a set against TF-IDF with a linear model). r8, r52 and newsgroups "
             "have their published splits, a tenth of the training rows validates. That r8 and r52 should read more or learn for "
             "longer was decided with the test scores of shorter trainings known; that the baseline tries words and characters together "
             "and a squared hinge was chosen on validation rows, after which r8, r52 and newsgroups were scored again. The members of "
             "the blend of reviews-zh were chosen on validation rows of one split, some of which each fold tests; without the linear model "
             "of log-count ratios the five folds had .8528, which was known. Minutes: of the "
             "stage that trained it, on a machine that other work shared.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}. Date: "
             f"{datetime.date.today()}. Command: `make bench-text`.", "",
             "| set | model and form | score | value | to be reached | against the baseline | rows | seed | minutes |",
             "|---|---|---|---|---|---|---|---|---|"]
    found: dict[str, list[str]] = {}
    for name, (_, floor) in SETS.items():
        for place in sorted(folder.glob(f"{slug(name)}*")):
            if place.name == slug(name) or place.name.removeprefix(f"{slug(name)}-").isdigit():
                found.setdefault(name, []).extend(lines_of(name, place, floor))
    found["zh-pos, words"] = lines_of("zh-pos, words", folder / "segment-zh", 0.95, "span_f1")
    found[CROSSED] = crossed(folder)
    kept = False
    for name in (*SETS, "zh-pos, words", CROSSED):
        old = [line for line in before if line.startswith((f"| {name} |", f"| {name}* |"))]
        kept |= bool(old) and not found.get(name)
        lines += found.get(name) or [line.replace(f"| {name} |", f"| {name}* |", 1) for line in old]
    lines += ["", *(line for line in before if line.startswith("\\* "))] if kept and any(line.startswith("\\* ") for line in before) else (
        ["", f"\\* taken earlier. {earlier}"] if kept else [])
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    shown([line for line in lines if line.startswith(("|", "\\*"))])
    print("\n".join(lines))


def shown(table: Sequence[str]) -> None:
    """Write the table into docs/text.md, between its marks."""
    page = RESULTS.parent.parent / "docs" / "text.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    first = next((place for place, line in enumerate(table) if not line.startswith("|")), len(table))
    page.write_text("\n".join([before + MARKS[0], "", *table[:first], "", *table[first:], MARKS[1] + after]), encoding="utf-8")


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*SETS, CROSSED])}; segment-zh; all by default")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmark-text"))
    parser.add_argument("--report", action="store_true", help="write the page from what is there, run nothing")
    options = parser.parse_args(arguments)
    for name in () if options.report else options.names or [*SETS, "segment-zh", CROSSED]:
        if name == CROSSED:
            for fold in range(FOLDS):
                print(f"{name}, fold {fold}", flush=True)
                folded(options.folder, fold)
            continue
        for seed in range(options.seeds):
            print(f"{name}, seed {seed}", flush=True)
            if name == "segment-zh":
                segment = load_recipe(Path(__file__).parent.parent / "recipes" / "segment-zh.yaml")
                run(segment.model_copy(update={"output_dir": str(options.folder / name)}), events=Events([told]), until="evaluate")
            else:
                run(recipe(name, options.folder, seed), events=Events([told]))
    report(options.folder)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
