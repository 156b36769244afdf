"""The masked language model's masking (numpy) and its loss (torch), shared by the tasks that learn it.

Legend: B rows, L tokens, D width, N masked positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bessemer.core.keyed import uniform
from bessemer.nn.bert import Bert
from bessemer.nn.network import Network
from bessemer.nn.vocabulary import vocabulary_loss

_STREAM_SELECT, _STREAM_ACTION, _STREAM_TOKEN = 101, 102, 103


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    Attributes:
        probability: share of the ordinary tokens that are predicted.
        replaced: share of those shown as the mask token.
        randomised: share of those shown as a random ordinary token; the rest are shown as they are.
        mask_token_id: id of the mask token.
        special: ids that are never predicted and never drawn.
        ordinary: every other id of the vocabulary.
    """

    probability: float
    replaced: float
    randomised: float
    mask_token_id: int
    special: np.ndarray
    ordinary: np.ndarray

    @staticmethod
    def of(info: dict[str, Any], probability: float, replaced: float, randomised: float) -> Masking:
        """Return the masking for a codec's facts (`vocab_size`, `mask_token_id`, `special_token_ids`)."""
        special = np.unique(np.asarray(info["special_token_ids"], np.int64))
        ordinary = np.setdiff1d(np.arange(info["vocab_size"], dtype=np.int64), special)
        return Masking(probability, replaced, randomised, int(info["mask_token_id"]), special, ordinary)


def mask_tokens(masking: Masking, arrays: dict[str, np.ndarray], row_ids_B: np.ndarray, seed: int, epoch: int,
                ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Hide tokens of a batch; each row depends on (seed, epoch, row id) alone, whatever it is batched with.

    Every row that has an ordinary token gets at least one masked position: the one with the smallest draw.

    Returns:
        the batch's arrays with `input_ids` changed and `masked_positions` added (int64 [N], index into B·L, ascending),
        and the hidden ids, int64 [N].
    """
    ids_BL = arrays["input_ids"]
    num_rows, length = ids_BL.shape
    candidate_BL = (arrays["attention_mask"] == 1) & ~np.isin(ids_BL, masking.special)
    draw_BL = np.where(candidate_BL, uniform(seed, epoch, row_ids_B, length, _STREAM_SELECT), 2.0)
    chosen_BL = draw_BL < masking.probability
    bare_R = np.flatnonzero(~chosen_BL.any(axis=1) & candidate_BL.any(axis=1))
    chosen_BL[bare_R, draw_BL[bare_R].argmin(axis=1)] = True
    positions_N = np.flatnonzero(chosen_BL)
    hidden_N = ids_BL.reshape(-1)[positions_N]

    action_N = uniform(seed, epoch, row_ids_B, length, _STREAM_ACTION).reshape(-1)[positions_N]
    draw_N = uniform(seed, epoch, row_ids_B, length, _STREAM_TOKEN).reshape(-1)[positions_N]
    random_N = masking.ordinary[(draw_N * len(masking.ordinary)).astype(np.int64)]
    shown_N = np.where(action_N < masking.replaced, masking.mask_token_id,
                       np.where(action_N < masking.replaced + masking.randomised, random_N, hidden_N))
    changed = ids_BL.reshape(-1).copy()
    changed[positions_N] = shown_N
    return ({**arrays, "input_ids": changed.reshape(num_rows, length), "masked_positions": positions_N}, hidden_N)


def masked_loss(network: Network, hidden_BLD: Tensor, positions_N: Tensor, targets_N: Tensor,
                ) -> tuple[Tensor, dict[str, tuple[Any, Any]], Tensor]:
    """Cross-entropy at the masked positions only: the vocabulary projection sees N rows, not B·L.

    Returns:
        the mean loss (0 with a graph where nothing is masked), its sums `mlm_loss` and `mlm_accuracy`, and the detached
        mean loss of each row [B].
    """
    num_rows, length = hidden_BLD.shape[:2]
    total, losses_N, correct_N = _masked(network, hidden_BLD.flatten(0, 1)[positions_N], targets_N)
    count = positions_N.shape[0]
    with torch.no_grad():
        row_N = positions_N // length
        sum_B = torch.zeros(num_rows, device=hidden_BLD.device).index_add_(0, row_N, losses_N.detach().float())
        per_row_B = sum_B / torch.bincount(row_N, minlength=num_rows).clamp(min=1)
    sums = {"mlm_loss": (losses_N.detach().sum(), count), "mlm_accuracy": (correct_N.sum(), count)}
    return total, sums, per_row_B


def _masked(network: Network, hidden_ND: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean loss, that of each position, and which are right."""
    if isinstance(network, Bert):
        return vocabulary_loss(*network.mlm_projection(hidden_ND), targets_N)
    logits_NV = network.mlm_logits(hidden_ND).float()
    losses_N = F.cross_entropy(logits_NV, targets_N, reduction="none")
    return losses_N.sum() / max(len(targets_N), 1), losses_N, logits_NV.argmax(-1) == targets_N
