"""The sign that stands between two labels of one row, in a column of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    from bessemer.api import Model
    from bessemer.core.schema import Column

SEPARATORS = ("|", ";", ",", "/", "+", "&", "~", "^")
"""What may stand between the labels of a row: the first that no label holds, unless the target's values have one of their own."""


def separator_of(column: Column) -> str:
    """Return what stands between the labels of a row: the sign of the target's own values, or another where a label holds it."""
    own = str(column.modality.get("separator") or SEPARATORS[0])
    if column.modality["kind"] != "multilabel":
        return own
    signs = tuple(dict.fromkeys((own, *SEPARATORS)))
    free = next((sign for sign in signs if not any(sign in label for label in column.labels)), None)
    if free is None:
        label = next(label for label in column.labels if own in label)
        raise UserError(f"'{column.name}': the label '{label}' holds '{own}', and others hold {' '.join(signs[1:])}, so that nothing is "
                        "left to stand between two labels of a row; rename it in the data and train again, or take Model.predict in "
                        "Python, which gives lists")
    return free


def told(model: Model) -> None:
    """Tell of targets whose labels are joined by another sign than their own values, as a label holds that."""
    from bessemer.app.console import err

    for column in (column for column in model.schema.columns if column.name in model.targets):
        own, taken = str(column.modality.get("separator") or SEPARATORS[0]), separator_of(column)
        if taken != own:
            label = next(label for label in column.labels if own in label)
            err.print(f"labels of '{column.name}' are joined by '{taken}', as the label '{label}' holds '{own}'", markup=False)
