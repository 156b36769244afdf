"""Latency of one text of 128 tokens: torch float32 eager, ONNX float32 and ONNX int8 of the catalogue's weights, in turn."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import record, spread
from bessemer.compress.dynamic_int8 import DynamicInt8, dynamic_int8
from bessemer.core.fetch import fetch
from bessemer.core.registry import plugin
from bessemer.core.types import Calibration
from bessemer.export.onnx import Onnx, onnx_graph
from bessemer.nn.checkpoint import load_network
from bessemer.predictors.onnx_form import open_session

ROUNDS, LENGTH = 60, 128


def main() -> None:
    entry = plugin("datasets", "minilm")
    item = entry.function(entry.config())
    network = load_network(fetch(item.resource) / item.folder, ("classification",), ("a", "b")).eval()
    generator = np.random.default_rng(0)
    ids = generator.integers(1000, 30000, (1, LENGTH))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    tensors = {name: torch.from_numpy(value) for name, value in feed.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx_graph(Onnx())(network, folder / "model.onnx")
        dynamic_int8(DynamicInt8())(folder / "model.onnx", folder / "int8.onnx", Calibration(0, lambda: iter(())))
        sizes = [file.stat().st_size / 1e6 for file in (folder / "model.onnx", folder / "int8.onnx")]
        sessions = [open_session(folder / file) for file in ("model.onnx", "int8.onnx")]
        calls = {"torch float32 eager": lambda: network(**tensors),
                 "ONNX float32": lambda: sessions[0].run(None, feed), "ONNX int8": lambda: sessions[1].run(None, feed)}
        taken: dict[str, list[float]] = {label: [] for label in calls}
        with torch.inference_mode():
            for round_number in range(ROUNDS + 5):
                for label, call in calls.items():
                    started = time.perf_counter()
                    call()
                    if round_number >= 5:
                        taken[label].append((time.perf_counter() - started) * 1000)
    base = taken["torch float32 eager"]
    rows = [(label, spread(values), spread([a / b for a, b in zip(base, values, strict=True)])) for label, values in taken.items()]
    record("int8", "Latency of int8", ("form", "ms, median (range)", "times faster than torch, same round"), rows,
           f"minilm (6 x 384), batch 1, {LENGTH} tokens, {ROUNDS} rounds in turn after 5 to warm up. Sizes: ONNX float32 "
           f"{sizes[0]:.1f} MB, int8 {sizes[1]:.1f} MB. Target: int8 ≥ 1.8 times faster than torch float32 eager.")


if __name__ == "__main__":
    main()
