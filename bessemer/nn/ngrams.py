"""A bag of token n-grams, hashed into buckets inside the graph (Joulin et al. 2016, https://arxiv.org/abs/1607.01759), then dense layers.

Of tags each token has a bag of its own: the n-grams inside a window around it, told apart by where they stand (the features of Ratnaparkhi
1996, https://aclanthology.org/W96-0213, hashed as in Weinberger et al. 2009, https://arxiv.org/abs/0902.2206).

Legend: B rows, L tokens, R rows of the words' table, K buckets, G n-grams of a row (of all sizes) or of a token's window, E width of a
vector, C classes.
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
# Codes of neighbouring ids lie beside each other, and the multiplier is 3 modulo 10^5: without another product before it, the remainder of
# most round numbers of buckets would be the same for thousands of pairs. Below 2^32, so that the product too stays below 2^63.
SPREAD = 2_654_435_761


@dataclass(frozen=True)
class NgramsConfig(WordsConfig):
    """The shape of a bag of n-grams.

    Attributes:
        sizes: tokens of an n-gram, rising; 1 stands for the tokens themselves, which are not hashed.
        buckets: K, that all sizes above 1 share.
        pooling: `"mean"`, or `"attention"`: a mean weighted by the softmax of a learnt number of each n-gram.
        hidden_size: units of the dense layer before the classes; 0 for none.
        window: of tags, the tokens on each side of a token whose n-grams it knows.
        spread: whether codes are spread over all buckets; folders of versions before 0.5 do not say so.
    """

    sizes: tuple[int, ...] = (1, 2)
    buckets: int = 20_000
    pooling: str = "mean"
    hidden_size: int = 64
    window: int = 2
    spread: bool = False


def bucket_of(code_BL: Tensor, buckets: int, spread: bool) -> Tensor:
    """Return the bucket of each code below MODULUS, int64 [B, L]."""
    return (code_BL * SPREAD % MODULUS if spread else code_BL) % buckets


class Ngrams(WordNetwork):
    """Vectors of tokens and of hashed n-grams -> mean -> dense; n-grams that hold padding are none. Of tags their sum, token by token."""

    kind = "ngrams"
    known = ("classification", "tags")

    def __init__(self, config: NgramsConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(config, heads, labels)
        self.config = config
        hashed = any(size > 1 for size in config.sizes) or "tags" in heads
        self.words = words.table(config, config.buckets if hashed else 0)
        if "tags" in heads:  # what was never seen in training then says nothing, in a sum of a dozen
            nn.init.zeros_(self.words.weight[self.rows.count:])
        if config.pooling == "attention" and "tags" not in heads:
            self.importance = nn.Embedding(self.words.num_embeddings, 1)
            nn.init.zeros_(self.importance.weight)
        self.dropout = nn.Dropout(config.dropout)
        if config.hidden_size:
            self.dense = nn.Linear(config.embedding_size, config.hidden_size)
        if heads:
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
                found.append(torch.where(whole_BL, bucket_of(hash_BL, self.config.buckets, self.config.spread) + first, padding))
        return torch.cat(found, dim=1)

    def around(self, input_ids_BL: Tensor, attention_mask_BL: Tensor) -> Tensor:
        """Return rows of the table [B, L, G]: the token's own, then the buckets of the n-grams inside its window, by size and place.

        Beyond the ends of a text stands padding, so that a token knows that it is the first.
        """
        rows_BL = self.rows(input_ids_BL, attention_mask_BL).long()
        side, length, first = self.config.window, input_ids_BL.shape[1], self.rows.count
        wide_BL = F.pad(rows_BL, (side, side), value=self.rows.padding)
        found = [rows_BL]
        for size in self.config.sizes:
            for place in range(2 * side + 2 - size):
                hash_BL = torch.full_like(rows_BL, 64 * size + place)
                for step in range(place, place + size):
                    hash_BL = (hash_BL * MULTIPLIER + wide_BL[:, step:step + length]) % MODULUS
                found.append(bucket_of(hash_BL, self.config.buckets, self.config.spread) + first)
        return torch.stack(found, dim=2)

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return one summary of each row [B, 1, E]: a bag has no state for each token. With `tags` one of each token, [B, L, E]."""
        if "tags" in self.heads:
            return self.words(self.around(input_ids_BL, attention_mask_BL)).sum(2)
        rows_BG = self.grams(input_ids_BL, attention_mask_BL)
        there_BG = rows_BG != self.rows.padding
        vectors_BGE = self.words(rows_BG)
        if self.config.pooling == "attention":
            score_BG = torch.where(there_BG, self.importance(rows_BG)[:, :, 0], torch.finfo(vectors_BGE.dtype).min)
            return score_BG.softmax(-1)[:, None] @ vectors_BGE
        count_B11 = there_BG.sum(1, keepdim=True, dtype=torch.float32)[:, :, None].clamp(min=1.0)
        return vectors_BGE.sum(1, keepdim=True) / count_B11

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return one vector a row [B, hidden_size], with the head `tags` one a token [B, L, hidden_size]."""
        vector = self.dropout(hidden_BLD if "tags" in self.heads else hidden_BLD[:, 0])
        return F.relu(self.dense(vector)) if self.config.hidden_size else vector

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        if "tags" in self.heads:
            return words.describe(self.kind, "NgramsForTokenClassification", self.config, self.labels)
        found = words.describe(self.kind, "Ngrams", self.config, self.labels)
        found.pop("window")
        return found


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> Network:
    """Return the network of a folder; see `nn/checkpoint.py`."""
    return opened(Ngrams, NgramsConfig, folder, config, (heads, labels, new_heads))
