"""What every predictor of tables shares: raw rows -> clean columns -> numbers and codes -> answers. No torch here.

Legend: N rows, F numbers, K codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bessemer.core.errors import GuardError
from bessemer.core.heads import joined
from bessemer.core.schema import Schema
from bessemer.core.types import Answer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.modalities.vectors import Vectors
    from bessemer.predictors._cleaner import Cleaner
    from bessemer.predictors._few import CleanRows, Few

MAX_ROWS = 4096


@dataclass(frozen=True)
class TableInput:
    """Rows as a model of tables may read them.

    Attributes:
        clean: the clean input columns under the schema's names; `column` and `len` are what may be asked of them.
        numbers: float32 [N, F].
        codes: int32 [N, K].
    """

    clean: pa.Table | CleanRows
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

    @cached_property
    def cleaner(self) -> Cleaner:
        """Return what turns raw rows into clean columns."""
        from bessemer.predictors._cleaner import Cleaner

        return Cleaner(self.schema)

    @cached_property
    def few(self) -> Few:
        """Return what reads a handful of rows in a fraction of the time."""
        from bessemer.predictors._few import Few

        return Few(self.cleaner, self.vectors)

    def predict(self, rows: pa.Table) -> dict[str, Answer]:
        """Return the answers of raw rows, in their order."""
        if len(rows) <= self.rows_at_once and (few := self.few.read(rows)) is not None:
            return self._answer(TableInput(*few), 0)
        clean = self.cleaner(rows)
        return joined([self._answer(TableInput(part, *self.vectors.encode(part)), start)
                       for start in range(0, max(1, len(clean)), self.rows_at_once)
                       for part in (clean.slice(start, self.rows_at_once),)])

    def _answer(self, rows: TableInput, start: int) -> dict[str, Answer]:
        """Return the answers of rows of which the first is number `start`; those that are no numbers are a GuardError."""
        import numpy as np

        found = self.answer(rows)
        for target, answer in found.items():
            fine = np.isfinite(answer.values)
            if not fine.all():
                raise GuardError(f"the form '{self.form}' gives no finite number for '{target}', first in row "
                                 f"{start + int(fine.all(axis=1).argmin()) + 1}; its weights are damaged: train or export it again")
        return found


def open_predictor(folder: Path, schema: Schema, form: str, answer: Callable[[TableInput], dict[str, Answer]]) -> TablePredictor:
    """Return the predictor of a model's folder, which holds the fitted columns beside the model."""
    from bessemer.modalities.vectors import open_vectors

    return TablePredictor(schema, form, open_vectors(schema, folder), answer)


def clean_columns(rows: pa.Table, schema: Schema) -> pa.Table:
    """Return the clean input columns of raw rows; see Cleaner, which a predictor keeps."""
    from bessemer.predictors._cleaner import Cleaner

    return Cleaner(schema)(rows)
