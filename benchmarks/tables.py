"""python -m benchmarks.tables [--tables a,b] [--folds k] [--seeds s] [--trials t] [--minutes m]: members of sub-networks against LightGBM.

Every peer is given the same rows, the same validation rows to choose by and the same number of trials. Each finished fold is kept in
--cache, so a stopped run goes on where it was; `--report` writes results/tables.md from what is there.
"""

import argparse
import datetime
import importlib.metadata
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import RESULTS
from bessemer.api import run
from bessemer.core.forms import open_form
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunResult, host
from bessemer.data.shards import ShardReader
from bessemer.evaluate.score import measure

PEERS = ("members", "lightgbm", "linear", "blend")
VALIDATION_PARTS = 7  # one part of seven of the training rows validates
RESAMPLES = 2000


@dataclass(frozen=True)
class Table:
    """A table, its target, what is no input, and whether it comes with its published split (column `split`)."""

    rows: pa.Table
    target: str
    without: tuple[str, ...] = ()
    published: bool = False


def catalogue(name: str, target: str, *without: str, published: bool = False) -> Table:
    config = make("data/sources", {"kind": "catalogue", "name": name})
    rows = pa.concat_tables([chunk.table for chunk in plugin_of("data/sources", config).function(config).read()],
                            promote_options="permissive")
    return Table(rows.filter(rows[target].is_valid()), target, without, published)


def generated(features: np.ndarray, target: np.ndarray) -> Table:
    names = {f"x{index}": features[:, index] for index in range(features.shape[1])}
    return Table(pa.table({**names, "y": target}), "y")


def adult() -> Table:
    return catalogue("adult", "income", published=True)


def letter() -> Table:
    return catalogue("letter", "letter", published=True)


def shuttle() -> Table:
    return catalogue("shuttle", "state", published=True)


def satellite() -> Table:
    return catalogue("satellite", "soil", published=True)


def dna() -> Table:
    return catalogue("dna", "junction", published=True)


def vowel() -> Table:
    return catalogue("vowel", "vowel", "speaker")


def compas() -> Table:
    return catalogue("compas", "recidivism", "risk*", "violence_*")


def german() -> Table:
    return catalogue("german", "credit")


def pima() -> Table:
    return catalogue("pima", "diabetes")


def vehicle() -> Table:
    return catalogue("vehicle", "vehicle")


def sonar() -> Table:
    return catalogue("sonar", "object")


def ionosphere() -> Table:
    return catalogue("ionosphere", "echo")


def glass() -> Table:
    return catalogue("glass", "glass")


def digits() -> Table:
    return catalogue("digits", "digit")


def breast_cancer() -> Table:
    return catalogue("breast-cancer", "diagnosis")


def wine() -> Table:
    return catalogue("wine", "cultivar")


def boston() -> Table:
    return catalogue("boston", "value")


def diabetes() -> Table:
    return catalogue("diabetes", "progression")


def ozone() -> Table:
    return catalogue("ozone", "ozone")


def servo() -> Table:
    return catalogue("servo", "rise_time_rank")


def friedman1() -> Table:
    from sklearn.datasets import make_friedman1

    return generated(*make_friedman1(2000, noise=1.0, random_state=0))


def friedman2() -> Table:
    from sklearn.datasets import make_friedman2

    return generated(*make_friedman2(2000, noise=50.0, random_state=0))


def friedman3() -> Table:
    from sklearn.datasets import make_friedman3

    return generated(*make_friedman3(2000, noise=0.1, random_state=0))


TABLES: dict[str, Callable[[], Table]] = {item.__name__: item for item in (
    adult, letter, shuttle, satellite, dna, vowel, compas, german, pima, vehicle, sonar, ionosphere, glass, digits, breast_cancer, wine,
    boston, diabetes, ozone, servo, friedman1, friedman2, friedman3)}
NUMBERS = ("boston", "diabetes", "ozone", "servo", "friedman1", "friedman2", "friedman3")
"""Tables whose target is a number; the others' are labels."""


@dataclass(frozen=True)
class Fold:
    """One division of a table's rows: an int8 [N] of 0 train, 1 validation, 2 test; `number` and `seed` name it."""

    parts: np.ndarray
    number: int
    seed: int


