"""Small models that are really trained, in seconds: what the tests of explanations and of the page ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bessemer.core.forms import Form, write_forms
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Column, Role, Schema
from bessemer.nn.bert import Bert, BertConfig
from bessemer.nn.checkpoint import save_network
from tests.conftest import sentences

LABELS = ("bad", "good")


def _vocabulary(texts: Sequence[str]) -> dict[str, int]:
    """Return the words of five texts and more, and the characters: always the same, as the library's trainer breaks ties by chance."""
    words = Counter(word for text in texts for word in {word for word, _ in
                                                        BertPreTokenizer().pre_tokenize_str(BertNormalizer().normalize_str(text))})
    signs = sorted({sign for word in words for sign in word})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs)]
    return {token: code for code, token in enumerate([*tokens, *sorted({word for word in words if words[word] >= 5} - {*signs})])}


def text_network(folder: Path, labels: Sequence[str] = LABELS, steps: int = 40) -> None:
    """Write a network that tells the sentences of tests/conftest.py apart: one layer, trained here."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rows = sentences(400, seed=1)
    tokenizer = Tokenizer(WordPiece(_vocabulary([text for text, _ in rows]), unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=64)
    network = Bert(config, ("classification",), len(labels), tuple(labels))
    schema = Schema(columns=(
        Column(name="text", role=Role.INPUT, modality={"kind": "text", "tokenizer": {"kind": "wordpiece"}, "max_length": 32}),
        Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=tuple(labels))))
    tokenizer.enable_padding()
    coded = tokenizer.encode_batch([f"[CLS] {text} [SEP]" for text, _ in rows])
    ids = torch.tensor([item.ids for item in coded])
    mask = torch.tensor([item.attention_mask for item in coded])
    truth = torch.tensor([LABELS.index(label) for _, label in rows])
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for step in range(steps):
        pick = torch.randint(len(rows), (64,), generator=torch.Generator().manual_seed(step))
        loss = torch.nn.functional.cross_entropy(network(ids[pick], mask[pick], torch.zeros_like(ids[pick])), truth[pick])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    save_network(network.eval(), folder)
    schema.save(folder)
    write_forms(folder, (Form(name="torch-float32", predictor=make("predictors", {"kind": "torch", "max_length": 32})),))


def finished(folder: Path) -> Path:
    """Let a folder be a finished artifact, as a stage leaves it."""
    from bessemer.core import artifact

    artifact.commit(folder, artifact.Manifest(kind="finetune", key="0" * 64, inputs={}, files={}, facts={}))
    return folder


def text_linear(folder: Path, labels: Sequence[str] = LABELS) -> None:
    """Write the linear model of the same sentences."""
    import pyarrow as pa

    from bessemer.core.types import FitSpec

    folder.mkdir(parents=True, exist_ok=True)
    rows = sentences(400, seed=1)
    schema = Schema(columns=(Column(name="text", role=Role.INPUT, modality={"kind": "text", "tokenizer": {"kind": "wordpiece"}}),
                             Column(name="label", role=Role.TARGET, modality={"kind": "category"}, labels=tuple(labels))))
    table = pa.table({"text": [text for text, _ in rows], "label": [LABELS.index(label) for _, label in rows]})
    config = make("models", {"kind": "tfidf_linear", "analyzers": ["word"], "c": [10.0]})
    plugin_of("models", config).function(config).fit(FitSpec(schema, lambda: iter([table]), lambda: iter([table]), 0, folder))
    schema.save(folder)
    write_forms(folder, (Form(name="linear", predictor=make("predictors", "linear")),))
