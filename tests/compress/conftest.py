"""A small classifier that has learnt something, its graph, and rows to calibrate on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.types import Calibration
from bessemer.nn.bert import Bert, BertConfig
from tests.export.test_onnx import export

VOCAB, LENGTH = 60, 24
Compress = Callable[..., dict[str, Any]]


def rows_of(count: int, seed: int, length: int = LENGTH) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of one length whose label is which of three groups of tokens is the most frequent."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count)
    ids = rng.integers(5, VOCAB, (count, length))
    marked = rng.random((count, length)) < 0.5
    ids = np.where(marked, 5 + 18 * label[:, None] + rng.integers(0, 18, (count, length)), ids)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}, label


def learnt(steps: int = 60) -> Bert:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Bert(BertConfig(vocab_size=VOCAB, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
                              max_position_embeddings=LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                              initializer_range=0.1),
                   ("classification",), 3, ("a", "b", "c"))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(steps):
        feeds, label = rows_of(32, step + 1000)
        loss = torch.nn.functional.cross_entropy(network(**{name: torch.from_numpy(array) for name, array in feeds.items()}),
                                                 torch.from_numpy(label))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float graph of a small classifier that is right on nearly all rows."""
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(learnt(), file)
    return file


@pytest.fixture(scope="session")
def pruned(graph: Path) -> Path:
    """The graph with 2 of 4 weights zero along every matrix' inputs."""
    model = onnx.load(str(graph))
    for item in model.graph.initializer:
        weight = numpy_helper.to_array(item)
        if weight.ndim == 2 and weight.dtype == np.float32 and weight.size >= 2048:
            groups = np.abs(weight).reshape(-1, 4)
            smallest = np.argsort(groups, axis=1)[:, :2]
            kept = np.ones_like(groups, bool)
            np.put_along_axis(kept, smallest, False, axis=1)
            item.CopyFrom(numpy_helper.from_array(weight * kept.reshape(weight.shape), item.name))
    file = graph.with_name("pruned.onnx")
    onnx.save(model, str(file))
    return file


@pytest.fixture(scope="session")
def compress() -> Compress:
    """Run a method by its kind on a file, with rows like those that the classifier learnt."""
    def run(kind: str, source: Path, target: Path, **settings: Any) -> dict[str, Any]:
        config = make("compress", {"kind": kind, **settings})
        rows = Calibration(96, lambda: (rows_of(16, seed, 8 + seed)[0] for seed in range(6)))
        facts: dict[str, Any] = plugin_of("compress", config).function(config)(source, target, rows)
        return facts

    return run
