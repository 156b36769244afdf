"""compress: a method that changed nothing of a network makes no form, and says so; the products of members go into blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bessemer.api import run
from bessemer.core.events import Events
from bessemer.core.forms import open_form, read_forms
from bessemer.stages._compressing import same_graph
from bessemer.stages.compress import validation_rows
from tests.conftest import write_csv


def test_blocks_of_members_are_smaller_and_a_method_without_effect_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    write_csv(tmp_path / "rows.csv", [(repr(float(x)), repr(float(-x)), repr(float(2 * x))) for x in a], ("a", "b", "y"))
    heard: list[str] = []

    def listen(kind: str, data: dict[str, Any]) -> None:
        if kind == "note":
            heard.append(str(data["message"]))

    result = run({"name": "blocks", "threads": 1, "output_dir": str(tmp_path / "run"), "stages": {
        "prepare": {"sources": [{"kind": "csv", "path": str(tmp_path / "rows.csv")}], "inputs": {"a": {"kind": "number"},
                    "b": {"kind": "number"}},
                    "targets": {"y": {"kind": "number"}}, "split": {"kind": "random", "validation": 60, "test": 40}},
        "finetune": {"model": {"kind": "members", "members": 4, "hidden_sizes": [64, 64]}, "num_train_epochs": 3, "learning_rate": 5e-3},
        "compress": {"methods": [{"kind": "weight_only", "block_size": 16}, {"kind": "weight_only", "bits": 4, "block_size": 16},
                                 {"kind": "weight_only", "block_size": 256}], "max_accuracy_drop": 0.3}}}, events=Events([listen]))
    folder = tmp_path / "run/compress"
    assert [form.name for form in read_forms(folder)] == ["onnx-weight_only", "onnx-weight_only-2", "onnx-float32"]
    methods = result.stages["compress"].manifest.facts["methods"]
    assert [methods[name].get("left_out", False) for name in ("weight_only", "weight_only-2", "weight_only-3")] == [False, False, True]
    assert [text for text in heard if "weight_only-3" in text] == [
        "weight_only-3 changed nothing of this network, so there is no such form: it has no weights of the kind that it changes"]
    assert not (folder / "model_weight_only-3.onnx").exists()
    kinds = [node.op_type for node in onnx.load(str(folder / "model_weight_only.onnx")).graph.node]
    assert kinds.count("MatMulNBits") == methods["weight_only"]["matmuls"] == 2 and "Gemm" not in kinds
    sizes = [(folder / name).stat().st_size for name in ("model.onnx", "model_weight_only.onnx", "model_weight_only-2.onnx")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    rows, _ = validation_rows(tmp_path / "run/prepare", 60)
    exact, close = (open_form(folder, name).predict(rows)["y"].values for name in ("onnx-float32", "onnx-weight_only"))
    assert 0 < np.abs(exact - close).max() < 0.02 * np.abs(exact).max()
    assert same_graph(folder / "model.onnx", folder / "model.onnx")
    assert not same_graph(folder / "model.onnx", folder / "model_weight_only.onnx")
