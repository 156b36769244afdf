"""SlimBert: what a whole network gives it gives bit for bit; what is taken out was not used; what is saved opens again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from bessemer.core.errors import UserError
from bessemer.core.registry import plugin
from bessemer.nn.bert import Bert
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.nn.low_rank import LowRank
from bessemer.nn.slim_bert import SlimBert, SlimConfig, from_bert
from bessemer.nn.slim_edit import (
    Keep,
    Moments,
    all_of,
    cut,
    dense_layers,
    layers_only,
    with_low_rank,
    with_narrow_embeddings,
    with_positions,
    with_vocabulary,
)
from bessemer.testing import rows

torch.set_num_threads(1)
CLASSES = ("classification",)


def bert(heads: tuple[str, ...] = CLASSES) -> Bert:
    """A seeded BERT: 2 layers of 2 heads of 8 values, 16 units, 60 tokens; biases and norms are not their initial ones."""
    found = rows.network(heads)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    return found


def logits(network: torch.nn.Module, count: int = 6, length: int = 15) -> np.ndarray:
    return rows.logits_of(network, rows.batch_of(count, length))


def size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def exported(network: torch.nn.Module, folder: Path) -> onnxruntime.InferenceSession:
    export = plugin("export", "onnx")
    export.function(export.config())(network, folder / "model.onnx")
    return onnxruntime.InferenceSession(folder / "model.onnx")


def test_conversion_is_exact() -> None:
    """Class, vocabulary and next-sentence logits are Bert's, bit for bit; so are the names of the tensors."""
    whole = bert()
    slim = from_bert(whole)
    assert np.array_equal(logits(slim), logits(whole)) and list(slim.tensors()) == list(whole.tensors())
    old = bert(("mlm", "nsp"))
    new = from_bert(old)
    batch = [torch.from_numpy(item) for item in rows.batch_of(4, 9).values()]
    with torch.inference_mode():
        before, after = (network.encode(*batch) for network in (old, new))
        assert torch.equal(old.mlm_logits(before.flatten(0, 1)), new.mlm_logits(after.flatten(0, 1)))
        assert torch.equal(old.nsp_logits(old.pool(before)), new.nsp_logits(new.pool(after)))


def test_nothing_cut_is_the_same_network() -> None:
    slim = from_bert(bert())
    assert np.array_equal(logits(cut(slim, all_of(slim))), logits(slim))


@torch.no_grad()
def test_dead_parts_are_cut_without_a_trace() -> None:
    """A head whose projection is zero, units without outgoing weights, and pooled units that no class reads change no logit."""
    slim = from_bert(bert())
    layers, width = slim.bert.encoder.layer, slim.config.head_size
    layers[1].attention.output.dense.weight[:, width:] = 0.0
    layers[0].output.dense.weight[:, [1, 5, 11]] = 0.0
    slim.classifier.weight[:, 3:7] = 0.0
    units = [unit for unit in range(16) if unit not in (1, 5, 11)]
    smaller = cut(slim, Keep((0, 1), ((0, 1), (0,)), (units, range(16)), range(16), [0, 1, 2, *range(7, 16)]))
    np.testing.assert_allclose(logits(smaller), logits(slim), atol=1e-6)
    hidden, inner = 16, 16
    saved = 4 * width * hidden + 3 * width + 3 * (2 * hidden + 1) + 4 * (hidden + 1 + len(rows.LABELS))
    assert size(slim) - size(smaller) == saved and inner - 3 == smaller.config.intermediate_size[0]


@torch.no_grad()
def test_hidden_channels_and_layers_are_those_of_a_network_built_by_hand() -> None:
    """Every matrix and norm of the cut network is the old one's at the kept places."""
    slim = from_bert(bert())
    hidden = [0, 2, 3, 7, 9, 15]
    smaller = cut(slim, Keep((1,), ((0, 1),), (range(16),), hidden, range(16)))
    old, new = slim.tensors(), smaller.tensors()
    assert smaller.config.hidden_size == 6 and len(smaller.bert.encoder.layer) == 1
    block = "bert.encoder.layer.{}."
    assert torch.equal(new["bert.embeddings.word_embeddings.weight"], old["bert.embeddings.word_embeddings.weight"][:, hidden])
    assert torch.equal(new[f"{block.format(0)}attention.self.key.weight"], old[f"{block.format(1)}attention.self.key.weight"][:, hidden])
    assert torch.equal(new[f"{block.format(0)}output.dense.weight"], old[f"{block.format(1)}output.dense.weight"][hidden])
    assert torch.equal(new[f"{block.format(0)}output.LayerNorm.bias"], old[f"{block.format(1)}output.LayerNorm.bias"][hidden])
    assert torch.equal(new["bert.pooler.dense.weight"], old["bert.pooler.dense.weight"][:, hidden])
    assert np.array_equal(logits(smaller), logits(cut(layers_only(slim, [1]), replace(all_of(smaller), hidden=hidden))))


