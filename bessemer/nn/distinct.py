"""Random choices without repetition, row by row, without a tensor of rows times possibilities.

Legend: R rows, T taken, C drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Elements of the largest temporary tensor.
CHUNK = 1 << 20


def distinct(count: int, size_R: Tensor, taken_RT: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return `count` different numbers of 0..size-1 a row that are not among the row's taken ones; every set is equally likely.

    Args:
        count: C, at most the smallest size less T.
        size_R: int64 [R], the possibilities of each row.
        taken_RT: int32 [R, T], different numbers in a row.
        generator: None is torch's own.

    Returns:
        int32 [R, C].
    """
    used = count + taken_RT.shape[1]
    few = 4 * used <= int(size_R.min())
    step = max(1, CHUNK // (used if few else int(size_R.max())))
    found = torch.empty(len(size_R), count, dtype=torch.int32)
    choose = _by_rejection if few else _by_scores
    for begin in range(0, len(size_R), step):
        span = slice(begin, begin + step)
        found[span] = choose(count, size_R[span], taken_RT[span].long(), generator).int()
    return found


def _by_scores(count: int, size_R: Tensor, taken_RT: Tensor, generator: torch.Generator | None) -> Tensor:
    """Give every possibility a random score and take the highest."""
    score = torch.rand(len(size_R), int(size_R.max()), generator=generator)
    score.masked_fill_(torch.arange(score.shape[1]) >= size_R[:, None], -1.0)
    return score.scatter_(1, taken_RT, -1.0).topk(count, 1).indices


def _by_rejection(count: int, size_R: Tensor, taken_RT: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw, and draw again what repeats; at most a quarter does."""
    size = size_R[:, None].double()
    numbers = torch.cat([taken_RT, (torch.rand(len(size), count, generator=generator, dtype=torch.float64) * size).long()], 1)
    rows = torch.arange(len(size))
    while len(rows):
        ordered, place = numbers[rows].sort(dim=1, stable=True)
        row, column = (ordered[:, 1:] == ordered[:, :-1]).nonzero(as_tuple=True)
        # The sort is stable, so the repetition is never a taken number.
        place = place[row, column + 1]
        row = rows[row]
        numbers[row, place] = (torch.rand(len(row), generator=generator, dtype=torch.float64) * size[row, 0]).long()
        rows = row.unique()
    return numbers[:, taken_RT.shape[1]:]
