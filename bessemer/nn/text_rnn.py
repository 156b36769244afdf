"""LSTM or GRU over word vectors (Hochreiter & Schmidhuber 1997; Cho et al. 2014), read both ways, with one dropout mask through time.

Dropout draws one mask a row and keeps it at every step (Gal & Ghahramani 2016, https://arxiv.org/abs/1512.05287): `dropout` on what goes
into each layer, `recurrent_dropout` on the state that goes round.

Legend: B rows, L tokens, E width of a word vector, H units of one direction, I inputs of a layer, G gates x H, D features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bessemer.nn import words
from bessemer.nn.network import Network
from bessemer.nn.ngrams import MODULUS, MULTIPLIER, bucket_of
from bessemer.nn.word_network import WordNetwork, opened
from bessemer.nn.words import WordsConfig


@dataclass(frozen=True)
class TextRnnConfig(WordsConfig):
    """The shape of a recurrent network.

    Attributes:
        cell: `"lstm"` or `"gru"`.
        hidden_size: H.
        num_layers: layers above each other.
        bidirectional: whether it reads from both ends.
        pooling: `"max"`, `"mean"` over the text's own tokens, `"last"`: the state at the end of each direction.
        recurrent_dropout: share of the state that is hidden, the same at every step, in training.
        bigrams: K, buckets of hashed pairs of neighbouring tokens; a token's vector is followed by those of its pairs with the token before
            and the one behind it. 0 for none.
        bigram_size: E of these.
        spread: whether pairs are spread over all buckets; folders of versions before 0.5 do not say so.
    """

    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = True
    pooling: tuple[str, ...] = ("max",)
    recurrent_dropout: float = 0.0
    bigrams: int = 0
    bigram_size: int = 32
    spread: bool = False


class TextRnn(WordNetwork):
    """Word vectors -> recurrent layers -> pooling -> classes; steps beyond a text's end are never taken."""

    kind = "text_rnn"
    known = ("classification", "tags")

    def __init__(self, config: TextRnnConfig, heads: tuple[str, ...], labels: tuple[str, ...] = ()) -> None:
        super().__init__(config, heads, labels)
        self.config = config
        self.words = words.table(config)
        made = nn.LSTM if config.cell == "lstm" else nn.GRU
        ways = 2 if config.bidirectional else 1
        if config.bigrams:
            self.pairs = nn.Embedding(config.bigrams, config.bigram_size)
            nn.init.normal_(self.pairs.weight, 0.0, config.bigram_size ** -0.5)
        given = config.embedding_size + (2 * config.bigram_size if config.bigrams else 0)
        sizes = [given, *[ways * config.hidden_size] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(made(size, config.hidden_size, batch_first=True, bidirectional=config.bidirectional) for size in sizes)
        if heads:
            summaries = 1 if "tags" in heads else len(config.pooling)
            self.classifier = nn.Linear(ways * config.hidden_size * summaries, len(labels))

    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return one summary of each row [B, 1, D]: what is pooled has no state for each token. With the head `tags` those, [B, L, D]."""
        rows_BL = self.rows(input_ids_BL, attention_mask_BL)
        x_BLI = self.words(rows_BL)
        if self.config.bigrams:
            before_BL = self._buckets(rows_BL.long())
            x_BLI = torch.cat([x_BLI, self.pairs(before_BL), self.pairs(F.pad(before_BL[:, 1:], (0, 1)))], dim=-1)
        length_B = attention_mask_BL.sum(1)
        for layer in self.layers:
            x_BLI = self._layer(layer, x_BLI * self._mask(x_BLI, self.config.dropout), length_B)
        return x_BLI if "tags" in self.heads else self._pooled(x_BLI, attention_mask_BL, length_B)[:, None]

    def _buckets(self, rows_BL: Tensor) -> Tensor:
        """Return the bucket [B, L] of each token and the one before it; padding stands before the first."""
        before_BL = F.pad(rows_BL[:, :-1], (1, 0), value=self.rows.padding)
        return bucket_of(((before_BL + 1) * MULTIPLIER + rows_BL) % MODULUS, self.config.bigrams, self.config.spread)

    def _mask(self, like_BLI: Tensor, share: float) -> Tensor | float:
        """Return a mask [B, 1, I], kept through time, scaled so that the mean stays; 1 outside training."""
        if not (self.training and share):
            return 1.0
        return F.dropout(like_BLI.new_ones(len(like_BLI), 1, like_BLI.shape[-1]), share)

    def _layer(self, layer: nn.Module, x_BLI: Tensor, length_B: Tensor) -> Tensor:
        """Return the states [B, L, ways x H] of a layer; 0 beyond the end of a text."""
        ways = ("", "_reverse") if self.config.bidirectional else ("",)
        if self.training and self.config.recurrent_dropout:
            return torch.cat([self._steps(layer, way, x_BLI, length_B) for way in ways], dim=-1)
        if torch.compiler.is_exporting():  # packed rows have a shape that follows from the lengths, which no program can hold
            return torch.cat([self._scanned(layer, way, x_BLI, length_B) for way in ways], dim=-1)
        packed = pack_padded_sequence(x_BLI, length_B.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x_BLI.shape[1])
        result: Tensor = states
        return result

    def _steps(self, layer: nn.Module, way: str, x_BLI: Tensor, length_B: Tensor) -> Tensor:
        """Return the states [B, L, H] of one direction, step by step, the state under one mask through time (Gal's equation 7)."""
        weight, bias, recurrent, again = _weights(layer, way)
        given_BLG = F.linear(x_BLI, weight, bias)
        state_BH = x_BLI.new_zeros(len(x_BLI), self.config.hidden_size)
        cell_BH = state_BH
        mask_BH = F.dropout(torch.ones_like(state_BH), self.config.recurrent_dropout, self.training)
        steps = range(x_BLI.shape[1])
        found: dict[int, Tensor] = {}
        for step in reversed(steps) if way else steps:
            round_BG = F.linear(state_BH * mask_BH, recurrent, again)
            new_BH, new_cell_BH = _cell(self.config.cell, given_BLG[:, step], round_BG, (state_BH, cell_BH))
            there_B1 = (step < length_B)[:, None]
            state_BH, cell_BH = torch.where(there_B1, new_BH, state_BH), torch.where(there_B1, new_cell_BH, cell_BH)
            found[step] = torch.where(there_B1, state_BH, 0.0)
        return torch.stack([found[step] for step in steps], dim=1)

    def _scanned(self, layer: nn.Module, way: str, x_BLI: Tensor, length_B: Tensor) -> Tensor:
        """Return the states [B, L, H] of one direction as one operator over the steps, whose number stays free in an exported program."""
        from torch._higher_order_ops.scan import scan

        weight, bias, recurrent, again = _weights(layer, way)

        def step(before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
            given_BG, there_B1 = now
            new_BH, new_cell_BH = _cell(self.config.cell, given_BG, F.linear(before[0], recurrent, again), before)
            state_BH = torch.where(there_B1, new_BH, before[0])
            return (state_BH, torch.where(there_B1, new_cell_BH, before[1])), torch.where(there_B1, state_BH, 0.0)

        there_LB1 = (torch.arange(x_BLI.shape[1])[:, None] < length_B)[:, :, None]
        none_BH = x_BLI.new_zeros(x_BLI.shape[0], self.config.hidden_size)
        given_LBG = F.linear(x_BLI, weight, bias).transpose(0, 1)
        states_LBH: Tensor = scan(step, (none_BH, none_BH.clone()), (given_LBG, there_LB1), dim=0, reverse=bool(way))[1]
        return states_LBH.transpose(0, 1)

    def _pooled(self, states_BLH: Tensor, mask_BL: Tensor, length_B: Tensor) -> Tensor:
        kept_BL1 = mask_BL[:, :, None] != 0
        found = []
        for name in self.config.pooling:
            if name == "max":  # a state lies between -1 and 1
                found.append(torch.where(kept_BL1, states_BLH, -2.0).amax(1))
            elif name == "mean":
                found.append((states_BLH * kept_BL1).sum(1) / length_B[:, None].clamp(min=1))
            else:
                size = self.config.hidden_size
                last_B11 = (length_B - 1).clamp(min=0)[:, None, None]
                end_BH = states_BLH[:, :, :size].gather(1, last_B11.expand(-1, 1, size))[:, 0]
                found.append(torch.cat([end_BH, states_BLH[:, 0, size:]], dim=-1))
        return torch.cat(found, dim=-1)

    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return one vector a row [B, D], with the head `tags` one a token [B, L, D]: what the classifier reads."""
        if "tags" in self.heads:
            return hidden_BLD * self._mask(hidden_BLD, self.config.dropout)
        return F.dropout(hidden_BLD[:, 0], self.config.dropout, self.training)

    def describe(self) -> dict[str, Any]:
        """Return config.json's content."""
        name = "TextRnnForTokenClassification" if "tags" in self.heads else "TextRnn"
        found = words.describe(self.kind, name, self.config, self.labels)
        unused = () if self.config.bigrams else ("bigrams", "bigram_size", "spread")
        return {key: value for key, value in found.items() if key not in unused}


def _weights(layer: nn.Module, way: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of one direction: of what goes in with their bias, and of the state that goes round with theirs."""
    first, second, third, fourth = (getattr(layer, f"{name}_l0{way}") for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
    return first, second, third, fourth


def _cell(kind: str, given_BG: Tensor, round_BG: Tensor, before: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the next state and cell [B, H]; torch's order of the gates (LSTM: in, forget, cell, out; GRU: reset, update, new)."""
    state_BH, cell_BH = before
    if kind == "lstm":
        enter, forget, content, leave = (given_BG + round_BG).chunk(4, dim=-1)
        cell_BH = forget.sigmoid() * cell_BH + enter.sigmoid() * content.tanh()
        return leave.sigmoid() * cell_BH.tanh(), cell_BH
    (reset, update, new), (reset_r, update_r, new_r) = given_BG.chunk(3, dim=-1), round_BG.chunk(3, dim=-1)
    update = (update + update_r).sigmoid()
    return (1 - update) * (new + (reset + reset_r).sigmoid() * new_r).tanh() + update * state_BH, cell_BH


def open_folder(folder: Path, config: dict[str, Any], heads: tuple[str, ...], labels: tuple[str, ...], new_heads: bool) -> Network:
    """Return the network of a folder; see `nn/checkpoint.py`."""
    return opened(TextRnn, TextRnnConfig, folder, config, (heads, labels, new_heads))
