"""Tables as vectors: the input columns of a row as numbers and codes of fixed widths. Prepare, training and serving all call this.

Legend: N rows, F numbers, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Codec

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities._scaling import Block, Scaling


CLEAN = ("double", "float")


@dataclass(frozen=True, eq=False)
class _Run:
    """Number columns that stand side by side, and where their features begin."""

    names: list[str]
    start: int
    block: Block


@dataclass(frozen=True, eq=False)
class Vectors:
    """Fitted input columns together.

    Attributes:
        columns: those that are encoded, in the schema's order.
        info: `numbers` (F), `cardinalities` (K sizes), `names` (F names), `columns` (name -> [n0, n1, c0, c1], its slices of numbers
            and of codes), `edges` (F lists of rising edges of the stored numbers).
    """

    columns: tuple[Column, ...]
    info: dict[str, Any]
    _codecs: dict[str, Codec] = field(default_factory=dict)
    _blocks: tuple[_Run, ...] = ()

    @cached_property
    def scalings(self) -> dict[str, Scaling]:
        """Return the scaling of each number column."""
        return {name: scaling for run in self._blocks for name, scaling in zip(run.names, run.block.scalings, strict=True)}

    def coded(self, name: str, values: pa.Array) -> dict[str, np.ndarray]:
        """Return `numbers` float32 [N, w] and `codes` int32 [N, v], or one of them, of a clean column that is no number."""
        return {part: _matrix(found) for part, found in self._codecs[name].encode(values).items()}

    def encode(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Return clean columns under the schema's names as (numbers float32 [N, F], codes int32 [N, K]), both C-contiguous.

        A row alone gives the same bits as in a table. Numbers are finite. One unscaled vector column is not copied.
        """
        import numpy as np

        if len(self.columns) == 1 and self.columns[0].name in self._codecs:
            return self._only(table)
        numbers = np.empty((len(table), self.info["numbers"]), np.float32)
        codes = np.empty((len(table), len(self.info["cardinalities"])), np.int32)
        for run in self._blocks:
            picked = table.select(run.names)
            for name, kind in zip(run.names, picked.schema.types, strict=True):
                if str(kind) not in CLEAN:
                    raise UserError(f"the column '{name}' is of type {kind}; expected clean numbers (float64)")
            run.block.scale(picked.to_batches(), numbers[:, run.start:run.start + run.block.width])
        for name in self._codecs:
            n0, n1, c0, c1 = self.info["columns"][name]
            found = self.coded(name, _whole(table, name))
            if n1 > n0:
                numbers[:, n0:n1] = found["numbers"]
            if c1 > c0:
                codes[:, c0:c1] = found["codes"]
        return numbers, codes

    def _only(self, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        found = self.coded(self.columns[0].name, _whole(table, self.columns[0].name))
        nothing = {"numbers": np.empty((len(table), 0), np.float32), "codes": np.empty((len(table), 0), np.int32)}
        return found.get("numbers", nothing["numbers"]), found.get("codes", nothing["codes"])


def open_vectors(schema: Schema, folder: Path) -> Vectors:
    """Return the encoder of the schema's input columns whose modality gives vectors.

    Args:
        schema: of prepared data.
        folder: of prepared data or of a model, which holds the columns' fitted files.
    """
    from bessemer.core.pick import make
    from bessemer.modalities import codec_of, column_folder, modality_of
    from bessemer.modalities.number import Number, scaling_of

    columns = tuple(column for column in schema.by_role(Role.INPUT) if modality_of(column).vector)
    codecs, scalings = {}, {}
    for column in columns:
        config = make("modalities", column.modality)
        if isinstance(config, Number):
            own = column_folder(folder, column.name)
            scalings[column.name] = scaling_of(config, column, own if own.is_dir() else folder)
        else:
            codecs[column.name] = codec_of(column, folder)
    infos = [scalings[column.name].info if column.name in scalings else codecs[column.name].info for column in columns]
    info = _joined(columns, infos)
    return Vectors(columns, info, codecs, _runs(info["columns"], scalings))


def _runs(slices: dict[str, list[int]], scalings: dict[str, Scaling]) -> tuple[_Run, ...]:
    """Return runs of neighbouring number columns, each scaled by one call."""
    from bessemer.modalities._scaling import Block

    runs: list[list[str]] = []
    for name in scalings:
        if runs and slices[runs[-1][-1]][1] == slices[name][0]:
            runs[-1].append(name)
        else:
            runs.append([name])
    return tuple(_Run(names, slices[names[0]][0], Block([scalings[name] for name in names])) for names in runs)


def _joined(columns: Sequence[Column], infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"numbers": 0, "cardinalities": [], "names": [], "columns": {}, "edges": []}
    for column, info in zip(columns, infos, strict=True):
        n0, c0 = found["numbers"], len(found["cardinalities"])
        found["numbers"] += info["numbers"]
        found["cardinalities"] += info["cardinalities"]
        found["names"] += info["names"]
        found["edges"] += info["edges"]
        found["columns"][column.name] = [n0, found["numbers"], c0, len(found["cardinalities"])]
    return found


def _whole(table: pa.Table, name: str) -> pa.Array:
    import pyarrow as pa

    column = table.column(name)
    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else whole.combine_chunks()


def _matrix(lists: pa.Array) -> np.ndarray:
    from bessemer.modalities._vectors import matrix

    return matrix(lists)
