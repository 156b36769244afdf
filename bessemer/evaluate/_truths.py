"""Labelled rows from outside: which of them can be scored, why the others cannot, and what is known of each target."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError, nearest
from bessemer.core.schema import Column, Role, Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

UNKNOWN = "a label that the model does not know"


def scorable(schema: Schema, folder: Path, table: pa.Table, problems: pa.Array) -> tuple[pa.Table, dict[str, np.ndarray], dict[str, Any]]:
    """Return the rows that can be scored, the truth of each target that they hold as metrics take it, and what was left out.

    Args:
        schema: of the model.
        folder: of the model, with its fitted columns.
        table: rows under the schema's names.
        problems: why a row cannot be predicted, null where it can.

    Raises:
        UserError: no target's column is there, or no row can be scored.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.columns import OneType
    from bessemer.modalities import modality_of

    why, cleans = problems, {}
    targets = [column for column in schema.by_role(Role.TARGET) if column.name in table.column_names]
    if not targets:
        name = schema.by_role(Role.TARGET)[0].name
        raise UserError(f"the data have no column '{name}', which holds what is to be predicted{nearest(name, table.column_names)}")
    for column in targets:
        values, one = table.column(column.name), OneType(column.name, modality_of(column).lists)
        why = pc.coalesce(why, pc.binary_join_element_wise(column.name, one.wrong(values), ": "))
        where = (np.arange(1, table.num_rows + 1), "the data")
        cleans[column.name], strange = one.clean(values, where, partial(_clean, column))
        why = pc.coalesce(why, pc.binary_join_element_wise(column.name, strange, ": "))
    why = _unfit(schema, table, cleans, why)
    missing = [column.name for column in schema.by_role(Role.TARGET) if column not in targets]
    good = why.is_null()
    left_out = {"rows": len(why) - why.null_count, "reasons": dict(Counter(why.drop_null().to_pylist()).most_common()), "first": "",
                "targets": missing}
    if left_out["rows"]:
        row = pc.index(why.is_valid(), True).as_py()
        left_out["first"] = _told(schema, table, row, why[row].as_py())
        if left_out["rows"] == len(why):
            raise UserError(f"none of the {len(why)} rows can be scored; {left_out['first']}")
    truths = {column.name: _encoded(column, pc.filter(cleans[column.name], good), folder) for column in targets}
    return table.filter(pa.chunked_array([good])), truths, left_out


def _unfit(schema: Schema, table: pa.Table, cleans: dict[str, pa.Array], why: pa.Array) -> pa.Array:
    """Return the reasons with those of tags that do not fit their text."""
    import pyarrow.compute as pc

    from bessemer.data.columns import texts
    from bessemer.modalities import modality_of

    for column in schema.by_role(Role.TARGET):
        misfit = modality_of(column).misfit
        if misfit is not None and column.name in cleans:
            text = schema.only(Role.INPUT, "text")
            kind = modality_of(text)
            read = kind.clean(texts(table.column(text.name), lists=kind.lists))[0]
            why = pc.coalesce(why, pc.binary_join_element_wise(column.name, misfit(cleans[column.name], read), ": "))
    return why


def _told(schema: Schema, table: pa.Table, row: int, why: str) -> str:
    """Return one sentence about a row that is left out."""
    for column in schema.by_role(Role.TARGET):
        name, _, reason = why.partition(": ")
        if name == column.name and reason:
            value = table.column(name)[row].as_py()
            if isinstance(value, dict) and set(value) == {"type", "value"}:
                value = json.loads(value["value"]) if value["type"] == "list" else value["value"]
            knows = f"; it knows: {', '.join(column.labels[:30])}" if reason == UNKNOWN else ""
            return f"row {row + 1}: the column '{name}', which is to be predicted, holds {value!r:.60} ({reason}){knows}"
    return f"row {row + 1}: {why}"


def _clean(column: Column, raw: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a target's clean values, and why a row cannot be scored by them; one that is missing is merely not scored."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.modalities import modality_of

    clean, why = modality_of(column).clean(raw)
    nothing = pa.scalar(None, pa.string())
    why = pc.if_else(pc.equal(why, "missing"), nothing, why)
    strange = unknown(column, clean)
    if column.labels and isinstance(clean, pa.StringArray):
        strange = pc.and_(raw.is_valid(), pc.or_(why.is_valid(), strange))
    return clean, pc.if_else(strange, UNKNOWN, why)


def unknown(column: Column, clean: pa.Array) -> pa.Array:
    """Return which clean values hold a label that the model does not know, so that their rows cannot be learnt or scored: bool [N].

    None of tags, of which one that is unknown counts as wrong and the row's others as they are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(column.labels, pa.string())
    if column.labels and isinstance(clean, pa.StringArray):
        return pc.and_(clean.is_valid(), pc.invert(pc.is_in(clean, value_set=known)))
    rare = column.modality.get("min_count", 1) > 1  # labels were left out on purpose, and what is unknown may be one of them
    if not column.labels or not pa.types.is_list(clean.type) or column.modality["kind"] == "tags" or rare:
        return pa.array([False] * len(clean), pa.bool_())
    rows = pc.list_parent_indices(clean).filter(pc.invert(pc.is_in(clean.flatten(), value_set=known)))
    return pc.is_in(pa.array(range(len(clean)), rows.type), value_set=rows)


def _encoded(column: Column, clean: pa.Array, folder: Path) -> np.ndarray:
    """Return the codes, numbers or flags of a target's clean values."""
    import numpy as np

    from bessemer.modalities import codec_of

    encoded = codec_of(column, folder).encode(clean)
    if column.modality["kind"] == "tags":
        from bessemer.data.shards import padded

        return padded(encoded["codes"])
    if "flags" in encoded:
        flags: np.ndarray = encoded["flags"].flatten().to_numpy(zero_copy_only=False).reshape(len(clean), -1)
        return flags
    part = encoded["codes"] if "codes" in encoded else encoded["value"]
    return np.asarray(part.to_numpy(zero_copy_only=False))
