"""Rows of several blocks as one batch, each copied once.

Legend: B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bessemer.core.task_spec import TableRows
from bessemer.data.memory import Memory

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Piece:
    """Some rows of one block.

    Attributes:
        rows: of the block; its row ids are not read.
        places: int64, which of them; none lies outside the block.
        ids: int64, their row ids.
    """

    rows: TableRows
    places: np.ndarray
    ids: np.ndarray


def gathered(pieces: Sequence[Piece], memory: Memory | None = None) -> TableRows:
    """Return the rows of all pieces, in order; neighbouring rows of a single piece are views, and nothing is copied.

    Args:
        pieces: one or more.
        memory: lends that of the rows; None: it is new.
    """
    import numpy as np

    empty = np.empty if memory is None else memory.array

    if len(pieces) == 1:
        places = pieces[0].places
        if len(places) and places[-1] - places[0] + 1 == len(places) and bool((np.diff(places) == 1).all()):
            return _view(pieces[0], slice(int(places[0]), int(places[-1]) + 1))
    ends = np.cumsum([len(piece.places) for piece in pieces])
    spans = [slice(int(end) - len(piece.places), int(end)) for piece, end in zip(pieces, ends, strict=True)]

    def take(parts: list[np.ndarray]) -> np.ndarray:
        found: np.ndarray = empty((int(ends[-1]), *parts[0].shape[1:]), parts[0].dtype)
        for part, piece, span in zip(parts, pieces, spans, strict=True):
            # the places are checked: numpy's own check would copy everything once more
            part.take(piece.places, axis=0, out=found[span], mode="clip")
        return found

    rows = [piece.rows for piece in pieces]
    return TableRows(take([each.numbers for each in rows]), take([each.codes for each in rows]),
                     {name: take([each.targets[name] for each in rows]) for name in rows[0].targets},
                     take([each.weights for each in rows]), np.concatenate([piece.ids for piece in pieces]))


def reordered(rows: TableRows, places: np.ndarray) -> TableRows:
    """Return some rows by their places, int64 [B]."""
    return gathered([Piece(rows, places, rows.row_ids[places])])


def _view(piece: Piece, span: slice) -> TableRows:
    rows = piece.rows
    return TableRows(rows.numbers[span], rows.codes[span], {name: values[span] for name, values in rows.targets.items()},
                     rows.weights[span], piece.ids)
