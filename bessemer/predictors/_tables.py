"""What every predictor of tables shares: raw rows -> clean columns -> numbers and codes -> answers. No torch here.

Legend: N rows, F numbers, K codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.heads import joined
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import Answer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import Vectors

MAX_ROWS = 4096


@dataclass(frozen=True)
class TableInput:
    """Rows as a model of tables may read them.

    Attributes:
        clean: the clean input columns under the schema's names.
        numbers: float32 [N, F].
        codes: int32 [N, K].
    """

    clean: pa.Table
    numbers: np.ndarray
    codes: np.ndarray


@dataclass(eq=False)
class TablePredictor:
    """A model of tables, whatever runs it.

    Attributes:
        schema: of the data that it was trained on.
        form: name of the form.
        vectors: encodes clean columns.
        answer: (rows) -> target -> Answer.
        rows_at_once: rows a call at most; it bounds memory and changes no answer.
    """

    schema: Schema
    form: str
    vectors: Vectors
    answer: Callable[[TableInput], dict[str, Answer]]
    rows_at_once: int = MAX_ROWS

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        import numpy as np

        clean = clean_columns(rows, self.schema)
        parts = []
        for start in range(0, max(1, len(clean)), self.rows_at_once):
            part = clean.slice(start, self.rows_at_once)
            numbers, codes = self.vectors.encode(part)
            found = self.answer(TableInput(part, numbers, codes))
            for target, answer in found.items():
                broken = np.flatnonzero(~np.isfinite(answer.values).all(axis=1))
                if len(broken):
                    raise GuardError(f"the form '{self.form}' gives no finite number for '{target}', first in row "
                                     f"{start + broken[0] + 1}; its weights are damaged: train or export it again")
            parts.append(found)
        return joined(parts)


def open_predictor(folder: Path, schema: Schema, form: str, answer: Callable[[TableInput], dict[str, Answer]]) -> TablePredictor:
    """Return the predictor of a model's folder, which holds the fitted columns beside the model."""
    from bessemer.modalities.vectors import open_vectors

    return TablePredictor(schema, form, open_vectors(schema, folder), answer)


def clean_columns(rows: pa.Table, schema: Schema) -> pa.Table:
    """Return the input columns under the schema's names, cleaned by their own modalities, and then those that are derived from them.

    A missing column and a value that training would have set aside are UserErrors; columns that the model does not read are left
    out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.crosses import crosses_of, with_crosses
    from bessemer.modalities import modality_of

    found = {}
    for column in schema.by_role(Role.INPUT):
        if column.of:
            continue
        clean, why = modality_of(column).clean(column_of(rows, column))
        first = pc.index(why.is_valid(), True).as_py()
        if first >= 0:
            raise UserError(f"row {first + 1}: the column '{column.name}' holds a value that the model cannot read: {why[first].as_py()}; "
                            "correct it or leave this row out")
        found[column.name] = clean
    return pa.table(with_crosses(found, crosses_of(schema)))


def column_of(rows: pa.Table, column: Column) -> pa.Array:
    """Return one input column of raw rows."""
    from bessemer.data.columns import texts

    name = column.named_in(rows.column_names)
    if name is None:
        raise UserError(f"the rows have no column '{column.name}', which the model reads{nearest(column.name, rows.column_names)}")
    if rows.column_names.count(name) > 1:
        raise UserError(f"the rows have {rows.column_names.count(name)} columns named '{name}'; the model reads one: rename or remove the "
                        "others")
    return texts(rows.column(name))