def folds(table: Table, numeric: bool, count: int, seeds: int) -> Iterator[Fold]:
    """Yield the published division (validation rows differ by seed), or `count` folds for each seed, stratified by label."""
    from sklearn.model_selection import KFold, StratifiedKFold

    target = table.rows[table.target].to_numpy(zero_copy_only=False)
    names, codes = (None, np.zeros(len(target))) if numeric else np.unique(target.astype(str), return_inverse=True)
    kind = KFold if numeric else StratifiedKFold
    warnings.filterwarnings("ignore", "The least populated class", UserWarning)
    for seed in range(seeds):
        if table.published:
            tests = [np.flatnonzero(np.array(table.rows["split"].to_pylist()) == "test")]
        else:
            tests = [test for _, test in kind(count, shuffle=True, random_state=seed).split(codes[:, None], codes)]
        for number, test in enumerate(tests):
            parts = np.zeros(len(target), np.int8)
            parts[test] = 2
            rest = np.flatnonzero(parts == 0)
            _, held = next(iter(kind(VALIDATION_PARTS, shuffle=True, random_state=seed).split(codes[rest][:, None], codes[rest])))
            parts[rest[held]] = 1
            yield Fold(parts, number, seed)


def inputs_of(table: Table, numeric: bool) -> dict[str, Any]:
    """Return what each input column is: a number where it is stored as one, else a category."""
    found = {}
    for field in table.rows.schema:
        left = any(field.name == item or (item.endswith("*") and field.name.startswith(item[:-1])) for item in table.without)
        if field.name in (table.target, "split") or left:
            continue
        plain = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        found[field.name] = {"kind": "number"} if plain else {"kind": "category"}
    return found


def trials(rows: int, count: int, seed: int) -> list[dict[str, Any]]:
    """Return settings of the members: one by default, then seeded random ones, as LightGBM's are."""
    batch = int(2 ** np.clip(np.round(np.log2(rows / 40)), 4, 8))
    common: dict[str, Any] = {"kind": "finetune", "task": {"kind": "supervised"}, "num_train_epochs": 100, "early_stopping_patience": 12,
                              "per_device_train_batch_size": batch, "lr_scheduler_type": "constant", "max_steps": 20_000}
    found = [{**common, "learning_rate": 1.5e-3, "weight_decay": 1e-3, "model": {"kind": "members"}}]
    for trial in range(1, count):
        rng = np.random.default_rng((seed, trial))
        embedding = str(rng.choice(["none", "piecewise", "periodic"]))
        width, depth = int(rng.choice([64, 128, 192, 256])), int(rng.integers(1, 4))
        found.append({**common, "learning_rate": float(np.exp(rng.uniform(np.log(3e-4), np.log(5e-3)))),
                      "weight_decay": float(np.exp(rng.uniform(np.log(1e-4), np.log(1e-1)))),
                      "model": {"kind": "members", "hidden_sizes": [width] * depth, "dropout": float(rng.choice([0.0, 0.1, 0.25])),
                                **({"number_embedding": embedding} if embedding == "none" else
                                   {"number_embedding": embedding, "number_embedding_size": int(rng.choice([8, 16]))})}})
    return found


