"""Tags that fit their neighbours: the best tags of a whole text instead of each unit's own best (Viterbi 1967).

Legend: U units of all rows, N rows, T units of the longest row, C tags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CELLS = 4_000_000
"""Numbers that a block of rows is worked on with at most."""


def fitted_scores(logits_UC: np.ndarray, chain: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return for each unit and tag the score of its row's best tags that have this tag there, float64 [U, C].

    The largest of a unit's scores is that of the row's best tags of all (max-product messages), so each unit's largest together are these;
    without a chain (zeros) a row's scores are its logits, less a number of each unit, which no softmax sees.

    Args:
        logits_UC: what the network says of each unit.
        chain: float [C + 1, C + 1], added for a tag (row) before another (column); the last row is the beginning, the last column the end.
        offsets: int64 [N + 1]: row i has the units offsets[i] to offsets[i + 1].
    """
    import numpy as np

    found = np.array(logits_UC, np.float64)
    size_N, tags = np.diff(offsets), chain.shape[0] - 1
    order = np.argsort(size_N, kind="stable")
    order = order[size_N[order] > 0]
    start = 0
    while start < len(order):
        longest = int(size_N[order[start]])
        stop = start
        while stop < len(order):  # rows of like length together, few enough for the memory
            longest = int(size_N[order[stop]])
            if stop > start and (stop + 1 - start) * max(longest * tags, tags * tags) > CELLS:
                break
            stop += 1
        rows = order[start:stop]
        start = stop
        sizes = size_N[rows]
        place_NT = offsets[rows][:, None] + np.minimum(np.arange(int(sizes.max())), sizes[:, None] - 1)
        score_NTC = _block(found[place_NT], np.asarray(chain, np.float64), sizes)
        inside_NT = np.arange(place_NT.shape[1]) < sizes[:, None]
        found[place_NT[inside_NT]] = score_NTC[inside_NT]
    return found


def _block(logits_NTC: np.ndarray, chain: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the scores of rows that are padded to one length."""
    import numpy as np

    inner, first_C, last_C = chain[:-1, :-1], chain[-1, :-1], chain[:-1, -1]
    units = logits_NTC.shape[1]
    ahead = np.empty_like(logits_NTC)
    ahead[:, 0] = logits_NTC[:, 0] + first_C
    for unit in range(1, units):
        ahead[:, unit] = logits_NTC[:, unit] + (ahead[:, unit - 1, :, None] + inner).max(axis=1)
    behind = np.empty_like(logits_NTC)
    behind[:, -1] = last_C
    for unit in range(units - 2, -1, -1):
        onward = (inner + (logits_NTC[:, unit + 1] + behind[:, unit + 1])[:, None, :]).max(axis=2)
        behind[:, unit] = np.where((unit < sizes - 1)[:, None], onward, last_C)
    found: np.ndarray = ahead + behind
    return found
