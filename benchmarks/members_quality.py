"""python -m benchmarks.members_quality [--tables a,b] [--splits n]: members against one member, one of equal cost, and the tabm package.

The same rows, standardised alike, the same batches and width for all. Three tenths of the rows are tested; a fifth of the others validates:
it ends a training that gets no better, keeps the best pass, and chooses between the same two rates for everyone. Labels: accuracy;
numbers: R². Paired by row.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from benchmarks.members import MEMBERS, tabm_network
from benchmarks.record import record
from benchmarks.tables import NUMBERS, TABLES
from bessemer.nn.table import TableConfig, TableNetwork

WIDTH, BLOCKS, BATCH, EPOCHS, PATIENCE, RESAMPLES = 128, 3, 128, 120, 12, 2000
ROWS = 1500
RATES = (1.5e-3, 5e-3)
ARMS = ("one member", "one member of equal cost", f"{MEMBERS} members", "tabm package")


@dataclasses.dataclass(frozen=True)
class Rows:
    """Standardised rows of a table and their targets: codes of labels, or standardised numbers."""

    x: Tensor
    y: Tensor
    checked_x: Tensor
    checked_y: Tensor
    test_x: Tensor
    test_y: Tensor
    outputs: int
    numeric: bool


def rows_of(name: str, seed: int) -> Rows:
    """Return the rows to train on, to validate with, and to test."""
    table = TABLES[name]()
    drawn = np.random.default_rng(0).permutation(len(table.rows))[:ROWS]
    frame = table.rows.take(np.sort(drawn)).drop_columns([item for item in ("split",) if item in table.rows.column_names])
    numeric = name in NUMBERS
    given = frame[table.target].to_numpy(zero_copy_only=False)
    target = given.astype(float) if numeric else np.unique(given.astype(str), return_inverse=True)[1]
    x = np.stack([frame[column].to_numpy(zero_copy_only=False).astype(float) for column in frame.column_names if column != table.target], 1)
    rest, test = train_test_split(np.arange(len(x)), test_size=0.3, random_state=seed, stratify=None if numeric else target)
    train, checked = train_test_split(rest, test_size=0.2, random_state=seed, stratify=None if numeric else target[rest])
    mean, scale = x[train].mean(0), x[train].std(0) + 1e-6
    shift, unit = (target[train].mean(), target[train].std()) if numeric else (0, 1)
    parts = []
    for part in (train, checked, test):
        parts.append(torch.tensor((x[part] - mean) / scale, dtype=torch.float32))
        parts.append(torch.tensor((target[part] - shift) / unit, dtype=torch.float32 if numeric else torch.int64))
    return Rows(*parts, outputs=1 if numeric else int(target.max()) + 1, numeric=numeric)


def built(arm: str, numbers: int, outputs: int) -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    """Return a network and how it answers, [B, M, C]. Of equal cost: as many products a row as all members together."""
    ours = lambda network, x: network(x, torch.zeros(len(x), 0, dtype=torch.int64))  # noqa: E731
    one = TableConfig(numbers, (), outputs, hidden_sizes=(WIDTH,) * BLOCKS, dropout=0.1)
    if arm == "tabm package":
        return tabm_network(numbers, outputs, WIDTH), lambda network, x: network(x)
    if arm == ARMS[2]:
        return TableNetwork(dataclasses.replace(one, members=MEMBERS)), ours
    if arm == ARMS[1]:
        goal = MEMBERS * (numbers * WIDTH + (BLOCKS - 1) * WIDTH ** 2)
        wide = next(width for width in range(WIDTH, 100_000, 8) if numbers * width + (BLOCKS - 1) * width ** 2 >= goal)
        return TableNetwork(dataclasses.replace(one, hidden_sizes=(wide,) * BLOCKS)), ours
    return TableNetwork(one), ours


def loss_of(said_BMC: Tensor, wanted: Tensor, numeric: bool) -> Tensor:
    """Return the mean loss of all members, each of which is to be right by itself."""
    each, flat = wanted.repeat_interleave(said_BMC.shape[1]), said_BMC.flatten(0, 1)
    return nn.functional.mse_loss(flat[:, 0], each) if numeric else nn.functional.cross_entropy(flat, each)


def off(said_BMC: Tensor, wanted: Tensor, numeric: bool) -> Tensor:
    """Return what the mean of the members loses on each row, in the terms that validation counts."""
    if numeric:
        return (said_BMC.mean(1)[:, 0] - wanted).square()
    return nn.functional.nll_loss(said_BMC.softmax(2).mean(1).clamp_min(1e-9).log(), wanted, reduction="none")


def trained(arm: str, rows: Rows, rate: float, seed: int) -> tuple[float, Tensor]:
    """Train until validation gets no better; return its best loss and the answers to the test rows of that pass."""
    torch.manual_seed(seed)
    network, answer = built(arm, rows.x.shape[1], rows.outputs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=3e-4, fused=True)
    best, since, said = float("inf"), 0, torch.empty(0)
    for _ in range(EPOCHS):
        network.train()
        for chosen in torch.randperm(len(rows.x)).split(BATCH):
            optimizer.zero_grad()
            loss_of(answer(network, rows.x[chosen]), rows.y[chosen], rows.numeric).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            found = float(off(answer(network, rows.checked_x), rows.checked_y, rows.numeric).mean())
            if found < best:
                best, since, said = found, 0, answer(network, rows.test_x)
                continue
        since += 1
        if since == PATIENCE:
            break
    return best, said


def lost(arm: str, name: str, seed: int) -> tuple[np.ndarray, float, float]:
    """Train one arm on one split; return what each test row lost (0 or 1, or the squared error), its score, and the seconds."""
    rows = rows_of(name, seed)
    started = time.perf_counter()
    _, said = min((trained(arm, rows, rate, seed) for rate in RATES), key=lambda item: item[0])
    seconds = (time.perf_counter() - started) / len(RATES)
    if rows.numeric:
        each = off(said, rows.test_y, True).double().numpy()
        return each, float(1 - each.mean() / rows.test_y.double().var(unbiased=False)), seconds
    each = (said.softmax(2).mean(1).argmax(1) != rows.test_y).double().numpy()
    return each, float(1 - each.mean()), seconds


def lines(name: str, splits: int) -> list[tuple[str, ...]]:
    """Return the table's lines: score and seconds of every arm, and the gain of the members over it, paired, with its interval."""
    found = {arm: [lost(arm, name, seed) for seed in range(splits)] for arm in ARMS}
    members = np.concatenate([each for each, _, _ in found[ARMS[2]]])
    rng, made = np.random.default_rng(0), []
    for arm, runs in found.items():
        gain = (np.concatenate([each for each, _, _ in runs]) - members) / (1 if name not in NUMBERS else _unit(runs))
        drawn = [gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(RESAMPLES)]
        low, high = np.percentile(drawn, (2.5, 97.5))
        beside = "" if arm == ARMS[2] else f"{gain.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
        made.append((name, arm, f"{np.mean([score for _, score, _ in runs]):.4f}", beside, f"{np.mean([item[2] for item in runs]):.1f}"))
    return made


