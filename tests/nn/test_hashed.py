"""Hashed n-grams: buckets that pairs are spread over, and bags of a token's window for tags."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from bessemer.export.onnx import Onnx, onnx_graph
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.nn.ngrams import MODULUS, MULTIPLIER, SPREAD, Ngrams, NgramsConfig, bucket_of
from bessemer.nn.text_rnn import TextRnn, TextRnnConfig
from bessemer.testing import rows

torch.set_num_threads(1)
TAGS = ("tags",)
CONFIG = NgramsConfig(rows.VOCAB_SIZE, embedding_size=4, sizes=(1, 2, 3), buckets=97, hidden_size=5, window=2, spread=True)


def tagger(**more: object) -> Ngrams:
    torch.manual_seed(4)
    made = Ngrams(dataclasses.replace(CONFIG, **more), TAGS, rows.LABELS).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(made.words.weight)
    with torch.no_grad():
        made.words.weight[made.rows.padding] = 0
    return made


@pytest.mark.parametrize("buckets", [20_000, 100_000, 1_000_000])
def test_pairs_of_frequent_tokens_are_spread_over_the_buckets(buckets: int) -> None:
    """150 x 150 pairs: by chance 1 - exp(-n / K) of the buckets are taken; without the second product a few hundred were."""
    first, second = (item.ravel() for item in torch.meshgrid(torch.arange(150), torch.arange(150), indexing="ij"))
    code = ((first + 1) * MULTIPLIER + second) % MODULUS
    taken = len(torch.unique(bucket_of(code, buckets, True)))
    assert taken > 0.98 * buckets * (1 - np.exp(-len(code) / buckets))
    assert len(torch.unique(bucket_of(code, buckets, False))) < 700
    assert (MODULUS - 1) * SPREAD < 2**63, "int64 never wraps"


def test_a_token_knows_the_ngrams_of_its_window_and_where_they_stand() -> None:
    network, arrays = tagger(), rows.batch_of(4, 9)
    said = network(*(torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask", "token_type_ids"))).detach().numpy()
    w = {name: value.detach().numpy() for name, value in network.named_parameters()}
    for row in range(4):
        length = int(arrays["attention_mask"][row].sum())
        ids = [0, 0, *arrays["input_ids"][row, :length].tolist(), *[0] * (len(arrays["input_ids"][row]) - length), 0, 0]
        for token in range(length):
            places = [ids[token + 2]]
            for size in (1, 2, 3):
                for start in range(6 - size):
                    code = 64 * size + start
                    for item in ids[token + start:token + start + size]:
                        code = (code * MULTIPLIER + item) % MODULUS
                    places.append(rows.VOCAB_SIZE + code * SPREAD % MODULUS % 97)
            hidden = np.maximum(w["dense.weight"] @ w["words.weight"][places].sum(0) + w["dense.bias"], 0)
            np.testing.assert_allclose(said[row, token], w["classifier.weight"] @ hidden + w["classifier.bias"], atol=1e-5)


def test_unseen_ngrams_say_nothing_before_training() -> None:
    network = Ngrams(CONFIG, TAGS, rows.LABELS)
    assert network.words.weight[rows.VOCAB_SIZE:].abs().sum() == 0 and network.words.weight[:rows.VOCAB_SIZE].abs().sum() > 0


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_tagger_is_saved_read_and_exported(hidden: int, tmp_path: Path) -> None:
    network, arrays = tagger(hidden_size=hidden), rows.batch_of(3, 7)
    save_network(network, tmp_path)
    again = load_network(tmp_path, TAGS, rows.LABELS).eval()
    given = {name: arrays[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    said = network(**{name: torch.from_numpy(item) for name, item in given.items()}).detach().numpy()
    assert torch.equal(again(**{name: torch.from_numpy(item) for name, item in given.items()}), torch.from_numpy(said))
    onnx_graph(Onnx())(network, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    (found,) = session.run(["logits"], {name: item for name, item in given.items() if name in wanted})
    np.testing.assert_allclose(found, said, atol=1e-5)


@pytest.mark.parametrize("spread", [True, False])
def test_recurrent_networks_of_both_kinds_of_buckets_are_exported(spread: bool, tmp_path: Path) -> None:
    torch.manual_seed(5)
    config = TextRnnConfig(rows.VOCAB_SIZE, embedding_size=6, hidden_size=5, bigrams=50, bigram_size=3, spread=spread)
    network, arrays = TextRnn(config, TAGS, rows.LABELS).eval(), rows.batch_of(3, 7)
    assert network.describe()["spread"] is spread
    given = {name: arrays[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    said = network(**{name: torch.from_numpy(item) for name, item in given.items()}).detach().numpy()
    onnx_graph(Onnx())(network, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    (found,) = session.run(["logits"], {name: item for name, item in given.items() if name in wanted})
    kept = arrays["attention_mask"] != 0
    np.testing.assert_allclose(found[kept], said[kept], atol=1e-5)
