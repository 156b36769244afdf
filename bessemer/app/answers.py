"""What the commands about finished models, the catalogue and recipes do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.recipe import Recipe, load_recipe, make_recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.api import Model

WRITERS = (".csv", ".jsonl", ".parquet")


def show_predictions(run: Path, texts: list[str], form: str | None) -> None:
    """Print the label of each text with its probability."""
    from bessemer.api import Model
    from bessemer.app.console import out, table

    model = Model.load(run, form)
    probabilities = model.predict_proba(texts)
    rows = [(text if len(text) <= 60 else f"{text[:57]}…", model.labels[row.argmax()], f"{row.max():.4f}")
            for text, row in zip(texts, probabilities, strict=True)]
    table(f"{model.folder} ({model.form})", ("text", "label", "probability"), rows)
    out.print(f"next: bessemer predict {run} --file FILE --output predictions.csv", markup=False)


def predict_file(run: Path, file: Path, output: Path | None, form: str | None) -> None:
    """Predict every row of a file: columns row, label, probability, problem (why a row has no label); none is left out."""
    from bessemer.api import Model
    from bessemer.app.console import Bars, err

    if output is not None and output.suffix not in WRITERS:
        raise UserError(f"'{output}': predictions are written as {', '.join(WRITERS)}; choose one of these endings")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder '{output.parent}' to write '{output.name}' into; make it (mkdir -p '{output.parent}')")
    if output is not None and output.exists() and file.exists() and output.samefile(file):
        raise UserError(f"'{output}' is the file to predict; predictions would take the place of its rows: give another name")
    model = Model.load(run, form)
    with Bars() as bars:
        found = _collect(model, file, bars)
    _write(found, output)
    problems = found.num_rows - found.column("label").drop_null().length()
    err.print(f"{found.num_rows:,} rows of {file}, {problems:,} without a prediction (see the column 'problem')"
              + (f" → {output}" if output else ""), markup=False)
    err.print(f"next: bessemer evaluate {run} --data FILE, for a file with labels", markup=False)


def _collect(model: Model, file: Path, listener: Any) -> pa.Table:
    import pyarrow as pa

    from bessemer.core.events import Events
    from bessemer.core.registry import plugin_of
    from bessemer.data.inspect import infer_source

    config = infer_source(file)
    source = plugin_of("data/sources", config).function(config)
    parts = []
    with Events([listener]).progress("predict", None, "rows") as progress:
        for chunk in source.read():
            parts.append(_predict_chunk(model, chunk))
            progress.advance(chunk.table.num_rows)
    if not parts:
        raise UserError(f"'{file}' has no rows; give a file with at least one")
    return pa.concat_tables(parts).sort_by("row")


def _predict_chunk(model: Model, chunk: Any) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    count = chunk.table.num_rows
    problems = model.problems(chunk.table)
    good = np.flatnonzero(~np.array(problems.is_valid()))
    probabilities = model.predict_proba(chunk.table.take(good)) if len(good) else np.zeros((0, len(model.labels)), np.float32)
    code, best = np.zeros(count, np.int64), np.zeros(count, np.float32)
    if len(good):
        code[good], best[good] = probabilities.argmax(axis=1), probabilities.max(axis=1)
    bad = np.array(problems.is_valid())
    labels = pa.array(np.array(model.labels, dtype=object)[code], pa.string(), mask=bad)
    table = pa.table({"row": pa.array(chunk.numbers, pa.int64()), "label": labels, "probability": pa.array(best, pa.float32(), mask=bad),
                      "problem": problems})
    if chunk.rejected is not None and chunk.rejected.num_rows:
        lost = chunk.rejected.num_rows
        table = pa.concat_tables([table, pa.table({
            "row": chunk.rejected.column("row").cast(pa.int64()), "label": pa.nulls(lost, pa.string()),
            "probability": pa.nulls(lost, pa.float32()), "problem": chunk.rejected.column("reason").cast(pa.string())})])
    return table


def _write(found: pa.Table, output: Path | None) -> None:
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet

    if output is None:
        csv.write_csv(found, sys.stdout.buffer)
        sys.stdout.flush()
        return
    part = output.with_name(f".{output.name}.part")
    try:
        if output.suffix == ".csv":
            csv.write_csv(found, part)
        elif output.suffix == ".parquet":
            parquet.write_table(found, part)
        else:
            import duckdb

            place = str(part).replace("'", "''")
            duckdb.from_arrow(found).query("found", f"COPY (SELECT * FROM found) TO '{place}' (FORMAT json)")
        part.rename(output)
    finally:
        part.unlink(missing_ok=True)


def show_evaluation(run: Path, data: Path, form: str | None) -> None:
    """Print every metric of a model on a labelled file."""
    from bessemer.api import Model, read_file
    from bessemer.app import console

    model = Model.load(run, form)
    table = read_file(data, lambda message: console.err.print(message, markup=False))
    found = model.evaluate(table)
    rows = [(name, console.score(entry)) for name, entry in found["metrics"].items()]
    console.table(f"{data}: {found['rows']:,} rows, {model.form} of {model.folder}", ("metric", "value [95% interval]"), rows)
    console.table("by label", ("label", "precision", "recall", "F1", "rows"), [
        (item["label"], f"{item['precision']:.4f}", f"{item['recall']:.4f}", f"{item['f1']:.4f}", f"{item['support']:,}")
        for item in found["per_class"]])
    if found["unlabelled"]:
        console.err.print(f"{found['unlabelled']} rows have no label and are not scored", markup=False)
    console.out.print(f'next: bessemer predict {run} --file FILE', markup=False)


def with_stages(root: Path, kinds: tuple[str, ...]) -> tuple[Recipe, str]:
    """Return a run's recipe with stages of these kinds, added where it has none, and the name of the last."""
    from bessemer.core import registry

    file = root / "recipe.yaml"
    if not file.is_file():
        raise UserError(f"'{root}' has no recipe.yaml, so it is no run's folder; give one such as runs/NAME")
    recipe = load_recipe(file)
    last = ""
    for kind in kinds:
        names = [name for name, stage in recipe.stages.items() if registry.plugin_of("stages", stage).name == kind]
        if not names:
            plain = recipe.plain()
            plain["stages"][kind] = {"kind": kind, **({"stages": list(recipe.stages)} if kind == "report" else {})}
            recipe = make_recipe(plain, str(file))
            names = [kind]
        last = names[-1]
    return recipe, last


