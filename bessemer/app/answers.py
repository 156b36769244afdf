"""What the commands about finished models do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.api import Model
    from bessemer.core.answering import Choice
    from bessemer.core.config import Config
    from bessemer.core.types import Answer

REASONS = 5
WRITERS = (".csv", ".jsonl", ".parquet")
Columns = Callable[[Mapping[str, "Answer"]], dict[str, "pa.Array"]]


def chosen(run: Path) -> Choice:
    """Choose the stage of a run that answers; tell which it is, where there were several, and which folders are ignored."""
    from bessemer.app.console import err
    from bessemer.core.answering import choose

    choice = choose(run)
    for line in choice.said():
        err.print(line, markup=False)
    return choice


def show_predictions(run: Path, given: list[str], form: str | None, coverage: float | None = None) -> None:
    """Print what the model says about each text, or about each row written as a JSON object of the input columns."""
    from bessemer.api import Model
    from bessemer.app.console import out, table
    from bessemer.app.joined import told

    choice = chosen(run)
    model = Model.load(choice.folder, form)
    rows, named = _given(model, given)
    why = model.problems(rows)
    wrong = why.is_valid().index(True).as_py()
    if named and wrong >= 0:
        said = why[wrong].as_py()
        where = f"column '{model.inputs[0]}': " if len(model.inputs) == 1 and not said.startswith("the column") else ""
        raise UserError(f"row {wrong + 1} cannot be predicted: {where}{said}; correct it")
    told(model)
    found = answer_columns(model, model.answers(rows), False, _sure(run, choice, model, coverage))
    cells = [[_shown(value) for value in column.to_pylist()] for column in found.values()]
    shown = [text if len(text) <= 60 else f"{text[:57]}…" for text in given]
    table(f"{model.folder} ({model.form})", ("row" if named else "text", *found), list(zip(shown, *cells, strict=True)))
    out.print(f"next: bessemer predict {run} --file FILE --output predictions.csv", markup=False)


def _shown(value: Any) -> str:
    if value is None:
        return "(not sure)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _given(model: Model, given: list[str]) -> tuple[pa.Table, bool]:
    """Return the rows that arguments hold, and whether some are JSON objects of the model's columns.

    Where the model reads one text, what is no such object is a text, which is said of other objects: a name in them may be misspelt.
    """
    from bessemer.app.console import err
    from bessemer.data.given import table_of

    rows = [_row(text) for text in given]
    if reads_text(model):
        column = next(column for column in model.schema.columns if column.name == model.inputs[0])
        held = [None if row is None else column.named_in(row) for row in rows]
        odd = next((place for place, row in enumerate(rows) if row is not None and held[place] is None), None)
        if odd is not None:
            err.print(f"text {odd + 1} is a JSON object without the column '{column.name}', and is read as a text as it stands",
                      markup=False)
        if not any(held):
            return table_of(given, model.inputs), False
        rows = [{column.name: text if row is None or name is None else row[name]}
                for row, name, text in zip(rows, held, given, strict=True)]
    bad = next((text for text, row in zip(given, rows, strict=True) if row is None), None)
    if bad is not None:
        names = ", ".join(f'"{name}": …' for name in model.inputs[:3]) + (", …" if len(model.inputs) > 3 else "")
        raise UserError(f"'{bad:.60}' is no JSON object; the model reads the columns of a table: write a row as '{{{names}}}', or give "
                        "--file FILE")
    return table_of(rows, model.inputs, {column.name: column.aliases for column in model.schema.columns}), True


def _row(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or None."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def reads_text(model: Model) -> bool:
    """Tell whether a model reads one column of text."""
    from bessemer.core.schema import Role

    return [column.modality["kind"] for column in model.schema.by_role(Role.INPUT)] == ["text"]


def example(root: Path) -> str:
    """Return a first command that asks the model of a run."""
    from bessemer.api import model_folder
    from bessemer.core.schema import Role, Schema

    inputs = Schema.load(model_folder(root)).by_role(Role.INPUT)
    text = [column.modality["kind"] for column in inputs] == ["text"]
    return f"bessemer predict {root} " + ('"a text of yours"' if text else "--file FILE --output predictions.csv")


def predict_file(run: Path, file: Path, output: Path | None, form: str | None, coverage: float | None = None,
                 encoding: str | None = None) -> None:
    """Predict every row of a file: columns row, what is said of each target, problem (why a row has no answer); none is left out.

    With a `coverage` a label is given only where it is sure, see `app/abstention.py`; `encoding`: see `data/named_file.py`.
    """
    from bessemer.api import Model
    from bessemer.app.console import Bars, err
    from bessemer.app.joined import told
    from bessemer.data.named_file import named_source

    if output is not None and output.suffix not in WRITERS:
        raise UserError(f"'{output}': predictions are written as {', '.join(WRITERS)}; choose one of these endings")
    if output is not None and not output.parent.is_dir():
        raise UserError(f"there is no folder '{output.parent}' to write '{output.name}' into; make it (mkdir -p '{output.parent}')")
    if output is not None and output.exists() and file.exists() and output.samefile(file):
        raise UserError(f"'{output}' is the file to predict; predictions would take the place of its rows: give another name")
    choice = chosen(run)
    model = Model.load(choice.folder, form)
    sure = _sure(run, choice, model, coverage)
    told(model)
    config, said = named_source(file, encoding, model.folder)
    if said:
        err.print(said, markup=False)
    with Bars() as bars:
        nested = output is not None and output.suffix != ".csv"
        found = _collect(model, (file, config), bars, lambda answers: answer_columns(model, answers, nested, sure))
    _write(found, output)
    problems = found.column("problem").drop_null().length()
    err.print(f"{found.num_rows:,} rows of {file}, {problems:,} without a prediction (see the column 'problem'){_unsure(found, sure)}"
              + (f" → {output}" if output else "") + f"; {model.form} of {model.folder} answered", markup=False)
    err.print(f"next: bessemer evaluate {run} --data FILE, for a file that holds {', '.join(model.targets)}", markup=False)


def _unsure(found: pa.Table, sure: Mapping[str, float]) -> str:
    """Return how many rows each target with a threshold leaves without a label as not sure, in words; empty where none was asked for."""
    import pyarrow.compute as pc

    answered = pc.is_null(found.column("problem"))
    names = {target: "label" if len(sure) == 1 and target not in found.column_names else target for target in sure}
    each = {target: pc.sum(pc.and_(answered, pc.is_null(found.column(name)))).as_py() or 0 for target, name in names.items()}
    if not each:
        return ""
    first, *others = (f"{count:,} rows" + (f" of '{target}'" if len(each) > 1 else "") for target, count in each.items())
    return f", {', '.join([first, *others])} not sure enough for a label (--coverage)"


def _collect(model: Model, given: tuple[Path, Config], listener: Any, columns: Columns) -> pa.Table:
    import pyarrow as pa

    from bessemer.core.events import Events
    from bessemer.core.registry import plugin_of

    file, config = given
    source = plugin_of("data/sources", config).function(config)
    parts = []
    with Events([listener]).progress("predict", None, "rows") as progress:
        for chunk in source.read():
            parts.append(_predict_chunk(model, chunk, columns))
            progress.advance(chunk.table.num_rows)
    if not parts:
        raise UserError(f"'{file}' has no rows; give a file with at least one")
    found = pa.concat_tables(parts, promote_options="default").sort_by("row")
    for name in _first_columns(model):  # where no row had an answer they are there all the same
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(len(found)))
    return found.select([name for name in found.column_names if name != "problem"] + ["problem"])


def _first_columns(model: Model) -> tuple[str, ...]:
    """Return the columns that every file of predictions has, whatever the rows."""
    from bessemer.modalities import modality_of

    if len(model.targets) > 1:
        return model.targets
    answer = modality_of(next(column for column in model.schema.columns if column.name == model.targets[0])).answer
    return {"label": ("label", "probability"), "number": ("prediction",), "flags": ("labels",), "tags": ("tags",)}[answer]


def _predict_chunk(model: Model, chunk: Any, columns: Columns) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    from bessemer.app.tagging import segmented

    problems = model.problems(chunk.table)
    good = np.flatnonzero(problems.is_null().to_numpy(zero_copy_only=False))
    found: dict[str, pa.Array] = {"row": pa.array(chunk.numbers, pa.int64()), "problem": problems}
    if len(good):
        place = np.zeros(chunk.table.num_rows, np.int64)
        place[good] = np.arange(len(good))
        place = pa.array(place, mask=problems.is_valid().to_numpy(zero_copy_only=False))
        rows = chunk.table.take(good)
        answers = model.answers(rows)
        found.update({name: values.take(place) for name, values in {**columns(answers), **segmented(model, rows, answers)}.items()})
    parts = [pa.table(found)]
    if chunk.rejected is not None and chunk.rejected.num_rows:
        parts.append(pa.table({"row": chunk.rejected.column("row").cast(pa.int64()),
                               "problem": chunk.rejected.column("reason").cast(pa.string())}))
    return pa.concat_tables(parts, promote_options="default")


def _sure(run: Path, choice: Choice, model: Model, coverage: float | None) -> dict[str, float]:
    from bessemer.app.abstention import thresholds_of
    from bessemer.core.answering import Finished

    return {} if coverage is None else thresholds_of(choice.finished or Finished(run), model, coverage)


def answer_columns(model: Model, answers: Mapping[str, Answer], nested: bool, sure: Mapping[str, float]) -> dict[str, pa.Array]:
    """Return the columns that predictions are written as.

    One target: `label` and `probability`; `prediction`, its quantiles (`prediction_p05`); `labels`. Several: `<target>`,
    `<target>_probability`, `<target>_p05`. Beside them `spread` where the model has members; where a column may hold a mapping
    (`nested`), the probability of each flag. A label below its target's threshold (`sure`) is left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.app.joined import separator_of

    found: dict[str, pa.Array] = {}
    separators = {column.name: separator_of(column) for column in model.schema.columns if column.name in answers}
    for target, answer in answers.items():
        alone = len(answers) == 1
        first = {"label": "label", "number": "prediction", "flags": "labels", "tags": "tags"}[answer.kind] if alone else target
        mark = "" if alone else f"{target}_"
        part = _columns(answer, first, mark, separators[target], nested)
        if target in sure and answer.kind == "label":
            part[first] = pc.if_else(pc.greater_equal(part[f"{mark}probability"], sure[target]), part[first], pa.scalar(None, pa.string()))
        if answer.spread is not None:
            part[f"{mark}spread"] = pa.array(answer.spread)
        for name, values in part.items():
            free = name
            while free in found or free in ("row", "problem"):
                free += "_"
            found[free] = values
    return found