def test_trimmed_vocabulary() -> None:
    """Texts of kept tokens have the same logits bit for bit, others those of the text with the unknown token."""
    slim = from_bert(bert())
    kept = [0, 1, 2, 3, 4, *range(5, 60, 2)]
    smaller = with_vocabulary(slim, kept, unknown=1)
    arrays = rows.batch_of(6, 12)
    there = {**arrays, "input_ids": np.where(np.isin(arrays["input_ids"], kept), arrays["input_ids"], 1)}
    assert np.array_equal(rows.logits_of(smaller, there), rows.logits_of(slim, there))
    assert np.array_equal(rows.logits_of(smaller, arrays), rows.logits_of(slim, there)) and not np.array_equal(arrays["input_ids"],
                                                                                                               there["input_ids"])
    assert size(slim) - size(smaller) == (60 - len(kept)) * 16
    again = with_vocabulary(smaller, kept[:10], unknown=1)
    few = {**arrays, "input_ids": np.where(np.isin(arrays["input_ids"], kept[:10]), arrays["input_ids"], 1)}
    assert np.array_equal(rows.logits_of(again, arrays), rows.logits_of(slim, few))


def test_positions_beyond_the_longest_input_are_cut() -> None:
    slim = from_bert(bert())
    smaller = with_positions(slim, 20)
    assert smaller.config.max_position_embeddings == 20 and np.array_equal(logits(smaller, length=20), logits(slim, length=20))


def test_factorised_embeddings() -> None:
    """At full size the logits are the same; below it the error falls with the size; means are kept; masked words still score."""
    slim = from_bert(bert())
    counts = torch.arange(60)
    np.testing.assert_allclose(logits(with_narrow_embeddings(slim, 16, counts)), logits(slim), atol=1e-5)
    with torch.no_grad():
        ids, share = torch.arange(60), (counts + 1.0) / (counts + 1.0).sum()
        table = slim.bert.embeddings.word_embeddings(ids)
        for width in (2, 8, 14):
            part = with_narrow_embeddings(slim, width, counts).bert.embeddings
            shift = part.token_type_embeddings.weight[0] - slim.bert.embeddings.token_type_embeddings.weight[0]
            error = (share * (part.word_embeddings(ids) + shift - table).square().sum(1)).sum()
            centred = (table - share @ table) * share.sqrt()[:, None]
            torch.testing.assert_close(error, torch.linalg.svdvals(centred)[width:].square().sum(), atol=1e-4, rtol=1e-4)
    trimmed = with_vocabulary(slim, range(30), unknown=1)
    np.testing.assert_allclose(logits(with_narrow_embeddings(trimmed, 16, counts)), logits(trimmed), atol=1e-5)
    assert size(slim) - size(with_narrow_embeddings(slim, 4)) == 60 * 16 - 60 * 4 - 4 * 16
    twice = with_narrow_embeddings(with_narrow_embeddings(slim, 10, counts), 6, counts)
    np.testing.assert_allclose(logits(twice), logits(with_narrow_embeddings(slim, 6, counts)), atol=1e-4)
    masked = from_bert(bert(("mlm",)))
    hidden = torch.randn(5, 16)
    with torch.inference_mode():
        before, after = (network.mlm_logits(hidden) for network in (masked, with_narrow_embeddings(masked, 16)))
        torch.testing.assert_close(before.softmax(-1), after.softmax(-1))
        kept = with_vocabulary(masked, range(20), unknown=1).mlm_logits(hidden)
    torch.testing.assert_close(kept[:, :20], before[:, :20])


def test_low_rank() -> None:
    """Full rank is the layer itself; below it principal components of the outputs beat the plain SVD on what the layer sees."""
    slim = from_bert(bert())
    full = dict.fromkeys(dense_layers(slim), 16)
    assert len(full) == 12
    np.testing.assert_allclose(logits(with_low_rank(slim, full)), logits(slim), atol=1e-5)
    name = "bert.encoder.layer.1.intermediate.dense"
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 16, generator=generator) @ torch.randn(16, 16, generator=generator) + 2.0
    moments = {name: Moments(x.double().mean(0), torch.cov(x.double().T, correction=0))}
    layer = slim.get_submodule(name)

    def error(network: SlimBert) -> tuple[float, float]:
        gap = (network.get_submodule(name)(x) - layer(x)).detach()
        return float(gap.square().mean()), float(gap.mean(0).abs().max())

    aware, plain = with_low_rank(slim, {name: 4}, moments), with_low_rank(slim, {name: 4})
    assert error(aware)[0] < 0.7 * error(plain)[0] and error(aware)[1] < 1e-4 < error(plain)[1]
    found = aware.get_submodule(name)
    assert isinstance(found, LowRank) and aware.config.ranks == {name: 4}
    weight = layer.get_parameter("weight").detach()
    left, sizes, right = torch.linalg.svd(weight)
    factors = plain.get_submodule(name)
    torch.testing.assert_close(factors.up.weight @ factors.down.weight, left[:, :4] * sizes[:4] @ right[:4], atol=1e-5, rtol=1e-4)
    with pytest.raises(UserError, match="is factorised already"):
        with_low_rank(aware, {name: 2})


