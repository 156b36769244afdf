"""Our BERT equals transformers' and saves a folder that transformers opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from bessemer.core.errors import UserError
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import load_network, save_network

torch.set_num_threads(1)
CONFIG = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
                    max_position_embeddings=20)


def batch(num_rows: int = 3, length: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random ids of rows of several lengths, with two segments."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (num_rows, length), generator=generator)
    lengths = torch.linspace(length, 3, num_rows).long()
    mask = (torch.arange(length)[None] < lengths[:, None]).long()
    return ids * mask, mask, (torch.arange(length)[None] >= 3).long() * mask


def network(heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> Bert:
    """A seeded network with weights far from their initial ones."""
    torch.manual_seed(0)
    found = Bert(CONFIG, heads, len(labels), labels).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.3)
    return found


def test_encoder_equals_transformers(tmp_path: Path) -> None:
    """Hidden states and pooled vectors equal BertModel's, with padding and two segments."""
    ours = network(())
    save_network(ours, tmp_path)
    theirs = transformers.BertModel.from_pretrained(tmp_path).eval()
    ids, mask, types = batch()
    with torch.no_grad():
        found, expected = ours.encode(ids, mask, types), theirs(ids, mask, types)
        real = mask.bool()
        torch.testing.assert_close(found[real], expected.last_hidden_state[real], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.pool(found), expected.pooler_output, atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing() -> None:
    """A row gives the same logits alone and padded."""
    ours = network(("classification",), ("a", "b"))
    ids, mask, types = batch()
    with torch.no_grad():
        together = ours(ids, mask, types)
        alone = ours(ids[2:, :3], mask[2:, :3], types[2:, :3])
    torch.testing.assert_close(together[2:], alone, atol=1e-5, rtol=1e-5)


def test_opens_with_auto_model(tmp_path: Path) -> None:
    """AutoModelForSequenceClassification opens the folder: equal logits, label names, every tensor used."""
    ours = network(("classification",), ("bad", "良い", "so so"))
    save_network(ours, tmp_path)
    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert theirs.config.id2label == {0: "bad", 1: "良い", 2: "so so"}
    with torch.no_grad():
        torch.testing.assert_close(ours(*batch()), theirs.eval()(*batch()).logits, atol=1e-5, rtol=1e-5)


def test_pretraining_heads_equal_transformers(tmp_path: Path) -> None:
    """Both pretraining heads equal BertForPreTraining's, the vocabulary projection at selected positions."""
    ours = network(("mlm", "nsp"))
    save_network(ours, tmp_path)
    theirs, info = transformers.AutoModelForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    ids, mask, types = batch()
    with torch.no_grad():
        hidden = ours.encode(ids, mask, types)
        expected = theirs.eval()(ids, mask, types)
        torch.testing.assert_close(ours.mlm_logits(hidden[:, 1]), expected.prediction_logits[:, 1], atol=1e-5,
                                   rtol=1e-4)
        torch.testing.assert_close(ours.nsp_logits(ours.pool(hidden)), expected.seq_relationship_logits, atol=1e-5,
                                   rtol=1e-4)


def test_bytes_repeat_and_round_trip(tmp_path: Path) -> None:
    """Saving twice gives the same bytes; load gives every tensor back, bit for bit."""
    ours = network(("classification",), ("x", "y"))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    save_network(ours, folders[0])
    again = load_network(folders[0], ("classification",))
    assert again.labels == ("x", "y")
    save_network(again, folders[1])
    for name in ("config.json", "model.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_initial_weights() -> None:
    """Normal(0, 0.02), zero biases, a zero padding row."""
    torch.manual_seed(0)
    ours = Bert(BertConfig(vocab_size=2000, hidden_size=64, num_attention_heads=4), ("mlm",))
    words = ours.bert.embeddings.word_embeddings.weight
    assert abs(words[1:].std().item() - 0.02) < 0.0005 and not words[0].any()
    assert not ours.get_parameter("bert.encoder.layer.0.attention.self.query.bias").any()
    assert torch.equal(ours.bert.embeddings.LayerNorm.weight, torch.ones(64))


def test_bare_trunk_and_other_heads(tmp_path: Path) -> None:
    """A checkpoint without the prefix and with position_ids loads; a pretraining artifact starts a classifier."""
    from safetensors.torch import load_file, save_file

    ours = network(("mlm", "nsp"))
    save_network(ours, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("bert."): tensor for name, tensor in state.items() if name.startswith("bert.")}
    classifier = load_network(tmp_path, ("classification",), ("a", "b"))
    save_file({**bare, "embeddings.position_ids": torch.arange(20)[None]}, tmp_path / "model.safetensors")
    for found in (classifier, load_network(tmp_path, ("mlm",))):
        for name, tensor in found.tensors().items():
            if name.startswith("bert."):
                assert torch.equal(tensor, state[name]), name


def edit(folder: Path, **change: object) -> None:
    """Change config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))


def test_bad_folders(tmp_path: Path) -> None:
    """Each mistake is one sentence that names the tensor and the shapes."""
    with pytest.raises(UserError, match="has no config.json"):
        load_network(tmp_path, ("mlm",))
    save_network(network(("classification",), ("a", "b")), tmp_path)
    with pytest.raises(UserError, match=r"holds a classifier for 2 labels \(a, b\), the data have 3"):
        load_network(tmp_path, ("classification",), ("a", "b", "c"))
    assert load_network(tmp_path, ("classification",), ("a", "b", "c"), new_heads=True).labels == ("a", "b", "c")
    edit(tmp_path, vocab_size=51)
    with pytest.raises(UserError, match=r"'bert.embeddings.word_embeddings.weight' has shape \[50, 16\] .* \[51, 16\]"):
        load_network(tmp_path, ("classification",))
    edit(tmp_path, vocab_size=50, num_hidden_layers=3)
    with pytest.raises(UserError, match="the weights lack 'bert.encoder.layer.2.attention.self.query.weight'"):
        load_network(tmp_path, ("classification",))
    edit(tmp_path, num_hidden_layers=1)
    with pytest.raises(UserError, match="the weights hold 'bert.encoder.layer.1"):
        load_network(tmp_path, ("classification",))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is damaged"):
        load_network(tmp_path, ("classification",))


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_pickles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A .bin of tensors opens; one with code inside is refused and never run."""
    ours = network(("classification",), ("a", "b"))
    save_network(ours, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(dict(ours.tensors()), tmp_path / "pytorch_model.bin")
    again = load_network(tmp_path, ("classification",))
    assert torch.equal(again.tensors()["classifier.weight"], ours.classifier.weight)
    torch.save({"x": _Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle can run code"):
        load_network(tmp_path, ("classification",))
    assert "code ran" not in capsys.readouterr().out


def test_config_errors() -> None:
    """Impossible shapes are refused."""
    with pytest.raises(UserError, match="hidden_size 10 is not a multiple of num_attention_heads 4"):
        BertConfig(vocab_size=5, hidden_size=10, num_attention_heads=4)
    with pytest.raises(UserError, match="hidden_act 'glu' is unknown; did you mean 'gelu'"):
        BertConfig(vocab_size=5, hidden_act="glu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_export_runs_in_onnxruntime(tmp_path: Path) -> None:
    """The dynamo export has dynamic batch and length: equal logits in ONNX Runtime for other shapes."""
    import onnxruntime

    ours = network(("classification",), ("a", "b"))
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=20)}
    file = tmp_path / "model.onnx"
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(ours, batch(), str(file), dynamo=True, input_names=names, output_names=["logits"],
                      dynamic_shapes=(shape, shape, shape), verbose=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for num_rows, length in ((1, 4), (5, 20), (3, 9)):
        arguments = batch(num_rows, length)
        feed = {item.name: value.numpy() for item, value in zip(session.get_inputs(), arguments, strict=True)}
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, feed)[0], ours(*arguments).numpy(), atol=1e-4)
