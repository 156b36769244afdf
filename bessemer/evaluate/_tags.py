"""Spans of tags: where each begins and ends, counted row by row.

A tag is `O`, or B, I (M), E or S with or without a type (`B-PER`). Spans are those of CoNLL-2000's `conlleval` and of seqeval's
default mode, which read BIO, BIOES and BMES alike (BMES: M is an inner tag like I); of segmentation they are the words.

Legend: N rows, T units of the longest row, R weightings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bessemer.core.types import Metric
from bessemer.evaluate._counts import Ratio
from bessemer.evaluate._rows import grow, join, shaped, weightings

if TYPE_CHECKING:
    import numpy as np

_TAG = re.compile(r"([BIMES])(?:-(.+))?")
_OUT, _BEGIN, _INNER, _END, _SINGLE = range(5)
_PLACES = {"B": _BEGIN, "I": _INNER, "M": _INNER, "E": _END, "S": _SINGLE}


def has_spans(labels: Sequence[str]) -> bool:
    """Tell whether tags mark spans, by their names.

    >>> has_spans(["B", "E", "M", "S"]), has_spans(["B-PER", "I-PER", "O"]), has_spans(["NN", "VB"])
    (True, True, False)
    """
    return any(label[0] in "BS" for label in labels) and all(label == "O" or _TAG.fullmatch(label) for label in labels)


def tagged(truth: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the rows without tags; int [n, T] each, -1 beyond a row's end, -2 a tag that no training row had.

    Raises:
        ValueError: the shapes do not belong together.
    """
    import numpy as np

    truth, guess = np.asarray(truth), np.asarray(guess)
    if truth.ndim != 2 or truth.shape != guess.shape:
        raise ValueError(f"expected truth [n, T] and tags [n, T], not {truth.shape} and {guess.shape}")
    keep = (truth != -1).any(axis=1)
    return truth[keep], guess[keep]


def spans(codes_NT: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first unit, last unit and type of every span, int64 [spans], in order."""
    import numpy as np

    parts = [_TAG.fullmatch(label) for label in labels]
    types = sorted({part.group(2) or "" for part in parts if part})
    place_of = np.array([*(_PLACES[part.group(1)] if part else _OUT for part in parts), _OUT])
    type_of = np.array([*(types.index(part.group(2) or "") if part else -1 for part in parts), -1])
    known_NT = np.where(codes_NT >= 0, codes_NT, len(labels))
    edge = np.full((len(codes_NT), 1), len(labels))
    now, before = np.concatenate([known_NT, edge], axis=1), np.concatenate([edge, known_NT], axis=1)
    tag, prev, kind, prev_kind = place_of[now], place_of[before], type_of[now], type_of[before]
    other = kind != prev_kind
    after_last = (prev == _END) | (prev == _SINGLE)
    ends = (prev != _OUT) & (after_last | (tag == _BEGIN) | (tag == _SINGLE) | (tag == _OUT) | other)
    begins = (tag != _OUT) & ((tag == _BEGIN) | (tag == _SINGLE) | (prev == _OUT) | after_last | other)
    row, first = np.nonzero(begins)
    _, beyond = np.nonzero(ends)
    return row, first, beyond - 1, kind[row, first]


def span_counts(truth_NT: np.ndarray, guess_NT: np.ndarray, labels: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Return each row's spans that are said rightly, those that are said, and those that are there, float64 [N]."""
    import numpy as np

    size, width = len(truth_NT), max(1, truth_NT.shape[1])
    keys, totals = [], []
    for codes in (truth_NT, guess_NT):
        row, first, last, kind = spans(codes, labels)
        keys.append(((kind + 1) * size + row) * width * width + first * width + last)
        totals.append(np.bincount(row, minlength=size).astype(np.float64))
    same = np.intersect1d(keys[0], keys[1], assume_unique=True)
    hits = np.bincount(same // (width * width) % size, minlength=size).astype(np.float64) if len(same) else np.zeros(size)
    return hits, totals[1], totals[0]


def span_metric(ratio: Ratio, labels: Sequence[str]) -> Metric:
    """Build the metric of one ratio of counts of spans, over all types together; nan without rows."""

    def update(state: Any, truth: np.ndarray, guess: np.ndarray) -> Any:
        return grow(state, span_counts(*tagged(truth, guess), labels))

    def finalise(state: Any, weights: np.ndarray | None = None) -> Any:
        import numpy as np

        table = weightings(weights, len(state[0]))
        found = ratio(*(table @ part for part in state))
        return shaped(np.where(table.sum(axis=1) > 0, found, math.nan), weights)

    return Metric(update=update, merge=join, finalise=finalise, kind="tags", share=True)
