"""A classifier after some layers of a trained BERT, so that an easy text need not pass through all of them (DeeBERT, Xin et al. 2020,
https://arxiv.org/abs/2004.12993: its second stage, in which the trunk is frozen and the exits are trained).

Legend: B rows, L tokens, D width, P width of the pooled vector, C classes, E exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError
from bessemer.nn.bert import Bert, Dense
from bessemer.nn.slim_bert import SlimBert

Encoder = Bert | SlimBert


class Exit(nn.Module):
    """A pooler and a classifier, which begin as those of the network's end."""

    def __init__(self, network: Encoder) -> None:
        super().__init__()
        self.pooler: Dense = deepcopy(network.bert.pooler)
        self.classifier = deepcopy(network.classifier)

    def forward(self, hidden_BLD: Tensor) -> Tensor:
        """Return logits [B, C]."""
        result: Tensor = self.classifier(self.pooler(hidden_BLD[:, 0]))
        return result


class EarlyExits(nn.Module):
    """A frozen network with exits, of which the last is its own end.

    Args:
        network: BERT, whole or pruned, with a head of classes.
        layers: after how many layers rows may leave, in rising order; each below the number of the network's layers.
    """

    bf16 = True

    def __init__(self, network: nn.Module, layers: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(network, (Bert, SlimBert)) or "classification" not in network.heads:
            raise UserError(f"early exits are for BERT's kind with a head of classes, and this is a {type(network).__name__}; distil it "
                            "into one, or leave the stage out")
        depth = len(network.bert.encoder.layer)
        if not layers or list(layers) != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] < depth:
            raise UserError(f"layers {list(layers)}: the network has {depth} layers; expected rising numbers from 1 to {depth - 1} after "
                            "which rows may leave")
        self.network, self.layers = network.requires_grad_(False), tuple(layers)
        self.exits = nn.ModuleList(Exit(network) for _ in layers).requires_grad_(True)

    def train(self, mode: bool = True) -> EarlyExits:
        """Train the exits alone: the frozen network drops nothing."""
        super().train(mode)
        self.network.eval()
        return self

    def segments(self) -> list[Segment]:
        """Return the parts between exits, each from the hidden states that the one before it gives."""
        bounds = [0, *self.layers, len(self.network.bert.encoder.layer)]
        return [Segment(self, place, bounds[place], bounds[place + 1]) for place in range(len(bounds) - 1)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return the logits of every exit, the network's own end last [E + 1, B, C]; inputs int64 [B, L]."""
        with torch.no_grad():
            hidden_BLD = self.network.bert.embeddings(input_ids, token_type_ids)
            mask_B11L = attention_mask.bool()[:, None, None, :]
            states = []
            for number, layer in enumerate(self.network.bert.encoder.layer, 1):
                hidden_BLD = layer(hidden_BLD, mask_B11L)
                if number in self.layers:
                    states.append(hidden_BLD)
            last_BC = self.network.class_logits(self.network.pool(hidden_BLD))
        found = [leave(state) for leave, state in zip(self.exits, states, strict=True)]
        return torch.stack([*found, last_BC])


class Segment(nn.Module):
    """Some layers of the network and the exit after them: what is exported as one graph.

    Args:
        whole: the network with its exits.
        place: of the segment, from 0.
        start: layers before it.
        stop: layers up to its end.
    """

    def __init__(self, whole: EarlyExits, place: int, start: int, stop: int) -> None:
        super().__init__()
        network = whole.network
        self.embeddings = network.bert.embeddings if place == 0 else None
        self.layer = nn.ModuleList(network.bert.encoder.layer[start:stop])
        self.last = place == len(whole.layers)
        self.leave = Exit(network) if self.last else whole.exits[place]

    def forward(self, hidden: Tensor | None = None, attention_mask: Tensor | None = None, input_ids: Tensor | None = None,
                token_type_ids: Tensor | None = None) -> Any:
        """Return the exit's logits [B, C] and, but for the last, the hidden states [B, L, D].

        Args:
            hidden: states [B, L, D], for all but the first segment.
            attention_mask: int64 [B, L].
            input_ids: int64 [B, L], for the first segment.
            token_type_ids: the same.
        """
        assert attention_mask is not None
        hidden_BLD = hidden if self.embeddings is None else self.embeddings(input_ids, token_type_ids)
        mask_B11L = attention_mask.bool()[:, None, None, :]
        for layer in self.layer:
            hidden_BLD = layer(hidden_BLD, mask_B11L)
        logits_BC = self.leave(hidden_BLD)
        return logits_BC if self.last else (logits_BC, hidden_BLD)

    def example(self) -> dict[str, Tensor]:
        """Return inputs to trace it with, under the names that its graph gives them."""
        if self.embeddings is not None:  # tensors of their own: one that is given twice would become one input
            return {name: torch.ones(2, 7, dtype=torch.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        width = int(self.layer[0].output.LayerNorm.normalized_shape[0])  # type: ignore[union-attr, index, arg-type]
        return {"hidden": torch.ones(2, 7, width), "attention_mask": torch.ones(2, 7, dtype=torch.int64)}

    def outputs(self) -> list[str]:
        """Return the names of what its graph gives."""
        return ["logits"] if self.last else ["logits", "next_hidden"]
