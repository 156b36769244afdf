"""The engine in turns (see `turns.py`): python -m benchmarks.peers.text_engine {finetune|mlm} DATA GRADIENT_THREADS SEED."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.turns import Turns
from bessemer.core.events import Events
from bessemer.core.pick import make
from bessemer.core.run import RunContext, Stop
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, BuildSpec
from bessemer.engine.config import TrainingConfig
from bessemer.engine.job import Job
from bessemer.engine.loop import fit
from bessemer.nn.bert import Bert, BertConfig
from bessemer.stages import _learning as learning

SETTINGS: dict[str, Any] = {"learning_rate": 5e-5, "weight_decay": 0.01, "warmup_ratio": 0.0}
BERT = {"kind": "bert", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
TOKENS = 4096


def products(config: BertConfig, mask_BL: np.ndarray, masked: int) -> float:
    """Return the operations, in billions, of the matrix products that a step needs: a multiplication and an addition are two.

    Each product is counted three times, once forward and twice backward (as to its input and its weights): linear layers over the tokens
    with their padding, attention over each row's own length (q k', weights v), the masked language model's head over the masked
    positions. What the backward pass computes a second time is not counted.
    """
    width, inner = config.hidden_size, config.intermediate_size
    linear = mask_BL.size * (4 * width * width + 2 * width * inner)
    attention = 2 * width * int((mask_BL.sum(axis=1).astype(np.int64) ** 2).sum())
    head = masked * (width * width + width * config.vocab_size)
    return 3 * 2 * (config.num_hidden_layers * (linear + attention) + head) / 1e9


def counted(network: Bert, batch: Batch) -> dict[str, float]:
    """Return what a batch holds."""
    found = {"rows": 0.0, "tokens": 0.0, "gflop": 0.0}
    for part in batch.parts or (batch,):
        mask_BL = next(iter(part.inputs.values()))["attention_mask"].numpy()
        masked = len(part.targets["mlm"]) if "mlm" in part.targets else 0
        found["rows"] += len(mask_BL)
        found["tokens"] += float(mask_BL.sum())
        found["gflop"] += products(network.config, mask_BL, masked)
    return found


def main() -> None:
    kind, data, threads, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if threads > 1:
        torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    context = RunContext("bench", "k", seed, None, folder, folder / "state", Events(), Stop(), {})
    spec = learning.open_split(data, "train", seed)
    assert isinstance(spec, TaskSpec)
    task = learning.make_task(None if kind == "finetune" else make("tasks", "mlm"), spec)
    model = make("models", {"kind": "pretrained", "name": "minilm", "new_heads": True} if kind == "finetune" else BERT)
    labels = spec.schema.columns[-1].labels if kind == "finetune" else ()
    network = learning.build_network(model, BuildSpec(spec.schema, spec.codec.info, task.heads, labels), context, data)
    assert isinstance(network, Bert)
    size = {"per_device_train_batch_size": 32} if kind == "finetune" else {"per_device_train_batch_size": 256, "tokens_per_batch": TOKENS}
    config = TrainingConfig(num_train_epochs=1000, max_steps=100_000, gradient_threads=threads, lr_scheduler_type="constant",
                            checkpoint_seconds=3600, **SETTINGS, **size)
    turns, last = Turns(), {"rows": 0.0}

    from bessemer.engine.job import backpropagate

    def gradients(job: Job, batches: list[Batch], step: int) -> Any:
        turns.step(**last)
        last.update(counted(network, batches[0]))
        return backpropagate(job, batches, step)

    job = Job(network, task, config, learning.batch_shape(config, spec), context, lambda: {"loss": 0.0}, ("loss", False))
    fit(replace(job, gradients=gradients))


if __name__ == "__main__":
    main()
