"""Raw rows -> clean input columns, as often as a predictor is asked: what a column needs is made once, and numbers are checked together.

Legend: N rows, C columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.errors import UserError, nearest
from bessemer.core.schema import Role, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from bessemer.modalities.number import Number

TOGETHER = 4096
"""Rows at most whose numbers are checked together; of more, a column at a time costs no more."""


class Cleaner:
    """Cleans the raw rows of one schema; see `__call__`."""

    def __init__(self, schema: Schema) -> None:
        from bessemer.core.registry import plugin_of
        from bessemer.data.crosses import crosses_of
        from bessemer.modalities import config_of
        from bessemer.modalities.number import Number

        self.columns = [column for column in schema.by_role(Role.INPUT) if not column.of]
        configs = {column.name: config_of(column) for column in self.columns}
        made = {name: plugin_of("modalities", config).function(config) for name, config in configs.items()}
        self.cleans = {name: kind.clean for name, kind in made.items()}
        self.lists = {name: kind.lists for name, kind in made.items()}
        self.limits = {name: _limits(config) for name, config in configs.items() if isinstance(config, Number)}
        self.crosses = crosses_of(schema)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the input columns under the schema's names, cleaned by their own modalities, then those that are derived from them.

        A missing column and a value that training would have set aside are UserErrors; columns that the model does not read are left
        out.
        """
        import pyarrow as pa

        from bessemer.data.crosses import with_crosses

        raw = self.raw(rows)
        found = plain_numbers(raw, self.limits) if len(rows) <= TOGETHER else {}
        for column in self.columns:
            if column.name not in found:
                found[column.name] = self.column(column.name, raw[column.name])
        return pa.table(with_crosses({column.name: found[column.name] for column in self.columns}, self.crosses))

    def column(self, name: str, raw: pa.Array) -> pa.Array:
        """Return one input column, cleaned by its own modality; a value that training would have set aside is a UserError."""
        import pyarrow.compute as pc

        try:
            clean, why = self.cleans[name](raw)
        except UserError as error:  # a modality knows its values, not their column's name
            raise UserError(f"column '{name}': {error}") from None
        if why.null_count < len(why):
            first = pc.index(why.is_valid(), True).as_py()
            raise UserError(f"row {first + 1}: the column '{name}' holds a value that the model cannot read: {why[first].as_py()}; correct "
                            "it or leave this row out")
        return clean

    def raw(self, rows: pa.Table) -> dict[str, pa.Array]:
        """Return the input columns of raw rows under the schema's names."""
        return {name: self.opened(name, rows.column(place)) for name, place in self.places(rows.column_names).items()}

    def opened(self, name: str, column: pa.ChunkedArray) -> pa.Array:
        """Return one raw input column as one array of its values."""
        from bessemer.data.columns import texts

        return texts(column, lists=self.lists[name])

    def places(self, names: Sequence[str]) -> dict[str, int]:
        """Return where each input column stands among those of raw rows; one that is missing or there twice is a UserError."""
        places: dict[str, int] = {}
        twice: dict[str, int] = {}
        for place, name in enumerate(names):
            if name in places:
                twice[name] = twice.get(name, 1) + 1
            places.setdefault(name, place)
        found = {}
        for column in self.columns:
            own = column.named_in(places)
            if own is None:
                raise UserError(f"the rows have no column '{column.name}', which the model reads{nearest(column.name, names)}")
            if own in twice:
                raise UserError(f"the rows have {twice[own]} columns named '{own}'; the model reads one: rename or remove the others")
            found[column.name] = places[own]
        return found


def _limits(config: Number) -> tuple[float, float, bool]:
    """Return the smallest and the largest number that a column takes, and whether it takes missing values."""
    from bessemer.modalities.number import LARGEST

    return (-LARGEST if config.low is None else max(config.low, -LARGEST), LARGEST if config.high is None else min(config.high, LARGEST),
            config.missing != "reject")


def plain_numbers(raw: Mapping[str, pa.Array], limits: Mapping[str, tuple[float, float, bool]]) -> dict[str, pa.Array]:
    """Return those number columns in which nothing is amiss, float64, as the modality `number` would clean them.

    All are looked at by one comparison: of thousands of columns a few rows would else cost a dozen calls a column.
    """
    import numpy as np
    import pyarrow as pa

    wide, single = pa.float64(), pa.float32()
    found = {}
    for name in limits:
        kind = raw[name].type
        if kind in (wide, single):
            found[name] = raw[name] if kind == wide else raw[name].cast(wide)
    if not found:
        return {}
    low_C, high_C, holes_allowed_C = np.array([limits[name] for name in found]).T
    holes_C = np.array([array.null_count for array in found.values()])
    batch = pa.RecordBatch.from_arrays(list(found.values()), [str(place) for place in range(len(found))])
    x_NC = batch.to_tensor(null_to_nan=True, row_major=False).to_numpy()
    absent_NC = np.isnan(x_NC)
    fine_C = ((x_NC >= low_C) & (x_NC <= high_C) | absent_NC).all(axis=0)
    fine_C &= absent_NC.sum(axis=0) == holes_C  # not a number is missing, which is for the modality to say
    fine_C &= (holes_C == 0) | (holes_allowed_C > 0)
    return {name: array for (name, array), fine in zip(found.items(), fine_C.tolist(), strict=True) if fine}
