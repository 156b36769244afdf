"""Convolutions over word vectors (Kim 2014, https://arxiv.org/abs/1408.5882): several widths, pooled over the text, then dense layers.

Legend: B rows, L tokens, E width of a word vector, F channels of one width, W widths, D features (W x F x poolings), C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bessemer.nn import words
from bessemer.nn.network import Network
from bessemer.nn.word_network import WordNetwork, opened
from bessemer.nn.words import WordsConfig


@dataclass(frozen=True)
class TextCnnConfig(WordsConfig):
    """The shape of a TextCNN.

    Attributes:
        widths: tokens that a filter sees, a group of filters each.
        channels: filters of each width.
        pooling: `"max"`, `"mean"` over the text's own tokens.
        hidden_size: units of the dense layer before the classes; 0 for none.
    """

    widths: tuple[int, ...] = (2, 3, 4)
    channels: int = 128
    pooling: tuple[str, ...] = ("max",)
    hidden_size: int = 0


class TextCnn(WordNetwork):
    """Word vectors -> convolutions -> pooling -> dense.

    A text's border is zeros on both sides, and filters at tokens that are not there count nowhere; so padding changes no answer.
    """

    kind = "text_cnn"

    def __init__(self, config: TextCnnConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(config, heads, labels)
        self.config = config
        self.words = words.table(config)
        self.convolutions = nn.ModuleList(nn.Conv1d(config.embedding_size, config.channels, width) for width in config.widths)
        features = config.channels * len(config.widths) * len(config.pooling)
        self.dropout = nn.Dropout(config.dropout)
        if config.hidden_size:
            self.dense = nn.Linear(features, config.hidden_size)
        if "classification" in heads:
            self.classifier = nn.Linear(config.hidden_size or features, len(labels))

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return one summary of each row [B, 1, D]: what is pooled has no state for each token."""
        vectors_BEL = self.words(self.rows(input_ids_BL, attention_mask_BL)).transpose(1, 2)
        kept_B1L = attention_mask_BL[:, None, :].to(vectors_BEL.dtype)
        found = []
        for convolution, width in zip(self.convolutions, self.config.widths, strict=True):
            bordered = F.pad(vectors_BEL, ((width - 1) // 2, width // 2))
            # The filters' answers are 0 or more after the rectifier, so a 0 in place of a padded one never is the largest alone.
            each_BFL = F.relu(convolution(bordered)) * kept_B1L
            if "max" in self.config.pooling:
                found.append(each_BFL.amax(-1))
            if "mean" in self.config.pooling:
                found.append(each_BFL.sum(-1) / kept_B1L.sum(-1).clamp(min=1.0))
        return torch.cat(found, dim=-1)[:, None]

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return one vector a row [B, D]."""
        vector_BD = self.dropout(hidden_BLD[:, 0])
        return F.relu(self.dense(vector_BD)) if self.config.hidden_size else vector_BD

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        return words.describe(self.kind, "TextCnn", self.config, self.labels)


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> Network:
    """Return the network of a folder; see `nn/checkpoint.py`."""
    return opened(TextCnn, TextCnnConfig, folder, config, (heads, labels, new_heads))
