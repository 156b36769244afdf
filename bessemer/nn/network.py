"""The one interface of text networks: what tasks, adaptations, checkpoints and exports call.

Legend: B rows, L tokens, D width, N selected positions, V vocabulary, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A text encoder with named heads.

    Attributes:
        heads: the heads that it has, of `"mlm"`, `"nsp"`, and one of `"classification"` and `"tags"`.
        labels: class names in code order; empty without a classification head.
        bf16: whether its products may be computed in bfloat16 while it trains.
    """

    bf16 = False

    heads: tuple[str, ...]
    labels: tuple[str, ...]

    @abstractmethod
    def encode(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """Return the last hidden states [B, L, D]; inputs int64, the mask 1 where a token is real."""

    @abstractmethod
    def pool(self, hidden_BLD: Tensor) -> Tensor:
        """Return one vector a row [B, D]."""

    @abstractmethod
    def mlm_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return vocabulary logits [N, V] of selected positions."""

    @abstractmethod
    def nsp_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return next-sentence logits [B, 2]: 0 is next, 1 is from elsewhere."""

    @abstractmethod
    def class_logits(self, pooled_BD: Tensor) -> Tensor:
        """Return class logits [B, C]."""

    @abstractmethod
    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return class logits [B, C] of a batch, with the head `tags` those of each token [B, L, C]; this is what is exported.

        Inputs int64 [B, L].
        """

    @abstractmethod
    def head_names(self) -> tuple[str, ...]:
        """Return the names of the submodules that are heads; every other parameter is the trunk's."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the content of config.json in Hugging Face's layout."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of model.safetensors under Hugging Face's names, tied ones once."""
