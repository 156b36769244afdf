"""A linear layer as the product of two thin ones. Legend: I inputs, O outputs, R rank."""

from __future__ import annotations

from torch import Tensor, nn


class LowRank(nn.Module):
    """x -> up (down x): R (I + O) weights in place of I O.

    Args:
        in_features: I.
        out_features: O.
        rank: R.
    """

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] of [..., I]."""
        result: Tensor = self.up(self.down(x))
        return result


def rank_for(in_features: int, out_features: int, wanted: float) -> int | None:
    """Return the rank of a factorised layer, or None where two factors would not be smaller than the layer itself.

    Args:
        in_features: I.
        out_features: O.
        wanted: 1 or more: the rank; below 1: the part of the layer's weights that the two factors have.

    >>> rank_for(384, 384, 64), rank_for(384, 384, 0.5), rank_for(384, 384, 300)
    (64, 96, None)
    """
    whole, thin = in_features * out_features, in_features + out_features
    rank = int(wanted) if wanted >= 1 else max(1, int(wanted * whole / thin))
    return rank if rank * thin < whole else None
