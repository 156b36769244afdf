"""One vector a text: the mean of a network's last hidden states over the real tokens, of length 1 (Reimers & Gurevych 2019).

Legend: N texts, B texts in a batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bessemer.nn.network import Network

if TYPE_CHECKING:
    import numpy as np


def pooled(network: Network, arrays: Mapping[str, Tensor], first: bool = False) -> Tensor:
    """Return [B, D]: the mean over the real tokens, or the first token's vector."""
    hidden_BLD = network.encode(arrays["input_ids"], arrays["attention_mask"], arrays["token_type_ids"])
    if first:
        return hidden_BLD[:, 0]
    mask_BL1 = arrays["attention_mask"][:, :, None].to(hidden_BLD.dtype)
    return (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1)


def vectors(network: Network, batches: Iterable[np.ndarray], collate: Callable[[np.ndarray], Mapping[str, np.ndarray]], count: int,
            first: bool = False) -> np.ndarray:
    """Return a vector for each of `count` texts, float32 [N, D], not normalised.

    Args:
        network: in evaluation mode.
        batches: positions of the texts of each batch; together every text once.
        collate: (positions) -> input_ids, attention_mask, token_type_ids, int64 [B, L].
        count: N.
        first: the first token's vector in place of the mean.
    """
    import numpy as np

    found_ND: np.ndarray | None = None
    for chosen_B in batches:
        arrays = {name: torch.from_numpy(array) for name, array in collate(chosen_B).items()}
        with torch.inference_mode():
            part_BD = pooled(network, arrays, first).numpy()
        if found_ND is None:
            found_ND = np.zeros((count, part_BD.shape[1]), np.float32)
        found_ND[chosen_B] = part_BD
    return np.zeros((0, 1), np.float32) if found_ND is None else found_ND


def of_length_1(vectors_ND: np.ndarray) -> np.ndarray:
    """Return the vectors divided by their lengths, so that a product of two is their cosine; zero stays zero."""
    import numpy as np

    found: np.ndarray = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    return found
