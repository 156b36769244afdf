"""A bag of token n-grams, hashed into buckets inside the graph (Joulin et al. 2016, https://arxiv.org/abs/1607.01759), then dense layers.

Legend: B rows, L tokens, R rows of the words' table, K buckets, G n-grams of a row (all sizes together), E width of a vector, C classes.
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

# A prime below 2^31: with ids below 2^31 a step of the hash stays below 2^63, so int64 never wraps and every runtime agrees.
MULTIPLIER = 1_000_003
MODULUS = 2_147_483_647


@dataclass(frozen=True)
class NgramsConfig(WordsConfig):
    """The shape of a bag of n-grams.

    Attributes:
        sizes: tokens of an n-gram, rising; 1 stands for the tokens themselves, which are not hashed.
        buckets: K, that all sizes above 1 share.
        pooling: `"mean"`, or `"attention"`: a mean weighted by the softmax of a learnt number of each n-gram.
        hidden_size: units of the dense layer before the classes; 0 for none.
    """

    sizes: tuple[int, ...] = (1, 2)
    buckets: int = 20_000
    pooling: str = "mean"
    hidden_size: int = 64


class Ngrams(WordNetwork):
    """Vectors of tokens and of hashed n-grams -> mean -> dense; n-grams that hold padding are none."""

    kind = "ngrams"

    def __init__(self, config: NgramsConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(config, heads, labels)
        self.config = config
        hashed = any(size > 1 for size in config.sizes)
        self.words = words.table(config, config.buckets if hashed else 0)
        if config.pooling == "attention":
            self.importance = nn.Embedding(self.words.num_embeddings, 1)
            nn.init.zeros_(self.importance.weight)
        self.dropout = nn.Dropout(config.dropout)
        if config.hidden_size:
            self.dense = nn.Linear(config.embedding_size, config.hidden_size)
        if "classification" in heads:
            self.classifier = nn.Linear(config.hidden_size or config.embedding_size, len(labels))

    def grams(self, input_ids_BL: Tensor, attention_mask_BL: Tensor) -> Tensor:
        """Return rows of the table [B, G]: the tokens', then the buckets of each size's n-grams; the padding row where there is none."""
        rows_BL = self.rows(input_ids_BL, attention_mask_BL).long()
        padding, first = self.rows.padding, self.rows.count
        longest = max(self.config.sizes)
        found, hash_BL = [rows_BL] if 1 in self.config.sizes else [], input_ids_BL
        # A border of padding, so that a text of one token has (no) pairs: all shapes stay functions of L.
        ids_BL, kept_BL = (F.pad(item, (0, longest - 1)) for item in (input_ids_BL, attention_mask_BL))
        length = input_ids_BL.shape[1]
        whole_BL = attention_mask_BL != 0
        for size in range(2, longest + 1):
            hash_BL = (hash_BL * MULTIPLIER + ids_BL[:, size - 1:length + size - 1]) % MODULUS
            whole_BL = whole_BL & (kept_BL[:, size - 1:length + size - 1] != 0)
            if size in self.config.sizes:
                found.append(torch.where(whole_BL, hash_BL % self.config.buckets + first, padding))
        return torch.cat(found, dim=1)

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return one summary of each row [B, 1, E]: a bag has no state for each token."""
        rows_BG = self.grams(input_ids_BL, attention_mask_BL)
        there_BG = rows_BG != self.rows.padding
        vectors_BGE = self.words(rows_BG)
        if self.config.pooling == "attention":
            score_BG = torch.where(there_BG, self.importance(rows_BG)[:, :, 0], torch.finfo(vectors_BGE.dtype).min)
            return score_BG.softmax(-1)[:, None] @ vectors_BGE
        count_B11 = there_BG.sum(1, keepdim=True, dtype=torch.float32)[:, :, None].clamp(min=1.0)
        return vectors_BGE.sum(1, keepdim=True) / count_B11

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return one vector a row [B, hidden_size]."""
        vector_BE = self.dropout(hidden_BLD[:, 0])
        return F.relu(self.dense(vector_BE)) if self.config.hidden_size else vector_BE

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        return words.describe(self.kind, "Ngrams", self.config, self.labels)


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> Network:
    """Return the network of a folder; see `nn/checkpoint.py`."""
    return opened(Ngrams, NgramsConfig, folder, config, (heads, labels, new_heads))
