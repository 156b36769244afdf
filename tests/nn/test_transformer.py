"""The encoder against the paper's equations and torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch

from bessemer.nn.bert import BertConfig
from bessemer.nn.checkpoint import load_network, save_network
from bessemer.nn.transformer import Transformer, sinusoids

CONFIG = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, hidden_act="relu",
                    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=40, layer_norm_eps=1e-5)


def batch():
    ids = torch.randint(1, 50, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    return ids, mask, torch.zeros_like(ids)


def test_positions_are_the_equation_of_section_3_5():
    found = sinusoids(40, 32)
    for position in (0, 1, 7, 39):
        for column in range(16):
            angle = position / 10_000 ** (2 * column / 32)
            assert float(found[position, 2 * column]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(found[position, 2 * column + 1]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_shift_is_a_rotation_whatever_the_position():
    # "for any fixed offset k, PE(pos + k) can be represented as a linear function of PE(pos)"
    found = sinusoids(40, 8).double()
    for k in (1, 5):
        angle = torch.tensor([k / 10_000 ** (2 * i / 8) for i in range(4)], dtype=torch.float64)
        even = found[:-k, 0::2] * angle.cos() + found[:-k, 1::2] * angle.sin()
        assert torch.allclose(even, found[k:, 0::2], atol=1e-5)


def test_the_encoder_is_torchs_own_with_the_same_weights():
    torch.manual_seed(0)
    network = Transformer(CONFIG, ("classification",), ("a", "b")).eval()
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, 0.0, "relu", 1e-5, batch_first=True)
    reference = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    with torch.no_grad():
        for own, theirs in zip(network.encoder.layer, reference.layers, strict=True):
            parts = own.attention.self
            theirs.self_attn.in_proj_weight.copy_(torch.cat([parts.query.weight, parts.key.weight, parts.value.weight]))
            theirs.self_attn.in_proj_bias.copy_(torch.cat([parts.query.bias, parts.key.bias, parts.value.bias]))
            for target, source in ((theirs.self_attn.out_proj, own.attention.output.dense), (theirs.linear1, own.intermediate.dense),
                                   (theirs.linear2, own.output.dense), (theirs.norm1, own.attention.output.LayerNorm),
                                   (theirs.norm2, own.output.LayerNorm)):
                target.load_state_dict(source.state_dict())
        ids, mask, segments = batch()
        embedded = network.embeddings.word_embeddings(ids) * math.sqrt(32) + sinusoids(9, 32)
        expected = reference(embedded, src_key_padding_mask=mask == 0)
        found = network.encode(ids, mask, segments)
    real = mask.bool()
    assert torch.allclose(found[real], expected[real], atol=1e-5)


def test_saved_and_opened_it_answers_the_same(tmp_path):
    torch.manual_seed(0)
    network = Transformer(CONFIG, ("mlm", "classification"), ("a", "b")).eval()
    save_network(network, tmp_path)
    opened = load_network(tmp_path, ("classification",)).eval()
    with torch.no_grad():
        assert torch.equal(network(*batch()), opened(*batch()))
    assert opened.labels == ("a", "b")


def test_it_learns_which_of_two_tokens_comes_first():
    torch.manual_seed(0)
    network = Transformer(CONFIG, ("classification",), ("a", "b"))
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(150):
        ids = torch.randint(10, 50, (32, 8), generator=generator)
        ids[:, 0] = 1
        first = torch.randint(0, 2, (32,), generator=generator)
        ids[:, 3], ids[:, 6] = 2 + first, 3 - first  # the same two tokens in either order: only positions tell
        loss = torch.nn.functional.cross_entropy(network(ids, torch.ones_like(ids), torch.zeros_like(ids)), first)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) / 10 < 0.1 < losses[0]
