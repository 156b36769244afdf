"""blend: the weighted mean of finished models, weighted by what helps on the validation rows (Breiman 1996, stacked regressions)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import register
from bessemer.core.run import Cost, RunContext

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.forms import Form
    from bessemer.core.schema import Schema
    from bessemer.core.types import Answer

REHEARSED_ROWS = 64
# What a run keeps beside a model's own files.
NOT_COPIED = ("manifest.json", "timings.json")


class Blend(StageConfig):
    """A blend of models of the same data."""

    needs: ClassVar[tuple[str, ...]] = ("data", "models")

    data: str = "prepare"
    """The prepared data; its validation split decides the weights."""
    models: Annotated[tuple[str, ...], Field(min_length=2)] = ("finetune", "lightgbm")
    """The stages whose models are blended; of each the form that predicts by default."""
    rows: Annotated[int, Field(ge=10)] = 100_000
    """Validation rows that are used at most."""


@register("stages", "blend", revision=2)
def blend(config: Blend, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write the members that have a weight, and a `predictor.json` that blends them."""
    from bessemer.core.forms import Form, read_forms, write_forms
    from bessemer.core.schema import Role

    names = _names(config.models)
    folders = {name: inputs[f"models.{index}"] for index, name in enumerate(names)}
    forms = {name: read_forms(folder)[0] for name, folder in folders.items()}
    schema = _same_schema(folders)
    table, truths, weights = _rows(inputs["data"], schema, min(REHEARSED_ROWS, config.rows) if run.rehearsal else config.rows)
    found = {name: _predicted(folder, table, run) for name, folder in folders.items()}
    mixes, facts = {}, {}
    for target in schema.by_role(Role.TARGET):
        mix, facts[target.name] = _mixed(target.name, truths[target.name], [found[name][target.name] for name in names], weights)
        mixes[target.name] = mix
        facts[target.name]["weights"] = dict(zip(names, mix, strict=True))
    used = [index for index in range(len(names)) if any(mix[index] for mix in mixes.values())]
    for index in used:
        shutil.copytree(folders[names[index]], out / "members" / names[index], ignore=shutil.ignore_patterns(*NOT_COPIED))
    schema.save(out)
    predictor = make("predictors", {"kind": "blend", "members": [f"members/{names[index]}" for index in used],
                                    "forms": [forms[names[index]].name for index in used],
                                    "weights": {target: [mix[index] for index in used] for target, mix in mixes.items()}})
    write_forms(out, (Form(name="blend", predictor=predictor, files=_files(names, used, forms),
                           lossy=any(forms[names[index]].lossy for index in used)),))
    return {"targets": facts, "members": [names[index] for index in used], "rows": len(weights),
            "left_out": [name for index, name in enumerate(names) if index not in used]}


def _names(models: tuple[str, ...]) -> list[str]:
    """Return a name for each member: its stage's, which no two share."""
    names = [Path(reference).name for reference in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"models: '{twice}' is named twice; a blend takes each model once, under a name of its own")
    return names


def _same_schema(folders: Mapping[str, Path]) -> Schema:
    from bessemer.core.schema import Schema

    schemas = {name: Schema.load(folder) for name, folder in folders.items()}
    first = next(iter(schemas))
    for name, schema in schemas.items():
        if schema != schemas[first]:
            raise UserError(f"models: '{first}' and '{name}' were not made from the same prepared data (their columns, labels or "
                            "statistics differ), so they cannot be blended; train both on one prepare stage")
    return schemas[first]


def _rows(data: Path, schema: Schema, limit: int) -> tuple[pa.Table, dict[str, np.ndarray], np.ndarray]:
    """Return up to `limit` evenly spaced validation rows: raw inputs, the truth of each target, weights float64 [N]."""
    import numpy as np

    from bessemer.core.schema import Role, Schema
    from bessemer.data.shards import ShardReader
    from bessemer.models._table_rows import truth_of, weights_of

    own, targets = Schema.load(data), schema.by_role(Role.TARGET)
    if [(column.name, column.labels) for column in own.by_role(Role.TARGET)] != [(column.name, column.labels) for column in targets]:
        raise UserError("data: the models were trained on other targets or labels than these data have; give the data they were "
                        "trained on")
    if not (data / "validation").is_dir():
        raise UserError("data: there is no validation split, by which a blend is weighted; give prepare's split a 'validation' part")
    reader = ShardReader(data / "validation")
    positions = np.unique(np.linspace(0, len(reader) - 1, min(limit, len(reader))).astype(np.int64))
    table = reader.take(positions)
    return (table.select([column.name for column in own.by_role(Role.INPUT)]), {column.name: truth_of(table, column) for column in targets},
            weights_of(table, own))


def _predicted(folder: Path, table: pa.Table, run: RunContext) -> dict[str, Answer]:
    from bessemer.core.forms import open_form
    from bessemer.core.heads import joined

    started = time.perf_counter()
    predictor = open_form(folder)
    parts = []
    with run.progress(f"blend ({predictor.form})", table.num_rows, "rows") as progress:
        for start in range(0, max(1, table.num_rows), 1024):
            run.check()
            part = table.slice(start, 1024)
            parts.append(predictor.predict(part))
            progress.advance(part.num_rows)
    rows = int(run.input_manifests["data"].facts.get("rows", {}).get("validation", table.num_rows)) if run.rehearsal else table.num_rows
    run.cost(Cost(f"blend {predictor.form}", time.perf_counter() - started, table.num_rows, max(rows, table.num_rows)))
    return joined(parts)


def _mixed(target: str, truth: np.ndarray, answers: list[Answer], weights: np.ndarray) -> tuple[list[float], dict[str, Any]]:
    from bessemer.stages._blending import chosen, parts

    pieces, piece_weights = parts(truth, answers, weights)
    if not piece_weights.sum() > 0:
        raise UserError(f"the validation split has no row with a value of '{target}', by which a blend is weighted; give it some")
    mix, judged = chosen(answers[0].kind, pieces, piece_weights)
    return [round(float(value), 12) for value in mix], {"loss": "squared error" if answers[0].kind == "number" else "log loss", **judged}


def _files(names: list[str], used: list[int], forms: Mapping[str, Form]) -> tuple[str, ...]:
    return tuple(f"members/{names[index]}/{file}" for index in used for file in forms[names[index]].files)
