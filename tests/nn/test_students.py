"""Student networks against formulas written out in numpy, blind to padding, and equal to their ONNX graphs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bessemer.core.errors import UserError
from bessemer.export.onnx import Onnx, onnx_graph
from bessemer.export.torch_program import TorchProgram, torch_program
from bessemer.nn import words
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.nn.network import Network
from bessemer.nn.ngrams import MODULUS, MULTIPLIER, Ngrams, NgramsConfig
from bessemer.nn.text_cnn import TextCnn, TextCnnConfig
from bessemer.nn.text_rnn import TextRnn, TextRnnConfig
from bessemer.testing import rows

torch.set_num_threads(1)
SIZE, HEADS = 8, ("classification",)


def trimmed(network: Network, seed: int = 0) -> Network:
    """Give a network's token map some rows; most tokens share the row of the unknown."""
    draw = np.random.default_rng(seed)
    mine = network.rows
    assert isinstance(mine, words.TokenRows) and mine.token_map is not None
    mine.token_map.copy_(torch.from_numpy(draw.integers(1, mine.count, rows.VOCAB_SIZE).astype(np.int32)))
    mine.token_map[0] = 0
    return network


def cnn(kept: int = 0, **more: object) -> TextCnn:
    torch.manual_seed(1)
    config = TextCnnConfig(rows.VOCAB_SIZE, embedding_size=SIZE, rows=kept, widths=(1, 2, 3), channels=5, pooling=("max", "mean"),
                           hidden_size=6)
    return TextCnn(dataclasses.replace(config, **more), HEADS, rows.LABELS).eval()  # type: ignore[arg-type]


def rnn(kept: int = 0, **more: object) -> TextRnn:
    torch.manual_seed(2)
    config = TextRnnConfig(rows.VOCAB_SIZE, embedding_size=SIZE, rows=kept, hidden_size=5, num_layers=2, pooling=("max", "mean", "last"))
    return TextRnn(dataclasses.replace(config, **more), HEADS, rows.LABELS).eval()  # type: ignore[arg-type]


def ngrams(kept: int = 0, **more: object) -> Ngrams:
    torch.manual_seed(3)
    config = NgramsConfig(rows.VOCAB_SIZE, embedding_size=SIZE, rows=kept, sizes=(1, 2, 3), buckets=50, hidden_size=6)
    made = Ngrams(dataclasses.replace(config, **more), HEADS, rows.LABELS).eval()  # type: ignore[arg-type]
    if made.config.pooling == "attention":
        torch.nn.init.normal_(made.importance.weight)
    return made


STUDENTS = {
    "cnn": cnn, "cnn-plain": lambda: cnn(hidden_size=0, pooling=("max",)), "cnn-trimmed": lambda: trimmed(cnn(20)),
    "lstm": rnn, "gru": lambda: rnn(cell="gru"), "lstm-forward": lambda: rnn(bidirectional=False), "gru-trimmed": lambda: trimmed(rnn(20)),
    "ngrams": ngrams, "ngrams-attention": lambda: ngrams(pooling="attention"), "ngrams-trimmed": lambda: trimmed(ngrams(20)),
    "ngrams-pairs": lambda: ngrams(sizes=(2,), hidden_size=0)}


def weights(network: Network) -> dict[str, np.ndarray]:
    return {name: item.detach().numpy().astype(np.float64) for name, item in network.named_parameters()}


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-x))
    return found


def ids_of(arrays: dict[str, np.ndarray], row: int) -> list[int]:
    return arrays["input_ids"][row][arrays["attention_mask"][row] == 1].tolist()  # type: ignore[no-any-return]