def everything() -> SlimBert:
    """A network with every kind of part made smaller."""
    slim = with_narrow_embeddings(with_vocabulary(from_bert(bert()), range(40), unknown=1), 8)
    slim = with_low_rank(slim, {name: 6 for name in dense_layers(slim) if name.endswith(("query", "intermediate.dense"))})
    return with_positions(cut(slim, Keep((1,), ((1,),), (range(3, 16),), range(0, 16, 2), range(10))), 24)


def test_saved_and_opened(tmp_path: Path) -> None:
    """A network of every kind of part opens from its folder with the same logits; what is not whole is one sentence."""
    slim = everything()
    save_network(slim, tmp_path)
    found = load_network(tmp_path, CLASSES)
    assert isinstance(found, SlimBert) and found.config == slim.config and found.labels == rows.LABELS
    assert np.array_equal(logits(found.eval()), logits(slim))
    assert load_network(tmp_path, ("mlm",)).heads == ("mlm",)
    with pytest.raises(UserError, match="holds a classifier for 3 labels"):
        load_network(tmp_path, CLASSES, ("a", "b"))
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for change, message in (({"hidden_size": 9}, "has shape"), ({"ranks": {"bert.nowhere": 2}}, "describes no network"),
                            ({"num_attention_heads": [1, 1]}, "one number of 1 or more for each layer")):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
        with pytest.raises(UserError, match=message):
            load_network(tmp_path, CLASSES)
    del config["head_size"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="the key 'head_size' is missing"):
        load_network(tmp_path, CLASSES)


@pytest.mark.parametrize("made", [everything, lambda: SlimBert(SlimConfig(
    vocab_size=60, num_attention_heads=(2,), intermediate_size=(16,), hidden_size=16, head_size=8, pooler_size=16, hash_buckets=20,
    embedding_size=8, max_position_embeddings=32, initializer_range=0.3), CLASSES, rows.LABELS).eval()], ids=["pruned", "hashed"])
def test_exported_it_answers_the_same(made: object, tmp_path: Path) -> None:
    """ONNX Runtime gives the network's logits within 1e-4 in any batch and length; dynamic int8 takes the graph."""
    assert callable(made)
    torch.manual_seed(0)
    network = made()
    session = exported(network, tmp_path)
    for count, length in ((1, 1), (1, 9), (5, 24)):
        arrays = rows.batch_of(count, length)
        np.testing.assert_allclose(session.run(None, arrays)[0], rows.logits_of(network, arrays), atol=1e-4)
    int8 = plugin("compress", "dynamic_int8")
    int8.function(int8.config())(tmp_path / "model.onnx", tmp_path / "int8.onnx", None)
    assert [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node].count("GatherND") == 0
    compressed, agreed = onnxruntime.InferenceSession(tmp_path / "int8.onnx"), []
    for seed in range(40):
        arrays = rows.batch_of(1, 10, seed)
        agreed.append(compressed.run(None, arrays)[0].argmax() == rows.logits_of(network, arrays).argmax())
    assert np.mean(agreed) >= 0.9


def test_hashed_tokens_share_rows() -> None:
    """60 tokens of 7 rows are 60 different vectors, and each is the weighted sum of its two rows."""
    torch.manual_seed(0)
    shape = SlimConfig(vocab_size=60, num_attention_heads=(2,), intermediate_size=(16,), hidden_size=16, head_size=8, pooler_size=16,
                       hash_buckets=30, max_position_embeddings=32)
    words = SlimBert(shape, ("mlm",)).bert.embeddings.word_embeddings
    with torch.no_grad():
        words.importance.uniform_(0.5, 1.5)
        found = words(torch.arange(60))
        expected = sum(words.importance[:, part, None] * words.weight[words.buckets[:, part].long()] for part in (0, 1))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(words.scores(torch.eye(16)), found.T)
    assert len(found.unique(dim=0)) == 60
