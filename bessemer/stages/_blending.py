"""The weights of a blend: those on the simplex that lose least on the validation rows.

Legend: N rows, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from bessemer.core.types import Answer

FOLDS = 5
SMALLEST = 1e-3
TINY = 1e-15


def parts(truth: np.ndarray, answers: Sequence[Answer], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a loss is made of, float64 [N', M], and the weight of each, [N'], for what is known of a target.

    label and flags: the probability that each member gives to the truth (of flags N' counts rows times labels); number: each member's
    error.
    """
    import numpy as np

    if answers[0].kind == "number":
        known = np.isfinite(truth)
        return np.stack([answer.values[known, 0] - truth[known] for answer in answers], axis=1), weights[known]
    if answers[0].kind == "label":
        known = truth >= 0
        rows = np.arange(int(known.sum()))
        found = [answer.values[known][rows, truth[known]].astype(np.float64) for answer in answers]
        return np.stack(found, axis=1), weights[known]
    known = truth >= 0
    found = [np.where(truth == 1, answer.values, 1 - answer.values.astype(np.float64))[known] for answer in answers]
    return np.stack(found, axis=1), np.broadcast_to(weights[:, None], truth.shape)[known]


def losses(kind: str, parts_NM: np.ndarray, weights_N: np.ndarray, mix_MK: np.ndarray) -> np.ndarray:
    """Return the mean loss float64 [K] of K mixtures: squared error of numbers, log loss of labels and flags."""
    import numpy as np

    mixed = parts_NM @ mix_MK
    each = mixed**2 if kind == "number" else -np.log(np.maximum(mixed, TINY))
    found: np.ndarray = weights_N @ each / weights_N.sum()
    return found


def solve(kind: str, parts_NM: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
    """Return the mixture [M], not negative, of sum 1, with the least mean loss (a convex problem); small parts are rounded to 0."""
    import numpy as np

    mix = _squares(parts_NM, weights_N) if kind == "number" else _likelihood(parts_NM, weights_N)
    mix = np.where(mix < SMALLEST, 0.0, mix)
    mix /= mix.sum()
    each = losses(kind, parts_NM, weights_N, np.column_stack([mix, np.eye(len(mix))]))
    return mix if each[0] <= each[1:].min() else np.eye(len(mix))[int(each[1:].argmin())]


def _likelihood(parts_NM: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
    """Return the mixture of largest likelihood, by expectation maximisation, which raises it at every step."""
    import numpy as np

    said = np.maximum(parts_NM, TINY)
    mix = np.full(said.shape[1], 1 / said.shape[1])
    share = weights_N / weights_N.sum()
    for _ in range(2000):
        new = mix * ((share / (said @ mix)) @ said)
        new /= new.sum()
        moved = float(np.abs(new - mix).max())
        mix = new
        if moved < 1e-8:
            break
    return mix


def _squares(parts_NM: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
    """Return the mixture of least squared error, by projected gradients on the members' differences to the best one."""
    import numpy as np

    share = weights_N / weights_N.sum()
    best = int((share @ parts_NM**2).argmin())
    apart_NM = parts_NM - parts_NM[:, best:best + 1]
    square = apart_NM.T @ (apart_NM * share[:, None])
    slope = apart_NM.T @ (share * parts_NM[:, best])
    mix = np.eye(len(square))[best]
    largest = float(np.linalg.eigvalsh(square)[-1])
    if largest <= 0:
        return mix
    for _ in range(20_000):
        new = _on_simplex(mix - (square @ mix + slope) / largest)
        moved = float(np.abs(new - mix).max())
        mix = new
        if moved < 1e-12:
            break
    return mix


def _on_simplex(point: np.ndarray) -> np.ndarray:
    """Return the nearest point that is not negative and sums to 1 (Duchi et al. 2008, figure 1)."""
    import numpy as np

    falling = np.sort(point)[::-1]
    over = (np.cumsum(falling) - 1) / np.arange(1, len(point) + 1)
    found: np.ndarray = np.maximum(point - over[np.flatnonzero(falling > over)[-1]], 0)
    return found


def chosen(kind: str, parts_NM: np.ndarray, weights_N: np.ndarray) -> tuple[np.ndarray, dict[str, float | list[float]]]:
    """Return the mixture [M] and what it is judged by; a blend that rows it was not fitted on do not favour gives way to one member.

    The judgement: the rows are cut into five interleaved parts, each scored by the mixture that the other four give.
    """
    import numpy as np

    count = parts_NM.shape[1]
    single = losses(kind, parts_NM, weights_N, np.eye(count))
    fold = np.arange(len(parts_NM)) % FOLDS
    total = 0.0
    for index in range(FOLDS):
        inside = fold == index
        if not weights_N[inside].sum() > 0:
            continue
        others = ~inside if weights_N[~inside].sum() > 0 else inside
        mix = solve(kind, parts_NM[others], weights_N[others])
        total += float(losses(kind, parts_NM[inside], weights_N[inside], mix[:, None])[0] * weights_N[inside].sum())
    crossed = total / float(weights_N.sum())
    mix = solve(kind, parts_NM, weights_N) if crossed < single.min() else np.eye(count)[int(single.argmin())]
    blended = float(losses(kind, parts_NM, weights_N, mix[:, None])[0])
    return mix, {"members": [float(value) for value in single], "blend": blended, "cross_fitted": crossed}
