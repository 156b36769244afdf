"""The Transformer's encoder as its paper writes it: sinusoidal positions, scaled embeddings, normalisation after each sum, ReLU.

Vaswani et al. 2017, "Attention is all you need", https://arxiv.org/abs/1706.03762: sections 3.1 to 3.5.

Legend: B rows, L tokens, D width, N selected positions, V vocabulary, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn import words
from bessemer.nn.bert import BertConfig, Encoder, LayerWidths, Predictions
from bessemer.nn.network import Network

MODEL_TYPE = "transformer_encoder"


def sinusoids(length: int, width: int) -> Tensor:
    """Return the position encodings, float32 [length, width]: sine in even columns, cosine in odd ones.

    PE(pos, 2i) = sin(pos / 10000^(2i / width)), PE(pos, 2i + 1) = cos(pos / 10000^(2i / width)); section 3.5.
    """
    position_L1 = torch.arange(length, dtype=torch.float64)[:, None]
    rate_H = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    found_LD = torch.zeros(length, width, dtype=torch.float64)
    found_LD[:, 0::2] = torch.sin(position_L1 * rate_H)
    found_LD[:, 1::2] = torch.cos(position_L1 * rate_H[:width // 2])
    return found_LD.float()


class Embeddings(nn.Module):
    """Word embeddings times sqrt(D), plus the position encodings, which are not learnt."""

    positions_LD: Tensor

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.scale = math.sqrt(config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer("positions_LD", sinusoids(config.max_position_embeddings, config.hidden_size), persistent=False)

    def forward(self, input_ids_BL: Tensor) -> Tensor:
        """Return [B, L, D]."""
        x_BLD = self.word_embeddings(input_ids_BL) * self.scale + self.positions_LD[:input_ids_BL.shape[1]]
        result: Tensor = self.dropout(x_BLD)
        return result


class Transformer(Network):
    """The encoder with any of the heads `mlm`, `nsp`, `classification`, which read the first token's vector or the selected ones.

    Args:
        config: its shape; hidden_act "relu" is the paper's.
        heads: which heads it has.
        labels: class names in code order.
    """

    bf16 = True

    def __init__(self, config: BertConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__()
        words.check_heads("transformer", heads, ("mlm", "nsp", "classification"))
        self.config, self.heads, self.labels = config, heads, labels
        self.embeddings = Embeddings(config)
        widths = LayerWidths(config.num_attention_heads, config.hidden_size // config.num_attention_heads, config.intermediate_size)
        self.encoder = Encoder(config, [widths] * config.num_hidden_layers)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        if "mlm" in heads:
            self.predictions = Predictions(config, config.vocab_size)
        if "nsp" in heads:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)
        if "classification" in heads:
            self.classifier = nn.Linear(config.hidden_size, len(labels))
        self.apply(self._initialise)

    @torch.no_grad()
    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            module.bias.zero_()
        if isinstance(module, nn.Embedding):
            module.weight.normal_(0.0, self.config.hidden_size ** -0.5)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]; segments are not told apart."""
        result: Tensor = self.encoder(self.embeddings(input_ids_BL), attention_mask_BL.bool()[:, None, None, :])
        return result

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return the first token's vector [B, D]."""
        return hidden_BLD[:, 0]

    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return vocabulary logits [N, V]; the projection is the word embedding."""
        result: Tensor = self.predictions(hidden_ND, self.embeddings.word_embeddings.weight)
        return result

    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return next-sentence logits [B, 2]."""
        result: Tensor = self.seq_relationship(pooled_BD)
        return result

    def class_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return class logits [B, C]."""
        result: Tensor = self.classifier(self.dropout(pooled_BD))
        return result

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C]; inputs int64 [B, L]."""
        return self.class_logits(self.pool(self.encode(input_ids, attention_mask, token_type_ids)))

    def head_names(self) -> tuple[str, ...]:
        """Return the submodules that are heads."""
        return tuple(name for name in ("predictions", "seq_relationship", "classifier") if hasattr(self, name))

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        found: dict[str, Any] = {"model_type": MODEL_TYPE, "dtype": "float32", "heads": list(self.heads), **dataclasses.asdict(self.config)}
        if "classification" in self.heads:
            found["id2label"] = {str(code): label for code, label in enumerate(self.labels)}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return every parameter."""
        return dict(self.named_parameters())


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> Transformer:
    """Return the network of a folder; heads that it lacks (or all, with `new_heads`) are newly initialised."""
    from bessemer.nn.checkpoint import read_weights, saved_labels

    names = {item.name for item in dataclasses.fields(BertConfig)}
    labels = labels if labels or "classification" not in heads else saved_labels(config)
    module = Transformer(BertConfig(**{key: value for key, value in config.items() if key in names}), heads, labels)
    return adopt(module, read_weights(folder), folder, new_heads)


@torch.no_grad()
def adopt(module: Transformer, state: dict[str, Tensor], folder: Path, new_heads: bool) -> Transformer:
    """Copy a folder's tensors into the network, in place; a trunk that does not fit is a UserError."""
    heads = {f"{name}." for name in ("predictions", "seq_relationship", "classifier")}
    there = set() if new_heads else {prefix for prefix in heads if any(name.startswith(prefix) for name in state)}
    for name, target in module.tensors().items():
        prefix = next((prefix for prefix in heads if name.startswith(prefix)), None)
        if prefix is not None and prefix not in there:
            continue
        if name not in state or state[name].shape != target.shape:
            found = f"the shape {list(state[name].shape)}" if name in state else "no such tensor"
            raise UserError(f"'{folder}': the tensor '{name}' needs the shape {list(target.shape)}, the weights have {found}; make the "
                            "configurations equal, or say new_heads: true where only the labels differ")
        target.copy_(state[name])
    return module
