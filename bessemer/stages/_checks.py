"""checks.json: some rows and what each form said of them, by which whoever loads a model later sees whether it still answers so."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

CHECKS = "checks.json"
ROWS = 8


def write_checks(folder: Path, rows: pa.Table) -> None:
    """Write up to 8 of the rows as JSON objects, and every form's answers of them, read as a server would read them.

    The file: `rows`: objects of the input columns; `forms`: form -> target -> values, a list a row (see `Answer.values`).
    """
    import numpy as np

    from bessemer.core.forms import open_form, read_forms

    chosen = rows.take(np.unique(np.linspace(0, rows.num_rows - 1, min(ROWS, rows.num_rows)).astype(np.int64)))
    plain = [{name: _plain(value) for name, value in row.items()} for row in chosen.to_pylist()]
    forms = {}
    for form in read_forms(folder):
        predictor = open_form(folder, form.name)
        answers = predictor.predict(as_served(plain, chosen.column_names))
        forms[form.name] = {target: answer.values.astype(np.float64).tolist() for target, answer in answers.items()}
    text = json.dumps({"rows": plain, "forms": forms}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / CHECKS).write_text(text + "\n", encoding="utf-8")


def as_served(rows: list[dict[str, Any]], columns: list[str]) -> pa.Table:
    """Return JSON objects as the table that a form reads, every column there even where all its values are missing."""
    from bessemer.data.given import table_of

    return table_of(rows, tuple(columns))


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if isinstance(value, float) and value != value:
        return None
    return value if value is None or isinstance(value, (bool, int, float, str, list)) else str(value)
