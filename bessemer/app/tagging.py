"""What a file of predictions has beside tags: the text cut into the words that they mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.api import Model
    from bessemer.core.types import Answer


def segmented(model: Model, rows: pa.Table, answers: Mapping[str, Answer]) -> dict[str, pa.Array]:
    """Return `words`, each row's text with a space between two words, where the tags are places of characters in words (B, M, E, S)."""
    import pyarrow as pa

    from bessemer.core.schema import Role
    from bessemer.data.columns import texts
    from bessemer.modalities import modality_of
    from bessemer.modalities._units import units_of

    (target, answer), column = next(iter(answers.items())), model.schema.by_role(Role.TARGET)[0]
    if answer.offsets is None or column.modality.get("unit") != "character" or not set(answer.labels) <= set("BMES"):
        return {}
    text = model.schema.only(Role.INPUT, "text")
    kind = modality_of(text)
    clean = kind.clean(texts(model.table(rows).column(text.name), lists=kind.lists))[0]
    begins = [label in "BS" for label in answer.labels]
    codes, ends = answer.values.argmax(axis=1).tolist(), answer.offsets.tolist()
    rows_of = zip(clean.to_pylist(), ends[:-1], ends[1:], strict=True)
    cut = [zip(units_of(line, "character"), codes[start:stop], strict=True) for line, start, stop in rows_of]
    found = ["".join(f" {sign}" if begins[code] else sign for sign, code in row) for row in cut]
    return {f"{target}_words" if target == "words" else "words": pa.array([line.strip() for line in found], pa.string())}
