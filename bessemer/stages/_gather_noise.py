"""Gather: the labels that look wrong, as the report shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bessemer.report.data import Suspects


def suspected(file: Path) -> Suspects:
    """Return the content of `noise.json`."""
    from bessemer.report.data import Example, Suspects

    found = json.loads(file.read_text(encoding="utf-8"))
    rows = tuple(Example(text=", ".join(value or "" for value in item["row"].values()), row={
        name: value or "" for name, value in item["row"].items()}, predicted=item["likely"], confidence=item["confidence"],
        truth=item["label"], right=False) for item in found["shown"])
    note = (f"Each of the {found['rows']:,} training and validation rows was judged by {found['model']}, fitted on the other "
            f"{found['folds'] - 1} of {found['folds']} parts. Look at them before you change one: a weak judge takes hard rows for wrong "
            "ones.")
    return Suspects(sentence=found["sentence"], note=note, total=found["suspects"], rows=rows)