def _columns(answer: Answer, first: str, mark: str, separator: str, nested: bool) -> dict[str, pa.Array]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    names = pa.array(answer.labels, pa.string())
    if answer.offsets is not None:
        said = names.take(pa.array(answer.values.argmax(axis=1)))
        return {first: pc.binary_join(pa.ListArray.from_arrays(pa.array(answer.offsets.astype(np.int32)), said), " ")}
    if answer.kind == "label":
        return {first: names.take(pa.array(answer.values.argmax(axis=1))), f"{mark}probability": pa.array(answer.values.max(axis=1))}
    if answer.kind == "number":
        levels = {f"{first}_p{f'{100 * level:g}'.zfill(2)}": pa.array(answer.values[:, 1 + index])
                  for index, level in enumerate(answer.quantiles)}
        return {first: pa.array(answer.values[:, 0]), **levels}
    row_H, code_H = np.nonzero(answer.values >= 0.5)
    ends = np.searchsorted(row_H, np.arange(len(answer.values) + 1)).astype(np.int32)
    found = {first: pc.binary_join(pa.ListArray.from_arrays(pa.array(ends), names.take(pa.array(code_H))), separator)}
    if nested:
        each = [pa.array(answer.values[:, index]) for index in range(len(answer.labels))]
        found[f"{mark}probabilities"] = pa.StructArray.from_arrays(each, list(answer.labels))
    return found


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


