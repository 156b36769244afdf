"""Self-attention relations of two networks of any widths (MiniLMv2, Wang et al. 2020, https://arxiv.org/abs/2012.15828).

Legend: B rows, L tokens, D width of one network's queries, A relation heads, K = D / A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bessemer.core.errors import UserError

PARTS = ("query", "key", "value")
HIDDEN = -1e4


@contextmanager
def listening(network: nn.Module, what: str) -> Iterator[dict[str, Tensor]]:
    """Yield a mapping that a forward pass fills with the last layer's queries, keys and values, [B, L, D] each.

    They are found by Hugging Face's names; a network without them is a UserError that calls it `what`.
    """
    found: dict[str, Tensor] = {}
    last = {name.rsplit(".", 1)[-1]: module for name, module in network.named_modules() if name.rsplit(".", 1)[-1] in PARTS}
    missing = [part for part in PARTS if part not in last]
    if missing:
        raise UserError(f"hidden: relations needs attention layers, and the {what} has none; say hidden: none")

    def keep(part: str) -> Any:
        def hook(_module: nn.Module, _given: Any, answer: Tensor) -> None:
            found[part] = answer

        return hook

    hooks = [last[part].register_forward_hook(keep(part)) for part in PARTS]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def answer(network: nn.Module, inputs: Mapping[str, Tensor], what: str | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a network's class logits [B, C] in float32 and, where it is called something, what `listening` hears."""
    if what is None:
        return network(**inputs).float(), {}
    with listening(network, what) as found:
        return network(**inputs).float(), found


def relation_heads(first: int, second: int, most: int) -> int:
    """Return the largest number of heads, `most` at most, that divides both widths.

    >>> relation_heads(384, 120, 12)
    12
    """
    return next(count for count in range(most, 0, -1) if first % count == 0 and second % count == 0)


def log_relations(states_BLD: Tensor, mask_BL: Tensor, heads: int) -> Tensor:
    """Return log softmax(X X^T / sqrt(K)) of each relation head over the real tokens, [B, A, L, L]."""
    x_BALK = states_BLD.unflatten(-1, (heads, -1)).transpose(1, 2)
    scores_BALL = x_BALK @ x_BALK.transpose(-1, -2) * x_BALK.shape[-1] ** -0.5
    return scores_BALL.masked_fill(mask_BL[:, None, None, :] == 0, HIDDEN).log_softmax(-1)


def relation_loss(teacher: dict[str, Tensor], student: dict[str, Tensor], mask_BL: Tensor, most_heads: int) -> Tensor:
    """Return each row's loss [B]: KL(teacher || student) of query-query, key-key and value-value relations, a mean over heads and tokens.

    The sum over the three is the paper's equation 6 with equal weights.
    """
    total_B = torch.zeros(len(mask_BL), device=mask_BL.device)
    real_B1L = (mask_BL != 0)[:, None, :]
    for part in PARTS:
        heads = relation_heads(teacher[part].shape[-1], student[part].shape[-1], most_heads)
        right_BALL, said_BALL = (log_relations(states[part], mask_BL, heads) for states in (teacher, student))
        divergence_BAL = (right_BALL.exp() * (right_BALL - said_BALL)).sum(-1)
        total_B = total_B + (divergence_BAL * real_B1L).sum((1, 2)) / (heads * real_B1L.sum((1, 2)))
    return total_B