def recipe(folder: Path, table: Table, numeric: bool, fold: Fold, args: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe of one fold, its rows written to the folder."""
    words = np.array(["train", "validation", "test"])[fold.parts]
    rows = table.rows.drop_columns([name for name in ("split",) if name in table.rows.column_names])
    pq.write_table(rows.append_column("split", pa.array(words)), folder / "rows.parquet")
    stages: dict[str, Any] = {
        "prepare": {"sources": [{"kind": "parquet", "path": str(folder / "rows.parquet")}], "split": {"kind": "given", "column": "split"},
                    "inputs": inputs_of(table, numeric), "targets": {table.target: {"kind": "number" if numeric else "category"}}},
        "lightgbm": {"kind": "finetune", "model": {"kind": "lightgbm", "trials": args.trials}},
        "linear": {"kind": "finetune", "model": {"kind": "linear"}}}
    for index, settings in enumerate(trials(int((fold.parts == 0).sum()), args.trials, fold.seed)):
        stages[f"members{index}"] = settings
    return {"name": "table", "seed": fold.seed, "threads": args.threads, "output_dir": str(folder / "run"), "stages": stages}


def one_fold(name: str, table: Table, fold: Fold, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Run one fold; return per test row what each peer lost (0 or 1, or the squared error), its metrics and seconds."""
    numeric = name in NUMBERS
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        tree = recipe(folder, table, numeric, fold, args)
        result = run(tree)
        tried = {stage: scores(result, stage, table.target, "validation") for stage in tree["stages"] if stage.startswith("members")}
        best = min(tried, key=lambda stage: tried[stage][0]["mse" if numeric else "log_loss"])
        tree["stages"]["blend"] = {"models": [best, "lightgbm", "linear"]}
        blended = run(tree)
        found: dict[str, np.ndarray] = {"rows": np.flatnonzero(fold.parts == 2)}
        for peer in PEERS:
            stage = best if peer == "members" else peer
            metrics, lost = scores(blended, stage, table.target, "test")
            own = [item for item in tree["stages"] if item.startswith("members")] if peer == "members" else [stage]
            seconds = sum((blended if item == "blend" else result).stages[item].seconds for item in own)
            found[peer] = lost
            found[f"{peer}.facts"] = np.array(json.dumps({**metrics, "seconds": seconds, "stage": stage}))
    return found


def scores(result: RunResult, stage: str, target: str, split: str) -> tuple[dict[str, float], np.ndarray]:
    """Return a stage's metrics on a split of its data, and what it lost on each row, float32 [N]."""
    reader = ShardReader(result.stages["prepare"].folder / split)
    rows = reader.take(np.arange(len(reader)))
    rows = rows.take(pa.array(np.argsort(rows["row_id"].to_numpy(), kind="stable")))
    answer, truth = open_form(result.stages[stage].folder).predict(rows)[target], rows[target].to_numpy()
    if answer.kind == "number":
        each = (answer.values[:, 0] - truth) ** 2
        return {**measure(truth, answer), "mse": float(each.mean())}, each
    return measure(truth, answer), (answer.values.argmax(axis=1) != truth).astype(np.float32)


@dataclass(frozen=True)
class Summary:
    """A table's result: each peer's mean score (accuracy or R2), and the members' or the blend's gain with its 95% interval."""

    name: str
    rows: int
    cells: int
    scores: dict[str, float]
    more: dict[str, dict[str, float]]
    gains: dict[str, tuple[float, float, float]]


def summarise(name: str, files: list[Path], against: str = "lightgbm") -> Summary:
    """Average a row's loss over the seeds that tested it, then resample rows in pairs: one method for folds and published splits."""
    cells = [dict(np.load(file, allow_pickle=False)) for file in files]
    size = int(max(cell["rows"].max() for cell in cells)) + 1
    counts = np.bincount(np.concatenate([cell["rows"] for cell in cells]), minlength=size)
    tested = np.flatnonzero(counts)
    mean = {peer: (np.bincount(np.concatenate([cell["rows"] for cell in cells]), np.concatenate([cell[peer] for cell in cells]), size)
                   [tested] / counts[tested]) for peer in PEERS}
    facts = {peer: [json.loads(str(cell[f"{peer}.facts"])) for cell in cells] for peer in PEERS}
    metric = "r2" if name in NUMBERS else "accuracy"
    # R2 = 1 - squared error / variance: the variance is that which turns the mean error into the mean R2 of the peer compared with.
    unit = 1.0
    if metric == "r2":
        unit = float(np.mean([item["mse"] / max(1e-12, 1 - item["r2"]) for item in facts[against]]))
    rng, gains = np.random.default_rng(0), {}
    for peer in PEERS:
        gain = (mean[against] - mean[peer]) / unit
        drawn = np.array([gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)])
        gains[peer] = (float(gain.mean()), *(float(value) for value in np.percentile(drawn, (2.5, 97.5))))
    more = {peer: {key: float(np.mean([item[key] for item in facts[peer]])) for key in ("roc_auc", "log_loss", "rmse", "seconds")
                   if key in facts[peer][0]} for peer in PEERS}
    return Summary(name, len(tested), len(cells), {peer: float(np.mean([item[metric] for item in facts[peer]])) for peer in PEERS}, more,
                   gains)


def verdict(gain: tuple[float, float, float]) -> str:
    return "win" if gain[1] > 0 else "loss" if gain[2] < 0 else "tie"