def list_datasets() -> None:
    """Print the catalogue."""
    from bessemer.app.console import out, table

    rows = [(name, item.kind, f"{item.resource.registry} {item.resource.package} {item.resource.version}", item.licence, item.about)
            for name, item in _catalogue()]
    table("catalogue", ("name", "kind", "from", "licence", "content"), rows)
    out.print("next: bessemer datasets get NAME; in a recipe: sources: [{kind: catalogue, name: NAME}]", markup=False)


def _catalogue() -> Iterator[tuple[str, Any]]:
    from bessemer.core import registry

    for name, item in sorted(registry.plugins("datasets").items()):
        yield name, item.function(item.config())


def get_dataset(name: str) -> None:
    """Fetch one entry of the catalogue and say where it lies."""
    from bessemer.app.console import Bars, out
    from bessemer.core.events import Events
    from bessemer.core.fetch import fetch
    from bessemer.core.registry import plugin

    chosen = plugin("datasets", name)
    item = chosen.function(chosen.config())
    out.print(f"{name}: {item.about}\nlicence: {item.licence}\nreference: {item.reference}", markup=False)
    with Bars() as bars, Events([bars]).progress(f"fetch {name}", None, "bytes") as progress:
        folder = fetch(item.resource, progress=lambda done, total: progress.advance(done - progress.done))
    out.print(f"{folder / item.folder}\nnext: write it into a recipe: "
              + (f"{{kind: catalogue, name: {name}}}" if item.kind == "rows" else f"{{kind: pretrained, name: {name}}}"), markup=False)


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe: every stage kind under any stage name."""
    from bessemer.core.pick import plugin_schemas

    schema = Recipe.model_json_schema()
    kinds = plugin_schemas("stages")
    for kind in kinds:
        kind["required"] = [name for name in kind["required"] if name != "kind"]
    named = {str(kind["title"]): kind for kind in kinds}
    schema["properties"]["stages"] = {"type": "object", "properties": named, "additionalProperties": {"anyOf": kinds}, "minProperties": 1}
    schema["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
