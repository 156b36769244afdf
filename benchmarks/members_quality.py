"""python -m benchmarks.members_quality [--tables a,b] [--splits n]: members against one member, one of equal cost, and the tabm package.

The same rows, standardised alike, the same epochs, batches, rate and width for all; what is left out of training (three tenths) is
tested. No settings are chosen: none is tuned, so that what differs is the network. Labels: accuracy; numbers: R². Paired by row.
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

WIDTH, BLOCKS, BATCH, EPOCHS, RESAMPLES = 128, 3, 128, 30, 2000
ROWS = 2000
ARMS = ("one member", "one member of equal cost", f"{MEMBERS} members", "tabm package")


def rows_of(name: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Return training and test rows, standardised, their targets (codes, or standardised numbers), and the number of outputs."""
    table = TABLES[name]()
    drawn = np.random.default_rng(0).permutation(len(table.rows))[:ROWS]
    frame = table.rows.take(np.sort(drawn)).drop_columns([item for item in ("split",) if item in table.rows.column_names])
    numeric = name in NUMBERS
    given = frame[table.target].to_numpy(zero_copy_only=False)
    target = given.astype(float) if numeric else np.unique(given.astype(str), return_inverse=True)[1]
    x = np.stack([frame[column].to_numpy(zero_copy_only=False).astype(float) for column in frame.column_names if column != table.target], 1)
    train, test, train_y, test_y = train_test_split(x, target, test_size=0.3, random_state=seed, stratify=None if numeric else target)
    mean, scale = train.mean(0), train.std(0) + 1e-6
    x, test_x = (torch.tensor((part - mean) / scale, dtype=torch.float32) for part in (train, test))
    if numeric:
        y, held = (torch.tensor((part - train_y.mean()) / train_y.std(), dtype=torch.float32) for part in (train_y, test_y))
        return x, y, test_x, held, 1
    return x, torch.tensor(train_y), test_x, torch.tensor(test_y), int(target.max()) + 1


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


def lost(arm: str, name: str, seed: int) -> tuple[np.ndarray, float, float]:
    """Train one arm on one split; return what each test row lost (0 or 1, or the squared error), its score, and the seconds."""
    x, y, test_x, test_y, outputs = rows_of(name, seed)
    torch.manual_seed(seed)
    network, answer = built(arm, x.shape[1], outputs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=3e-4, fused=True)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            said_BMC = answer(network, x[chosen])
            wanted = y[chosen].repeat_interleave(said_BMC.shape[1])
            flat = said_BMC.flatten(0, 1)
            loss = nn.functional.mse_loss(flat[:, 0], wanted) if name in NUMBERS else nn.functional.cross_entropy(flat, wanted)
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - started
    network.eval()
    with torch.no_grad():
        said = answer(network, test_x)
    if name in NUMBERS:
        each = (said.mean(1)[:, 0] - test_y).square().double().numpy()
        return each, float(1 - each.mean() / test_y.double().var(unbiased=False)), seconds
    each = (said.softmax(2).mean(1).argmax(1) != test_y).double().numpy()
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
           f"{BLOCKS} layers of {WIDTH}, {MEMBERS} members, dropout 0.1, AdamW 2e-3, batches of {BATCH}, {EPOCHS} epochs, none chosen; "
           f"at most {ROWS:,} rows of a table, {args.splits} splits of which three tenths are tested; 95% interval by resampling tested "
           "rows in pairs. Of equal cost: one network as wide as makes as many products a row.",
           f"python -m benchmarks.members_quality --tables {args.tables} --splits {args.splits} --threads {args.threads}")



if __name__ == "__main__":
    main()