def _unit(runs: list[tuple[np.ndarray, float, float]]) -> float:
    return float(np.mean([each.mean() / max(1e-12, 1 - score) for each, score, _ in runs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default="digits,vowel,vehicle,breast_cancer,satellite,friedman1,friedman3,boston")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args: Any = parser.parse_args()
    torch.set_num_threads(args.threads)
    found = [line for name in args.tables.split(",") for line in lines(name, args.splits)]
    record("members_quality", "Members against one member, one of equal cost, and the tabm package",
           ("table", "network", "accuracy, or R² of numbers", "gain of the members, paired", "seconds a training"), found,
           f"{BLOCKS} layers of {WIDTH}, {MEMBERS} members, dropout 0.1, AdamW, batches of {BATCH}; validation (a fifth of the training "
           f"rows) chooses the rate of {' and '.join(map(str, RATES))} and the pass, at most {EPOCHS}, {PATIENCE} without gain end it; "
           f"at most {ROWS:,} rows of a table, {args.splits} splits of which three tenths are tested; 95% interval by resampling tested "
           "rows in pairs. Of equal cost: one network as wide as makes as many products a row.",
           f"python -m benchmarks.members_quality --tables {args.tables} --splits {args.splits} --threads {args.threads}")


if __name__ == "__main__":
    main()
