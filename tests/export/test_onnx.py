"""Export: the graph answers as the network, in any batch and length; the same bytes in another process; nothing leaks."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.export.parity import assert_close
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.network import Network
from bessemer.predictors.onnx_form import open_session

EXPORT = """
import sys, torch
from pathlib import Path
from tests.export.test_onnx import tiny_bert, export
export(tiny_bert(), Path(sys.argv[1]))
"""


def tiny_bert() -> Bert:
    torch.set_num_threads(1)
    torch.manual_seed(3)
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32,
                        max_position_embeddings=40, initializer_range=0.4)
    return Bert(config, ("classification",), 3, ("a", "b", "c")).eval()


def export(network: Network, file: Path) -> None:
    config = make("export", "onnx")
    plugin_of("export", config).function(config)(network, file)


def batch(rows: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows * 100 + length)
    real = rng.integers(1, length + 1, rows)
    return {"input_ids": rng.integers(3, 50, (rows, length)), "token_type_ids": rng.integers(0, 2, (rows, length)),
            "attention_mask": (np.arange(length)[None, :] < real[:, None]).astype(np.int64)}


def check(network: Network, file: Path, segments: bool = True) -> None:
    session = open_session(file)
    for rows, length in ((1, 1), (1, 9), (3, 2), (5, 30)):
        arrays = batch(rows, length)
        if not segments:
            arrays["token_type_ids"][:] = 0
        with torch.inference_mode():
            expected = network(**{name: torch.from_numpy(array) for name, array in arrays.items()}).numpy()
        assert_close(expected, session.run(["logits"], arrays)[0], 1e-4, f"{rows} x {length}")


def test_bert_answers_the_same_and_its_bytes_repeat(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx

    network = tiny_bert()
    export(network, tmp_path / "model.onnx")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]
    check(network, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    root = Path(__file__).resolve().parents[2]
    for leak in (str(root), sys.prefix, "bert.py", "stack_trace"):
        assert leak.encode() not in content
    graph = onnx.load_from_string(content).graph
    assert [[axis.dim_param for axis in item.type.tensor_type.shape.dim] for item in graph.input] == [["batch", "length"]] * 3
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("Softmax") == 1 and "IsNaN" not in kinds
    subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path / "again.onnx")], check=True, cwd=root, capture_output=True,
                   env={"PYTHONPATH": str(root), "PYTHONHASHSEED": "7", "PATH": ""})
    assert hashlib.sha256((tmp_path / "again.onnx").read_bytes()).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_other_families_answer_the_same(family: str, tmp_path: Path) -> None:
    import transformers

    from bessemer.nn.hf import HfNetwork

    torch.set_num_threads(1)
    torch.manual_seed(4)
    config: Any = transformers.DistilBertConfig(vocab_size=50, dim=16, n_layers=1, n_heads=4, hidden_dim=32,
                                                max_position_embeddings=40, initializer_range=0.4)
    if family == "roberta":
        config = transformers.RobertaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=4, pad_token_id=1,
                                            intermediate_size=32, max_position_embeddings=40, type_vocab_size=1, initializer_range=0.4)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    network = HfNetwork(model, ("classification",), ("a", "b")).eval()
    export(network, tmp_path / "model.onnx")
    check(network, tmp_path / "model.onnx")


def test_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="training mode"):
        export(tiny_bert().train(), tmp_path / "model.onnx")
