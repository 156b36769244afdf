"""The engine against the barest hand-written loop: the same network, batches, optimiser and clipping, in turn."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import record, spread
from bessemer.core.events import Events
from bessemer.core.run import RunContext, Stop
from bessemer.core.types import Batch, Loss, Task
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job
from bessemer.engine.loop import fit
from bessemer.engine.sampler import BatchShape, by_length
from bessemer.nn.bert import Bert, BertConfig

ROWS, ROUNDS, VOCABULARY = 1280, 5, 8000


def make_rows() -> tuple[list[torch.Tensor], np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    lengths = generator.integers(16, 96, ROWS)
    tokens = [torch.from_numpy(generator.integers(5, VOCABULARY, length)) for length in lengths]
    return tokens, lengths, generator.integers(0, 2, ROWS)


def make_task(tokens: list[torch.Tensor], lengths: np.ndarray, codes: np.ndarray) -> Task:
    target = torch.from_numpy(codes)

    def batch(positions: np.ndarray, epoch: int) -> Batch:
        ids = torch.nn.utils.rnn.pad_sequence([tokens[row] for row in positions], batch_first=True)
        return Batch({"text": {"input_ids": ids, "attention_mask": (ids > 0).long(), "token_type_ids": torch.zeros_like(ids)}},
                     {"label": target[positions]}, row_ids=torch.from_numpy(positions))

    def loss(network: torch.nn.Module, item: Batch) -> Loss:
        per_row = torch.nn.functional.cross_entropy(network(**item.inputs["text"]), item.targets["label"], reduction="none")
        return Loss(per_row.mean(), {"loss": (per_row.detach().sum(), len(per_row))}, per_row.detach())

    return Task("bench", ("classification",), batch, loss, lengths, len(lengths))


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return Bert(BertConfig(vocab_size=VOCABULARY, hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024),
                ("classification",), 2).train()


def bare(task: Task, batches: list[Batch]) -> float:
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
    started = time.perf_counter()
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        task.loss(net, batch).total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - started


def engine(task: Task, shape: BatchShape, folder: Path, **settings: Any) -> float:
    net = network()
    context = RunContext("bench", "k", 0, None, folder, folder / "state", Events(), Stop(), {})
    config = TrainingConfig(**{"num_train_epochs": 1, "learning_rate": 1e-4, "warmup_ratio": 0.0, **settings})
    spent = [0.0]

    def validate() -> dict[str, float]:
        spent[0] = time.perf_counter()  # the one validation comes after the last step: what follows it is not counted
        return {"loss": 0.0}

    started = time.perf_counter()
    fit(Job(net, task, config, shape, context, validate, ("loss", False)))
    return spent[0] - started


def main() -> None:
    task = make_task(*make_rows())
    shape = BatchShape(32, None, 0, 128)
    batches = [task.batch(rows, 0) for rows in by_length(0, 0, task.costs, shape)]
    bare(task, batches[:5])
    hand, ours = [], []
    for _ in range(ROUNDS):
        hand.append(bare(task, batches))
        with tempfile.TemporaryDirectory() as folder:
            ours.append(engine(task, shape, Path(folder)))
    ratios = [a / b for a, b in zip(hand, ours, strict=True)]
    record("engine", "Engine against a hand-written loop", ("loop", "seconds an epoch, median (range)"),
           [("hand-written, batches made beforehand", spread(hand)), ("engine, batches made on the way", spread(ours)),
            ("engine's speed as a part of the hand-written loop's", spread(ratios))],
           f"BERT 4 x 256, {ROWS} rows of 16 to 95 tokens in batches of 32, AdamW (fused), clipping; {ROUNDS} rounds in turn. "
           "The engine's time holds its guards, curves, seeding and batch assembly. Target: ≥ 0.95.")


if __name__ == "__main__":
    main()
