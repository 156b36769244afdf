"""32 members beside 32 separate networks and beside the tabm package: seconds a step, and accuracy on the same rows."""

import dataclasses
import time
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from benchmarks.record import record, spread
from bessemer.nn.table import TableConfig, TableNetwork

THREADS, ROUNDS, MEMBERS, NUMBERS = 2, 10, 32, 50
SIZES = ((256, 16), (256, 64), (256, 256), (512, 128))
EPOCHS, SEEDS = 30, (0, 1, 2)


def tabm_network(numbers: int, outputs: int, width: int) -> nn.Module:
    import tabm

    return tabm.TabM.make(n_num_features=numbers, d_out=outputs, n_blocks=3, d_block=width, dropout=0.1, k=MEMBERS)


def stepper(networks: list[nn.Module], answer: Callable[[nn.Module], Tensor]) -> Callable[[], None]:
    """Forward, backward and AdamW (fused) of every network."""
    optimizers = [torch.optim.AdamW(network.parameters(), fused=True) for network in networks]

    def step() -> None:
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            answer(network).square().mean().backward()
            optimizer.step()

    return step


def speed(width: int, batch: int) -> list[tuple[str, ...]]:
    """Rows of the table: each arm's milliseconds a step, in turn, and its part of the separate networks' in the same round."""
    x, codes = torch.randn(batch, NUMBERS), torch.zeros(batch, 0, dtype=torch.int64)
    one = TableConfig(NUMBERS, (), 1, hidden_sizes=(width,) * 3)
    full, mini = (dataclasses.replace(one, members=MEMBERS, adapters=kind) for kind in ("full", "mini"))
    ours = lambda network: network(x, codes)  # noqa: E731
    steps = {f"{MEMBERS} separate networks": stepper([TableNetwork(one) for _ in range(MEMBERS)], ours),
             f"{MEMBERS} members, full": stepper([TableNetwork(full)], ours),
             f"{MEMBERS} members, mini": stepper([TableNetwork(mini)], ours),
             "tabm package": stepper([tabm_network(NUMBERS, 1, width)], lambda network: network(x))}
    taken: dict[str, list[float]] = {label: [] for label in steps}
    for number in range(ROUNDS + 3):
        for label, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 3:
                taken[label].append((time.perf_counter() - started) * 1000)
    base = taken[f"{MEMBERS} separate networks"]
    return [(f"3 x {width}, batch {batch}", label, spread(values), spread([a / b for a, b in zip(values, base, strict=True)]))
            for label, values in taken.items()]


def accuracy(make: Callable[[], nn.Module], answer: Callable[[nn.Module, Tensor], Tensor], seed: int) -> float:
    """Train on one split of handwritten digits (1,797 rows of 64 numbers) and return the accuracy of the averaged members."""
    rows, labels = load_digits(return_X_y=True)
    train, test, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=seed, stratify=labels)
    mean, scale = train.mean(0), train.std(0) + 1e-6
    x, test_x = (torch.tensor((part - mean) / scale, dtype=torch.float32) for part in (train, test))
    y, test_y = torch.tensor(train_y), torch.tensor(test_y)
    torch.manual_seed(seed)
    network = make()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=3e-4, fused=True)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            logits_BMC = answer(network, x[chosen])
            nn.functional.cross_entropy(logits_BMC.flatten(0, 1), y[chosen].repeat_interleave(logits_BMC.shape[1])).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return float((answer(network, test_x).softmax(2).mean(1).argmax(1) == test_y).double().mean())


def main() -> None:
    torch.set_num_threads(THREADS)
    rows = [row for width, batch in SIZES for row in speed(width, batch)]
    one = TableConfig(64, (), 10, hidden_sizes=(128,) * 3)
    many = dataclasses.replace(one, members=MEMBERS)
    answer = lambda network, x: network(x, torch.zeros(len(x), 0, dtype=torch.int64))  # noqa: E731
    arms = {"one member": lambda seed: accuracy(lambda: TableNetwork(one), answer, seed),
            f"{MEMBERS} members, full": lambda seed: accuracy(lambda: TableNetwork(many), answer, seed),
            "tabm package": lambda seed: accuracy(lambda: tabm_network(64, 10, 128), lambda network, x: network(x), seed)}
    for label, arm in arms.items():
        started = time.perf_counter()
        found = [arm(seed) for seed in SEEDS]
        rows.append(("digits, 3 x 128", label, f"{(time.perf_counter() - started) / len(SEEDS):.1f} s a training",
                     f"accuracy {spread(found)}"))
    counts = [sum(item.numel() for item in TableNetwork(TableConfig(NUMBERS, (), 1, hidden_sizes=(512,) * 3, members=members)).parameters())
              for members in (1, MEMBERS)]
    record("members", "Members that share weights", ("network", "arm", "ms a step, median (range)", "part of the separate networks'"), rows,
           f"Forward, backward and fused AdamW, {NUMBERS} numbers, dropout 0.1, {THREADS} threads, {ROUNDS} rounds in turn. The products "
           f"of rows with weights are as many for members as for separate networks; what members save is the optimiser's work, the "
           f"weights' traffic and the calls, so the part falls with the batch. Target: at most 0.5. Weights at 3 x 512: one member "
           f"{counts[0]:,}, {MEMBERS} members {counts[1]:,} ({counts[1] / counts[0]:.2f} times, heads included; target: 1.3). "
           f"Digits: {EPOCHS} epochs, batch 128, {len(SEEDS)} splits.")


if __name__ == "__main__":
    main()
