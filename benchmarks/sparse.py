"""Sparse layers beside dense ones: time of forward + backward, bytes on disk, and the peak memory of 10^8 weights with Adam."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.record import record, spread
from bessemer.nn.sparse import SparseLinear

ROUNDS, INPUTS, NEURONS, BATCH, THREADS = 200, 1536, 384, 128, 2
WIDE, CONNECTIONS, STEPS = 1_000_000, 100, 3


def step_of(layer: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor) -> Callable[[], None]:
    """Forward + backward, with the gradients of the weights and of the inputs."""

    wanted = (x, *layer.parameters())

    def step() -> None:
        torch.autograd.grad(layer(x), wanted, grad)

    return step


def csr_step(layer: SparseLinear, x: torch.Tensor, grad: torch.Tensor) -> Callable[[], None]:
    """The same by torch's CSR matrix, whose gradient comes back dense."""
    columns = layer.element_columns().sort(1)[0].long()
    starts = torch.arange(0, columns.numel() + 1, columns.shape[1])
    weight = torch.sparse_csr_tensor(starts, columns.flatten(), layer.values.detach(), (NEURONS, INPUTS),
                                     check_invariants=False).requires_grad_()

    def step() -> None:
        torch.autograd.grad((weight @ x.t().contiguous()).t(), (x, weight), grad)

    return step


def bytes_of(layer: torch.nn.Module) -> int:
    with tempfile.TemporaryDirectory() as name:
        save_file(layer.state_dict(), Path(name) / "layer.safetensors")
        return (Path(name) / "layer.safetensors").stat().st_size


def large() -> None:
    """Train 10^6 -> 10^6 with 10^8 weights by Adam and print what it took; run in a process of its own."""
    torch.set_num_threads(THREADS)
    started = time.perf_counter()
    layer = SparseLinear(WIDE, WIDE, CONNECTIONS)
    built = time.perf_counter() - started
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3, fused=True)
    x = torch.randn(8, WIDE, requires_grad=True)
    taken, losses = [], []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        x.grad = None
        optimizer.zero_grad()
        loss = (layer(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        taken.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"weights": layer.values.numel(), "built_s": built, "first_s": taken[0], "steps_s": taken[1:], "losses": losses,
                      "peak": peak}))


def layers() -> tuple[dict[str, torch.nn.Module], dict[str, Callable[[], None]]]:
    """Return what is compared: a layer and its step by name."""
    torch.manual_seed(0)
    x, grad = torch.randn(BATCH, INPUTS, requires_grad=True), torch.randn(BATCH, NEURONS)
    made: dict[str, torch.nn.Module] = {"dense nn.Linear": torch.nn.Linear(INPUTS, NEURONS)}
    for sparsity in (0.9, 0.95, 0.99):
        made[f"SparseLinear {sparsity:.0%}"] = SparseLinear(INPUTS, NEURONS, sparsity)
    made["SparseLinear 95%, tiles of 16"] = SparseLinear(INPUTS, NEURONS, 0.95, "block")
    steps = {label: step_of(layer, x, grad) for label, layer in made.items()}
    for label, layer in list(made.items()):
        if isinstance(layer, SparseLinear) and "tiles" not in label:
            name = label.replace("SparseLinear", "torch CSR")
            made[name], steps[name] = layer, csr_step(layer, x, grad)
    return made, steps


def timed(threads: int) -> list[tuple[str, ...]]:
    """Return the rows of the table for a number of threads."""
    torch.set_num_threads(threads)
    made, steps = layers()
    taken: dict[str, list[float]] = {label: [] for label in steps}
    for number in range(ROUNDS + 20):
        for label, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= 20:
                taken[label].append((time.perf_counter() - started) * 1000)
    base = taken["dense nn.Linear"]
    return [(label, str(threads), spread(values), spread([a / b for a, b in zip(base, values, strict=True)]),
             "dense gradient" if label.startswith("torch CSR") else f"{bytes_of(made[label]) / 1e3:.0f} kB")
            for label, values in taken.items()]


def main() -> None:
    rows = [row for threads in (1, THREADS) for row in timed(threads)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.sparse", "large"], capture_output=True, text=True, check=True)
    wide = json.loads(done.stdout)
    notes = (f"{INPUTS} -> {NEURONS}, batch {BATCH}, row-major inputs and gradients, {ROUNDS} rounds in turn after 20 to warm up, first by "
             f"one thread (as each of `gradient_threads` computes), then by {THREADS} within every operator; gradients of inputs, "
             f"weights "
             f"and biases. Sparse layers return outputs and gradients of inputs as "
             f"transposed views, which cost a copy where the next operator needs them row-major. Targets: 95% ≥ 2.5 times and 99% ≥ 6 "
             f"times faster than dense.\n\n"
             f"A layer of {WIDE} -> {WIDE} with {wide['weights']} weights (99.99% sparse), batch 8, fused Adam, {THREADS} threads, in a "
             f"process of its own: "
             f"peak resident memory {wide['peak'] / 1e9:.2f} GB (target: 4), built in {wide['built_s']:.0f} s, first step "
             f"{wide['first_s']:.0f} s (it sorts the weights by input once), then {spread(wide['steps_s'])} s a step; loss "
             f"{wide['losses'][0]:.4f} -> {wide['losses'][-1]:.4f}.")
    record("sparse", "Sparse layers", ("layer", "threads", "ms forward + backward, median (range)", "times faster than dense, same round",
                                       "on disk"), rows, notes)


if __name__ == "__main__":
    large() if sys.argv[1:] == ["large"] else main()