def report(found: list[Summary], args: argparse.Namespace) -> str:
    """Return the result as Markdown."""
    machine = host()
    versions = ", ".join(f"{item} {importlib.metadata.version(item)}" for item in ("torch", "lightgbm", "scikit-learn"))
    lines = ["# Tables: members of sub-networks against gradient boosting", "",
             "Accuracy of labels, R² of numbers, on test rows: the published split of adult, letter, shuttle, satellite and dna, elsewhere "
             f"{args.folds} folds, {args.seeds} seeds. Every peer has the same training and validation rows; members and LightGBM have "
             f"{args.trials} trial(s) each, chosen on validation; the linear model has its grid of penalties. The blend is weighted on "
             "validation rows. Fits: folds that were run before the time that was given ended. "
             "Gain: against LightGBM, in the score's own unit, with a 95% interval from paired resampling of test rows; "
             "win or loss where it leaves 0 out.", "",
             f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, Python "
             f"{machine['python']}, {versions}. Date: {datetime.date.today()}. Command: `python -m benchmarks.tables --folds {args.folds} "
             f"--seeds {args.seeds} --trials {args.trials}`.", "",
             "| table | tested rows | fits | members | LightGBM | linear | blend | gain of members | | gain of the blend | |",
             "|" + "---|" * 11]
    for item in found:
        shown = [f"{gain[0]:+.4f} [{gain[1]:+.4f}, {gain[2]:+.4f}] | {verdict(gain)}"
                 for gain in (item.gains["members"], item.gains["blend"])]
        lines.append(f"| {item.name} | {item.rows:,} | {item.cells} | " + " | ".join(f"{item.scores[peer]:.4f}" for peer in PEERS)
                     + f" | {shown[0]} | {shown[1]} |")
    lines += ["", *(_over_tables(peer, found) for peer in ("members", "blend")), "",
              "| table | ROC AUC: members | LightGBM | blend | log loss or RMSE: members | LightGBM | blend |", "|" + "---|" * 7]
    for item in found:
        three = ("members", "lightgbm", "blend")
        area = [f"{item.more[peer]['roc_auc']:.4f}" if "roc_auc" in item.more[peer] else "" for peer in three]
        loss = [f"{item.more[peer].get('log_loss', item.more[peer].get('rmse', float('nan'))):.4f}" for peer in three]
        lines.append(f"| {item.name} | {' | '.join([*area, *loss])} |")
    return "\n".join([*lines, ""])


def _over_tables(peer: str, found: list[Summary]) -> str:
    from scipy.stats import wilcoxon

    gains = np.array([item.gains[peer][0] for item in found])
    kinds = [verdict(item.gains[peer]) for item in found]
    tested = f"p = {wilcoxon(gains).pvalue:.4f}" if len(gains) > 5 and np.any(gains) else "too few tables"
    return (f"- {peer} against LightGBM over {len(found)} tables: {kinds.count('win')} wins, {kinds.count('tie')} ties, "
            f"{kinds.count('loss')} losses; the mean is higher on {int((gains > 0).sum())}, lower on {int((gains < 0).sum())}; Wilcoxon "
            f"signed-rank test: {tested}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default=",".join(TABLES), help="names, with commas")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--from-seed", type=int, default=0, help="the first seed, where others were run before or are run elsewhere")
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="no fold is begun after so many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="use so many rows of a table at most (a rough look; such results are no results)")
    parser.add_argument("--cache", type=Path, default=Path("build/tables"))
    parser.add_argument("--report", action="store_true", help="only write the result from what is there")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    end, names = time.monotonic() + 60 * args.minutes, args.tables.split(",")
    # Every table's first fold comes before any table's second, so that a bounded run has something of each.
    queue = [] if args.report else sorted(
        ((fold.seed, fold.number, name, table, fold) for name in names for table in [limited(name, args)]
         for fold in folds(table, name in NUMBERS, args.folds, args.seeds) if fold.seed >= args.from_seed), key=lambda item: item[:2])
    for seed, number, name, table, fold in queue:
        file = args.cache / f"{name}-{args.trials}-{seed}-{number}.npz"
        if file.is_file() or time.monotonic() > end:
            continue
        started = time.monotonic()
        np.savez(args.cache / "part.npz", **one_fold(name, table, fold, args))
        (args.cache / "part.npz").rename(file)
        print(f"{name} seed {seed} fold {number}: {time.monotonic() - started:.0f} s", flush=True)
    found = {name: sorted(args.cache.glob(f"{name}-{args.trials}-*.npz")) for name in names}
    text = report([summarise(name, files) for name, files in found.items() if files], args)
    if args.rows is None:
        (RESULTS / "tables.md").write_text(text, encoding="utf-8")
    print(text)


def limited(name: str, args: argparse.Namespace) -> Table:
    table = TABLES[name]()
    if args.rows is None or len(table.rows) <= args.rows:
        return table
    drawn = np.sort(np.random.default_rng(0).permutation(len(table.rows))[:args.rows])
    return replace(table, rows=table.rows.take(pa.array(drawn)))


if __name__ == "__main__":
    main()