def test_text_cnn_is_kims_formula() -> None:
    network, arrays = cnn(), rows.batch_of(4, 9)
    w, said = weights(network), rows.logits_of(network, arrays)
    for row in range(4):
        x_LE = w["words.weight"][ids_of(arrays, row)]
        features = []
        for index, width in enumerate(network.config.widths):
            left = (width - 1) // 2
            bordered = np.concatenate([np.zeros((left, SIZE)), x_LE, np.zeros((width // 2, SIZE))])
            kernel, bias = w[f"convolutions.{index}.weight"], w[f"convolutions.{index}.bias"]
            each_LF = np.stack([relu(np.einsum("fek,ke->f", kernel, bordered[start:start + width]) + bias) for start in range(len(x_LE))])
            features += [each_LF.max(0), each_LF.mean(0)]
        hidden = relu(w["dense.weight"] @ np.concatenate(features) + w["dense.bias"])
        np.testing.assert_allclose(said[row], w["classifier.weight"] @ hidden + w["classifier.bias"], atol=1e-5)


def step(kind: str, given: np.ndarray, again: np.ndarray, state: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if kind == "lstm":  # Hochreiter & Schmidhuber 1997, with a forget gate
        i, f, g, o = np.split(given + again, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(cell), cell
    (r, z, n), (r2, z2, n2) = np.split(given, 3), np.split(again, 3)  # Cho et al. 2014
    z = sigmoid(z + z2)
    return (1 - z) * np.tanh(n + sigmoid(r + r2) * n2) + z * state, cell


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_text_rnn_is_the_formula_step_by_step(kind: str) -> None:
    network, arrays = rnn(cell=kind), rows.batch_of(4, 7)
    w, said = weights(network), rows.logits_of(network, arrays)
    for row in range(4):
        x = w["words.weight"][ids_of(arrays, row)]
        for layer in range(2):
            both = []
            for way in ("", "_reverse"):
                state, cell, states = np.zeros(5), np.zeros(5), []
                for given in x[::-1] if way else x:
                    part = {name: w[f"layers.{layer}.{name}_l0{way}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
                    state, cell = step(kind, part["weight_ih"] @ given + part["bias_ih"], part["weight_hh"] @ state + part["bias_hh"],
                                       state, cell)
                    states.append(state)
                both.append(states[::-1] if way else states)
            x = np.concatenate([np.array(item) for item in both], axis=1)
        features = np.concatenate([x.max(0), x.mean(0), x[-1, :5], x[0, 5:]])
        np.testing.assert_allclose(said[row], w["classifier.weight"] @ features + w["classifier.bias"], atol=1e-5)


def test_ngrams_is_the_formula_with_the_hash_in_plain_integers() -> None:
    network, arrays = ngrams(), rows.batch_of(4, 9)
    w, said = weights(network), rows.logits_of(network, arrays)
    for row in range(4):
        ids = ids_of(arrays, row)
        pairs = [(a * MULTIPLIER + b) % MODULUS for a, b in zip(ids, ids[1:], strict=False)]
        triples = [(pair * MULTIPLIER + c) % MODULUS for pair, c in zip(pairs, ids[2:], strict=False)]
        places = [*ids, *(rows.VOCAB_SIZE + item % 50 for item in [*pairs, *triples])]
        hidden = relu(w["dense.weight"] @ w["words.weight"][places].mean(0) + w["dense.bias"])
        np.testing.assert_allclose(said[row], w["classifier.weight"] @ hidden + w["classifier.bias"], atol=1e-5)


def test_attention_weighs_ngrams_by_a_softmax() -> None:
    network, arrays = ngrams(pooling="attention", sizes=(1,)), rows.batch_of(3, 6)
    w, said = weights(network), rows.logits_of(network, arrays)
    for row in range(3):
        ids = ids_of(arrays, row)
        power = np.exp(w["importance.weight"][ids, 0])
        mixed = (power / power.sum()) @ w["words.weight"][ids]
        hidden = relu(w["dense.weight"] @ mixed + w["dense.bias"])
        np.testing.assert_allclose(said[row], w["classifier.weight"] @ hidden + w["classifier.bias"], atol=1e-5)


@pytest.mark.parametrize("kind", STUDENTS)
def test_padding_changes_nothing(kind: str) -> None:
    """More padding, any ids under it, and other rows beside leave a row's logits as they are, within 1e-6."""
    network, arrays = STUDENTS[kind](), rows.batch_of(5, 12)
    said = rows.logits_of(network, arrays)
    wide = {name: np.pad(array, ((0, 0), (0, 7))) for name, array in arrays.items()}
    wide["input_ids"] = np.where(wide["attention_mask"] == 1, wide["input_ids"], 17)
    np.testing.assert_allclose(rows.logits_of(network, wide), said, atol=1e-6)
    for row in range(5):
        size = int(arrays["attention_mask"][row].sum())
        alone = {name: array[row:row + 1, :size] for name, array in arrays.items()}
        np.testing.assert_allclose(rows.logits_of(network, alone)[0], said[row], atol=1e-6)


# Those that are traced take seconds each; those that are written node by node take none.
@pytest.mark.parametrize("kind", [kind for kind in STUDENTS if kind not in ("cnn", "cnn-plain", "ngrams", "ngrams-pairs")])
def test_the_graph_answers_as_the_network(kind: str, tmp_path: Path) -> None:
    """Any batch and length, within 1e-4 and with the same label; read again from its folder it is the same."""
    network, write = STUDENTS[kind](), onnx_graph(Onnx())
    write(network, tmp_path / "one.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "one.onnx"))
    save_network(network, tmp_path)
    again = load_network(tmp_path, HEADS).eval()
    for count, length in ((1, 1), (1, 2), (1, 30), (7, 5), (4, 32)):
        arrays = rows.batch_of(count, length, count)
        said = rows.logits_of(network, arrays)
        found = session.run(["logits"], arrays)[0]
        np.testing.assert_allclose(found, said, atol=1e-4)
        assert (found.argmax(1) == said.argmax(1)).all()
        np.testing.assert_array_equal(rows.logits_of(again, arrays), said)


@pytest.mark.parametrize("kind", ["lstm", "gru-trimmed", "lstm-forward"])
def test_a_recurrent_network_is_a_torch_program_too(kind: str, tmp_path: Path) -> None:
    """Any batch and length, without the packing of rows that no program can hold."""
    network = STUDENTS[kind]()
    torch_program(TorchProgram())(network, tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    for count, length in ((1, 1), (3, 12), (4, 30)):
        arrays = rows.batch_of(count, length, count)
        with torch.no_grad():
            found = program(**{name: torch.from_numpy(array) for name, array in arrays.items()})
        np.testing.assert_allclose(found.numpy(), rows.logits_of(network, arrays), atol=1e-5)


def test_the_graph_of_ngrams_is_tiny(tmp_path: Path) -> None:
    """One table is looked up once and summed once, and there are two small products."""
    onnx_graph(Onnx())(ngrams(), tmp_path / "graph.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "graph.onnx").graph.node]
    assert kinds.count("Gemm") == 2 and kinds.count("MatMul") == 0 and len(kinds) < 60
    assert sum(item.dims == [rows.VOCAB_SIZE + 50, SIZE] for item in onnx.load(tmp_path / "graph.onnx").graph.initializer) == 1


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_dropout_keeps_one_mask_through_time(kind: str) -> None:
    """With all dropout on, the slow path equals the library's where nothing is hidden, and its mask is the same at every step."""
    network, arrays = rnn(cell=kind), rows.batch_of(4, 6)
    said = rows.logits_of(network, arrays)
    network.config = dataclasses.replace(network.config, dropout=0.0, recurrent_dropout=1e-12)
    np.testing.assert_allclose(rows.logits_of(network.train(), arrays), said, atol=1e-5)
    torch.manual_seed(0)
    mask = network._mask(torch.ones(3, 50, 400), 0.3)
    assert isinstance(mask, torch.Tensor) and mask.shape == (3, 1, 400)  # broadcast over the steps: the same units at each of them
    np.testing.assert_allclose(np.unique(mask.numpy()), [0, 1 / 0.7], rtol=1e-6)
    assert 0.25 < float((mask == 0).float().mean()) < 0.35


def test_recurrent_dropout_is_gals_equation_with_one_mask() -> None:
    network, arrays = rnn(cell="lstm", num_layers=1, bidirectional=False, pooling=("last",), recurrent_dropout=0.5, dropout=0.0), \
        rows.batch_of(1, 6)
    network.train()
    torch.manual_seed(7)
    said = rows.logits_of(network, arrays)[0]
    torch.manual_seed(7)
    mask = torch.nn.functional.dropout(torch.ones(1, 5), 0.5, True).numpy()[0].astype(np.float64)
    w, state, cell = weights(network), np.zeros(5), np.zeros(5)
    for given in w["words.weight"][ids_of(arrays, 0)]:
        state, cell = step("lstm", w["layers.0.weight_ih_l0"] @ given + w["layers.0.bias_ih_l0"],
                           w["layers.0.weight_hh_l0"] @ (state * mask) + w["layers.0.bias_hh_l0"], state, cell)
    np.testing.assert_allclose(said, w["classifier.weight"] @ state + w["classifier.bias"], atol=1e-5)
    assert 0 in mask and mask.max() == 2


def test_word_dropout_leaves_tokens_out_in_training_alone() -> None:
    network, arrays = ngrams(sizes=(1,), hidden_size=0, word_dropout=0.5, dropout=0.0), rows.batch_of(64, 20)
    mask = torch.from_numpy(arrays["attention_mask"])
    ids = torch.from_numpy(arrays["input_ids"])
    torch.manual_seed(0)
    kept = network.train().rows(ids, mask) != 0
    assert kept[:, 0].all() and (mask[~(mask != 0)] == 0).all()
    assert 0.4 < float(kept[:, 1:][mask[:, 1:] == 1].float().mean()) < 0.6 and not kept[mask == 0].any()
    assert torch.equal(network.eval().rows(ids, mask) != 0, mask != 0)


def test_what_a_student_cannot_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model 'ngrams' has no head 'mlm': it learns labels alone; pretrain a model such as 'bert'"):
        Ngrams(NgramsConfig(60), ("mlm",))
    save_network(cnn(), tmp_path)
    with pytest.raises(UserError, match=r"holds a classifier for 3 labels \(first, second, third\), the data have 2 \(no, yes\); say "
                                        "new_heads: true"):
        load_network(tmp_path, HEADS, ("no", "yes"))
    fresh = load_network(tmp_path, HEADS, ("no", "yes"), new_heads=True)
    assert torch.equal(fresh.tensors()["words.weight"], cnn().tensors()["words.weight"])


def test_word_vectors_are_read_from_any_network() -> None:
    bert = rows.network(HEADS)
    torch.testing.assert_close(words.word_vectors(bert, "x"), bert.bert.embeddings.word_embeddings.weight.detach())
    small = trimmed(ngrams(20))
    found = words.word_vectors(small, "x")
    mine = small.rows
    assert isinstance(mine, words.TokenRows) and mine.token_map is not None
    assert found.shape == (rows.VOCAB_SIZE, SIZE) and torch.equal(found[5], small.tensors()["words.weight"][int(mine.token_map[5])])
