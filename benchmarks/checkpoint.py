"""What checkpoints cost: the same epoch with and without them; the cost of one is carried to one a minute."""

import tempfile
from pathlib import Path

from benchmarks.engine import engine, make_rows, make_task
from benchmarks.record import record, spread
from bessemer.engine.sampler import BatchShape

ROUNDS, SECONDS = 2, 5.0


def main() -> None:
    task = make_task(*make_rows())
    shape = BatchShape(32, None, 0, 128)
    without, with_them = [], []
    for _ in range(ROUNDS):
        for taken, seconds in ((without, 1e9), (with_them, SECONDS)):
            with tempfile.TemporaryDirectory() as folder:
                taken.append(engine(task, shape, Path(folder), checkpoint_seconds=seconds, num_train_epochs=2))
    costs = [(b - a) / max(1, int(b // SECONDS)) for a, b in zip(without, with_them, strict=True)]
    record("checkpoint", "Cost of checkpoints", ("", "seconds, median (range)"),
           [("two epochs without checkpoints", spread(without)), (f"two epochs, one every {SECONDS:.0f} s", spread(with_them)),
            ("cost of one checkpoint", spread(costs)), ("part of the time at one a minute", spread([cost / 60 for cost in costs]))],
           f"The network of the engine benchmark (5.4 M parameters: weights and optimiser 65 MB); {ROUNDS} rounds in turn. "
           "Target: ≤ 0.02 of the time at one a minute.")


if __name__ == "__main__":
    main()
