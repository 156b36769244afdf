"""Crosses as a recipe asks for them: which columns may be crossed, and what the derived columns are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError, nearest
from bessemer.core.keyed import uniform
from bessemer.core.pick import dump_plugin, make
from bessemer.data.clean import INTERNAL
from bessemer.data.crosses import name_of
from bessemer.data.selection import Selection
from bessemer.stages._columns import Work, batches, modality

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 50_000
STREAM = 1_003
Given = tuple[Annotated[tuple[str, ...], Field(min_length=2, max_length=4)], ...]


def kinds_of(inputs: Mapping[str, Config]) -> dict[str, str]:
    """Return for each input column that can be crossed what its clean values are: `number` or `words`."""
    plain = {name: dump_plugin("modalities", config) or {} for name, config in inputs.items()}
    sort = {"number": "number", "category": "words", "boolean": "words"}
    return {name: sort[item["kind"]] for name, item in plain.items() if item["kind"] in sort}


def derived(crosses: Given, inputs: Mapping[str, Config], taken: Collection[str | None]) -> tuple[dict[str, tuple[str, ...]],
                                                                                                   dict[str, Config]]:
    """Return (name -> the columns that it is made of, name -> what it is) of the crosses of a recipe.

    A cross of numbers is scaled as its first column is; a cross of categories is encoded as its first category is.

    Args:
        crosses: columns that are crossed.
        inputs: every input column, patterns replaced.
        taken: names that no cross may have.

    Raises:
        UserError: an unknown column, one that cannot be crossed, columns of two sorts, a column crossed with itself, a name that is taken.
    """
    kinds = kinds_of(inputs)
    made: dict[str, tuple[str, ...]] = {}
    configs: dict[str, Config] = {}
    for of in crosses:
        shown = f"crosses: [{', '.join(of)}]"
        for name in of:
            if name not in inputs:
                raise UserError(f"{shown}: there is no input column '{name}'{nearest(name, list(inputs)[:30])}")
            if name not in kinds:
                raise UserError(f"{shown}: the column '{name}' is of the kind '{(dump_plugin('modalities', inputs[name]) or {})['kind']}', "
                                "which cannot be crossed; expected columns of the kinds number, category or boolean")
        if len(set(of)) < len(of):
            raise UserError(f"{shown}: a column is named twice; expected different columns")
        if len({kinds[name] for name in of}) > 1:
            number, words = (next(name for name in of if kinds[name] == kind) for kind in ("number", "words"))
            raise UserError(f"{shown}: '{number}' is a number and '{words}' is none; a cross is of numbers alone, or of categories and "
                            "booleans alone: leave one out, or give the number the kind category")
        name = name_of(of)
        if name in inputs or name in taken or name in made:
            raise UserError(f"{shown}: there is a column '{name}' already, which is the name of the cross; remove one of the two")
        made[name], configs[name] = of, _config([inputs[base] for base in of], kinds[of[0]])
    return made, configs


def crossed(work: Work, crosses: Given) -> Work:
    """Return what a stage works on with the crosses among its inputs."""
    if not crosses:
        return work
    made, configs = derived(crosses, work.inputs, {*work.targets, work.weight, *INTERNAL})
    return replace(work, inputs={**work.inputs, **configs}, crosses=made)


def searched(work: Work, chosen: Selection) -> tuple[Work, list[dict[str, Any]]]:
    """Return the work with the crosses that help on validation rows, and what each gains; see bessemer.data.crossing.

    At most 50,000 training rows, drawn by their ids, are searched, and as many validation rows.
    """
    from bessemer.data.crossing import search

    kinds = kinds_of(work.inputs)
    target = next((name for name, config in work.targets.items() if modality(config).answer in ("label", "number")), None)
    if target is None:
        raise UserError("crosses: auto judges by a target that is a label or a number, and the recipe has none; give such a target, or "
                        "name the crosses: [[a, b]]")
    if not (chosen.splits == 1).any():
        raise UserError("crosses: auto judges by validation rows, and there are none; give the split a 'validation' part, or name the "
                        "crosses: [[a, b]]")
    tables = [some_rows(work, chosen, split, [*kinds, target]) for split in (0, 1)]
    with work.run.progress("crosses", None, "pairs"):
        found = search(tables[0], tables[1], kinds, target)
    told = [{"columns": list(item.of), "gain": item.gain, "standard_error": item.error} for item in found]
    work.run.note(f"crosses: {_shown(told)}")
    return crossed(work, tuple(item.of for item in found)), told


def _shown(told: list[dict[str, Any]]) -> str:
    each = "; ".join(f"{name_of(item['columns'])} explains {item['gain']:.2%} more of the target's variance on validation rows"
                     for item in told)
    return each or "no pair of columns gains more than chance on validation rows"


def some_rows(work: Work, chosen: Selection, split: int, columns: list[str]) -> pa.Table:
    """Return at most 50,000 rows of a split, the same whatever the order of reading."""
    import numpy as np
    import pyarrow as pa

    ids = chosen.row_ids[chosen.splits == split]
    draw = uniform(work.run.seed, 0, ids, 1, STREAM)[:, 0]
    last = np.sort(draw)[min(len(draw), ROWS) - 1]
    parts = [table.filter(pa.array(uniform(work.run.seed, 0, table["row_id"].to_numpy(), 1, STREAM)[:, 0] <= last))
             for table, _ in batches(work, chosen, split, columns)]
    return pa.concat_tables(parts)


def _config(configs: Sequence[Config], kind: str) -> Config:
    plain: list[dict[str, Any]] = [dump_plugin("modalities", config) or {} for config in configs]
    if kind == "number":
        return make("modalities", {"kind": "number", "scale": plain[0]["scale"], "clip": plain[0]["clip"]})
    first = next((item for item in plain if item["kind"] == "category"), None)
    if first is None:
        return make("modalities", "category")
    return make("modalities", {"kind": "category", **{name: first[name] for name in (
        "max_categories", "min_count", "encoding", "buckets", "smoothing", "folds")}})
