"""Other families through transformers: the wrapper equals the model that it wraps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bessemer.core.errors import UserError
from bessemer.nn.checkpoint import load_network, save_network

torch.set_num_threads(1)
SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                         "intermediate_size": 16, "max_position_embeddings": 20}
CONFIGS = {
    "distilbert": transformers.DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=16,
                                                max_position_embeddings=20),
    "roberta": transformers.RobertaConfig(**SIZES, type_vocab_size=1, pad_token_id=1),
    "electra": transformers.ElectraConfig(**SIZES, embedding_size=16),
}


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two rows, the second one shorter."""
    ids = torch.tensor([[3, 9, 8, 7, 4], [3, 6, 4, 1, 1]])
    return ids, torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]), torch.zeros_like(ids)


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_classifier_equals_transformers(family: str, tmp_path: Path) -> None:
    """Logits by forward and by parts equal the wrapped model's; saved again, AutoModel opens it with equal logits."""
    torch.manual_seed(0)
    theirs = transformers.AutoModelForSequenceClassification.from_config(CONFIGS[family]).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_network(tmp_path / "theirs", ("classification",), ("x", "y")).eval()
    ids, mask, types = batch()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask).logits
        assert torch.equal(ours(ids, mask, types), expected)
        torch.testing.assert_close(ours.class_logits(ours.pool(ours.encode(ids, mask, types))), expected)
        (tmp_path / "ours").mkdir()
        save_network(ours, tmp_path / "ours")
        again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
        assert torch.equal(again(input_ids=ids, attention_mask=mask).logits, expected)
    assert again.config.id2label == {0: "x", 1: "y"}


@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_masked_model_equals_transformers(family: str, tmp_path: Path) -> None:
    """Vocabulary logits at selected positions equal the whole model's; a classifier starts from the same trunk."""
    torch.manual_seed(0)
    theirs = transformers.AutoModelForMaskedLM.from_config(CONFIGS[family]).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_network(tmp_path, ("mlm",)).eval()
    ids, mask, types = batch()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask).logits[:, 1]
        torch.testing.assert_close(ours.mlm_logits(ours.encode(ids, mask, types)[:, 1]), expected)
    save_network(ours, tmp_path)
    classifier = load_network(tmp_path, ("classification",), ("a", "b", "c"))
    trunk = {name: tensor for name, tensor in ours.tensors().items() if name.startswith(f"{family}.")}
    assert trunk and all(torch.equal(classifier.tensors()[name], tensor) for name, tensor in trunk.items())
    with pytest.raises(UserError, match="takes one head, 'mlm' or 'classification'"):
        load_network(tmp_path, ("mlm", "nsp"))