def show_evaluation(run: Path, data: Path, form: str | None, encoding: str | None = None) -> None:
    """Print every metric of a model on a labelled file."""
    from bessemer.api import Model, read_file
    from bessemer.app import console

    model = Model.load(chosen(run).folder, form)
    table = read_file(data, lambda message: console.err.print(message, markup=False), encoding, model.folder)
    found = model.evaluate(table)
    for target, sheet in ({model.targets[0]: found} if len(model.targets) == 1 else found).items():
        _show_sheet(f"{data}: {target}, {sheet['rows']:,} rows, {model.form} of {model.folder}", sheet)
        if sheet["unlabelled"]:
            what = {"label": "label", "number": "number"}.get(sheet["kind"], "labels")
            console.err.print(f"{sheet['unlabelled']} rows have no {what} in '{target}' and are not scored", markup=False)
        if sheet.get("unknown_tags"):
            console.err.print(f"{sheet['unknown_tags']:,} of {sheet['units']:,} tags of '{target}' are none that the model knows, so they "
                              "count as wrong", markup=False)
    left_out = (found if len(model.targets) == 1 else next(iter(found.values())))["left_out"]
    if left_out["targets"]:
        console.err.print(f"the file has no column {', '.join(left_out['targets'])}, so that is not scored", markup=False)
    if left_out["rows"]:
        first = list(left_out["reasons"].items())[:REASONS]
        others = left_out["rows"] - sum(count for _, count in first)
        why = "; ".join([*(f"{count:,} {reason}" for reason, count in first), *([f"{others:,} for other reasons"] if others else [])])
        console.err.print(f"{left_out['rows']:,} rows are left out: {why} ({left_out['first']})", markup=False)
    console.out.print(f"next: bessemer predict {run} --file FILE --output predictions.csv", markup=False)


def _show_sheet(title: str, sheet: Mapping[str, Any]) -> None:
    """Print the metrics of one target, and what its kind has beside them."""
    from bessemer.app import console

    rows = [(name, console.score(entry, name)) for name, entry in sheet["metrics"].items()]
    console.table(title, ("metric", "value [95% interval]"), rows)
    by_label = sheet.get("per_class") or sheet.get("per_label") or ()
    if by_label:
        console.table("by label", ("label", "precision", "recall", "F1", "rows"), [
            (item["label"], f"{item['precision']:.4f}", f"{item['recall']:.4f}", f"{item['f1']:.4f}", f"{item['support']:,}")
            for item in by_label])
    if sheet.get("quantiles"):
        console.table("quantiles", ("level", "rows at most that"), [
            (f"{item['level']:g}", f"{item['below']:.4f}") for item in sheet["quantiles"]])
