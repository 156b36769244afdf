"""Target codes of category columns, fitted on the training rows with their targets, and cross-fitted where those rows are written.

A column is fitted by its modality on its own values; what it needs of the targets is added here. Legend: N rows, W numbers that the
targets are, K folds, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Codec
from bessemer.modalities import codec_of, column_folder, modality_of
from bessemer.modalities.category import Category, coded, words_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import Vectors

FOLDER = "target-codes"


def targeted(inputs: Mapping[str, Config]) -> dict[str, Category]:
    """Return the input columns that are encoded by the targets."""
    return {name: item for name, item in inputs.items() if isinstance(item, Category) and item.encoding == "target"}


@dataclass(frozen=True)
class _Target:
    """A target as numbers whose means are taken: names [W]."""

    column: Column
    codec: Codec
    kind: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return what its numbers are: of two labels one says all."""
        name, labels = self.column.name, self.column.labels
        if self.kind == "number":
            return (f"mean of {name}",)
        shown = labels[1:] if self.kind == "label" and len(labels) == 2 else labels
        return tuple(f"share of {name} = {label}" for label in shown)

    def values(self, raw: pa.Array) -> np.ndarray:
        """Return float64 [N, W], nan where the target is missing."""
        import numpy as np

        from bessemer.modalities._vectors import matrix

        found = self.codec.encode(raw)
        if self.kind == "number":
            return found["scaled"].to_numpy(zero_copy_only=False).astype(np.float64)[:, None]
        if self.kind == "flags":
            flags_NW = matrix(found["flags"]).astype(np.float64)
            return np.where(flags_NW < 0, np.nan, flags_NW)
        codes_N = found["codes"].to_numpy(zero_copy_only=False)
        first = 1 if len(self.column.labels) == 2 else 0
        flags_NW = (codes_N[:, None] == np.arange(first, len(self.column.labels))).astype(np.float64)
        flags_NW[codes_N < 0] = np.nan
        return flags_NW


def targets_of(columns: Sequence[Column], out: Path) -> list[_Target]:
    """Return the targets of fitted columns; none is a UserError."""
    found = [_Target(column, codec_of(column, out), modality_of(column).answer) for column in columns if column.role == Role.TARGET]
    if not found:
        raise UserError("'encoding: target' encodes a column by the targets, and the recipe has none; name some under 'targets', or use "
                        "another encoding")
    return found


class Fitting:
    """Takes training rows of one column and the targets, and gives the fitted column and its files."""

    def __init__(self, column: Column, config: Category, targets: list[_Target], seed: int) -> None:
        from bessemer.modalities._target_codes import Sums

        self.column, self.config, self.targets, self.seed = column, config, targets, seed
        self.plain = coded(column, words_of)
        self.names = tuple(name for target in targets for name in target.names)
        try:
            self.sums = Sums(config.folds, self.plain.info["cardinalities"][0], len(self.names))
        except UserError as error:
            raise UserError(f"column '{column.name}': {error}") from None

    def add(self, table: pa.Table, target_NW: np.ndarray) -> None:
        """Take clean rows: their ids, the column, and the targets as numbers."""
        from bessemer.modalities._target_codes import fold_of
        from bessemer.modalities._vectors import matrix

        group_N = matrix(self.plain.encode(table[self.column.name].combine_chunks())["codes"])[:, 0]
        self.sums.add(fold_of(table["row_id"].to_numpy(), self.config.folds, self.seed), group_N, target_NW)

    def end(self, out: Path, scratch: Path) -> Column:
        """Write the codes of all training rows to the artifact, those of each fold aside, and return the column with its edges."""
        import numpy as np

        from bessemer.modalities._summary import edges_of
        from bessemer.modalities._target_codes import fitted, spread_out

        codes, crossed_KGW = fitted(self.sums, self.config.smoothing, self.names)
        codes.save(column_folder(out, self.column.name))
        held = column_folder(scratch / FOLDER, self.column.name)
        held.mkdir(parents=True, exist_ok=True)
        np.save(held / "codes.npy", crossed_KGW)
        edges = [edges_of(values) for values in spread_out(crossed_KGW, self.sums.count_KGW)]
        return self.column.model_copy(update={"facts": {**self.column.facts, "edges": edges}})


@dataclass(frozen=True)
class CrossFitted:
    """The training rows' own codes: column -> (its slice of the numbers, plain codes, float32 [K, G, W])."""

    parts: Mapping[str, tuple[slice, Codec, np.ndarray]]
    seed: int

    @staticmethod
    def open(schema: Schema, vectors: Vectors, scratch: Path, seed: int) -> CrossFitted:
        """Open what `Fitting.end` wrote aside."""
        import numpy as np

        found = {}
        for column in schema.by_role(Role.INPUT):
            file = column_folder(scratch / FOLDER, column.name) / "codes.npy"
            if file.is_file():
                n0, n1, _, _ = vectors.info["columns"][column.name]
                found[column.name] = slice(n0, n1), coded(column, words_of), np.load(file, allow_pickle=False)
        return CrossFitted(found, seed)

    def replaced(self, stored: pa.Table, table: pa.Table, training: np.ndarray, name: str) -> pa.Table:
        """Return stored rows with the training rows' own codes among the numbers.

        Args:
            stored: rows to write.
            table: the same rows, clean.
            training: which of them are training rows, bool [N].
            name: the column of numbers.
        """
        from bessemer.modalities._target_codes import fold_of
        from bessemer.modalities._vectors import fixed, matrix

        if not self.parts or not training.any():
            return stored
        numbers = matrix(stored[name]).copy()
        ids = table["row_id"].to_numpy()[training]
        for column, (place, plain, codes_KGW) in self.parts.items():
            group_N = matrix(plain.encode(table[column].combine_chunks())["codes"])[:, 0]
            numbers[training, place] = codes_KGW[fold_of(ids, len(codes_KGW), self.seed), group_N[training]]
        return stored.set_column(stored.column_names.index(name), name, fixed(numbers))


def refuse_in_streams(inputs: Mapping[str, Any]) -> None:
    """Raise where a stream's column is encoded by the targets."""
    for name in targeted(inputs):
        raise ValueError(f"the column '{name}' has 'encoding: target', whose codes need every training row with its target before the "
                         "first is learnt from, and a stream holds none; use 'codes' or 'hash', or the stage prepare")
