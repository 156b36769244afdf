"""The Python interface: `bessemer.run("recipe.yaml")` and `bessemer.Model.load(folder)`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core import artifact
from bessemer.core.answering import choose
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.run import Options, RunResult, execute
from bessemer.core.schema import Role

if TYPE_CHECKING:
    import pyarrow as pa

    from bessemer.core.schema import Column, Schema
    from bessemer.core.types import Answer, Predictor
    from bessemer.predictors._cleaner import Cleaner


def run(recipe: str | Path | Mapping[str, Any] | Recipe, *overrides: str, until: str | None = None,
        events: Events | None = None) -> RunResult:
    """Bring a recipe up to date and return its artifacts.

    Args:
        recipe: a YAML file, its content as a mapping, or a Recipe.
        overrides: `"finetune.learning_rate=3e-5"`.
        until: the last stage to run.
        events: listeners to progress and notes; none by default.
    """
    if isinstance(recipe, Recipe):
        made = recipe
    elif isinstance(recipe, Mapping):
        made = make_recipe({**recipe}, "recipe", overrides)
    else:
        made = load_recipe(recipe, overrides)
    return execute(made, events or Events(), Options(until=until))


def model_folder(path: str | Path) -> Path:
    """Return the folder that answers for a RUN argument: itself, or a stage of a run's folder (`core/answering.py` has the rule)."""
    return choose(path).folder


class Model:
    """A trained model in any of its forms.

    `rows` are always one of: a pyarrow table, a mapping of columns, a list of rows (mappings), a data frame, or a list of texts where the
    model reads one column. Columns that the model does not read are ignored.

    Attributes:
        targets: names of what it predicts.
        labels: names of the classes, in the order of the columns of `predict_proba`; empty for a number; of several targets a mapping
            from target to names.
        inputs: names of the columns that it reads.
        schema: what each column is.
        form: which form answers (`onnx-int8`, `torch-float32`, …).
        folder: where it lies.
    """

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        self._predictor = predictor
        self.schema = predictor.schema
        self.folder = folder
        self.form = predictor.form
        columns = predictor.schema.by_role(Role.TARGET)
        self.targets = tuple(column.name for column in columns)
        self._rows = Rows(predictor.schema)
        self.inputs = self._rows.inputs
        each = {column.name: column.labels for column in columns}
        self.labels: Any = each[self.targets[0]] if len(self.targets) == 1 else each

    @staticmethod
    def load(folder: str | Path, form: str | None = None) -> Model:
        """Open a run's folder or a model's folder; every file's checksum is verified."""
        from bessemer.core.forms import open_form

        place = model_folder(folder)
        manifest = artifact.load_manifest(place)
        if manifest is not None:
            artifact.verify(place, manifest)
        return Model(open_form(place, form), place)

    def answers(self, rows: Any) -> dict[str, Answer]:
        """Return everything that the model says about each target: probabilities or numbers, quantiles, the members' spread."""
        return self._predictor.predict(self.table(rows))

    def predict(self, rows: Any) -> Any:
        """Return a value a row: the label, the number (float), the tuple of labels that hold, or the list of tags, one for each unit of the
        text; of several targets a mapping.
        """
        return self._one({target: predictions(answer) for target, answer in self.answers(rows).items()})

    def predict_proba(self, rows: Any) -> Any:
        """Return probabilities float32 [N, C], columns as in `labels`; of tags a list of float32 [units, C]; of several targets a mapping
        of those that have labels.
        """
        found = {target: _by_row(answer) for target, answer in self.answers(rows).items() if answer.kind != "number"}
        if not found:
            raise UserError(f"{_names(self.targets)} is a number, which has no probabilities; use predict, or predict_quantiles where the "
                            "model was trained with quantiles")
        return self._one(found)

    def predict_quantiles(self, rows: Any) -> Any:
        """Return quantiles float64 [N, Q] of a number, the levels rising as the task lists them; of several targets a mapping."""
        answers = self.answers(rows)
        found = {target: answer.values[:, 1:] for target, answer in answers.items() if answer.quantiles}
        if not found and not any(answer.kind == "number" for answer in answers.values()):
            raise UserError(f"{_names(self.targets)} is no number, and only numbers have quantiles; use predict_proba")
        if not found:
            raise UserError(f"the model has no quantiles of {_names(self.targets)}; train it with, say, "
                            "task: {kind: supervised, quantiles: [0.05, 0.5, 0.95]}")
        return self._one(found)

    def evaluate(self, data: Any, seed: int = 0, encoding: str | None = None) -> dict[str, Any]:
        """Score labelled rows (as in `predict`, or a file): every metric with its 95% interval; of several targets a mapping.

        Rows that cannot be predicted, or whose label is unknown or no number, are left out: `left_out` counts them by reason and names
        the first. None that can be scored is a UserError. Of several targets those are scored whose columns are there.
        `encoding`: of a file's text, where it is not UTF-8 and not what its bytes show, nor what the sources of the model's run name.
        """
        from bessemer.evaluate._truths import scorable
        from bessemer.evaluate.score import score

        given, unread, _ = _read(Path(data), encoding, self.folder) if isinstance(data, (str, Path)) else (data, Counter[str](), "")
        table = self._rows.named(given)
        table, truths, left_out = scorable(self.schema, self.folder, table, self.problems(table))
        if unread:
            left_out = {**left_out, "rows": left_out["rows"] + unread.total(), "reasons": {**left_out["reasons"], **unread}}
        answers = self._predictor.predict(self.table(table))
        found: dict[str, Any] = self._one({target: {**score(truths[target], answer, seed), "left_out": left_out}
                                           for target, answer in answers.items() if target in truths})
        return found

    def _one(self, found: dict[str, Any]) -> Any:
        return found[self.targets[0]] if len(self.targets) == 1 else found

    def problems(self, rows: Any) -> pa.Array:
        """Return for each row why it cannot be predicted (empty text, no number, infinite, …), null where it can: string [N].

        A missing column, and two columns of one name, are UserErrors.
        """
        return self._rows.problems(rows)

    def table(self, rows: Any) -> pa.Table:
        """Return rows as a table under the schema's names: texts alone are the one input column's; a list within one is a UserError."""
        return self._rows.table(rows)


class Rows:
    """Raw rows as a schema's models read them, whatever they are given as.

    Attributes:
        schema: what each column is.
        inputs: names of the columns that are read.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.inputs = tuple(column.name for column in schema.by_role(Role.INPUT) if not column.of)

    def problems(self, rows: Any) -> pa.Array:
        """Return for each row why it cannot be predicted (empty text, no number, infinite, …), null where it can: string [N].

        A missing column, and two columns of one name, are UserErrors.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.core.errors import nearest
        from bessemer.data.columns import is_typed, no_texts, texts
        from bessemer.predictors._cleaner import TOGETHER, plain_numbers
        from bessemer.predictors._units import unfit_lists

        table = self.named(rows)
        found = pa.nulls(len(table), pa.string())
        several, names = len(self.inputs) > 1, set(table.column_names)
        missing = next((name for name in self.inputs if name not in names), None)
        if missing is not None:
            raise UserError(f"the data have no column '{missing}', which the model reads{nearest(missing, table.column_names)}")
        numbers = [name for name in self._cleaner.limits if not is_typed(table.column(name))] if len(table) <= TOGETHER else []
        fine = plain_numbers({name: texts(table.column(name)) for name in numbers}, {name: self._cleaner.limits[name] for name in numbers})
        for column in self._cleaner.columns:
            if column.name in fine:
                continue
            values = table.column(column.name)
            why = pc.coalesce(no_texts(values, lists=self._cleaner.lists[column.name]), reasons(column, values))
            found = pc.coalesce(found, pc.binary_join_element_wise(column.name, why, ": ") if several else why)
        return pc.coalesce(found, unfit_lists(self.schema, table))

    @cached_property
    def _cleaner(self) -> Cleaner:
        from bessemer.predictors._cleaner import Cleaner

        return Cleaner(self.schema)

    def table(self, rows: Any) -> pa.Table:
        """Return rows as a table under the schema's names: texts alone are the one input column's; a list within one is a UserError."""
        import pyarrow.compute as pc

        from bessemer.data.columns import is_typed, no_texts, texts

        table = self.named(rows)
        for name in set(self.inputs) & set(table.column_names):  # JSON lines keep a value's type beside it
            column = table.column(name)
            if is_typed(column):
                lists = self._cleaner.lists.get(name, False)
                why = no_texts(column, lists=lists)
                row = pc.index(why.is_valid(), True).as_py()
                if row >= 0:
                    raise UserError(f"row {row + 1}: the column '{name}' holds {why[row].as_py()}; give one value, or leave this row out")
                table = table.set_column(table.column_names.index(name), name, texts(column, lists=lists))
        return table

    def named(self, rows: Any) -> pa.Table:
        """Return rows with the columns that the schema knows under its names; two of one name are a UserError."""
        from collections import Counter

        from bessemer.data.given import table_of

        aliases = {column.name: column.aliases for column in self.schema.by_role(Role.INPUT) if column.aliases}
        table = table_of(rows, self.inputs, aliases)
        names = Counter(table.column_names)
        known = {column.named_in(names): column.name for column in self.schema.columns}
        for name in known:
            if name is not None and names[name] > 1:
                raise UserError(f"the rows have {names[name]} columns named '{name}'; the model reads one: rename or remove the others")
        return table.rename_columns([known.get(name, name) for name in table.column_names])


def _by_row(answer: Answer) -> Any:
    """Return an answer's values [N, C], of tags a list of N arrays [units, C]."""
    import numpy as np

    return answer.values if answer.offsets is None else np.split(answer.values, answer.offsets[1:-1])[:len(answer.offsets) - 1]


def predictions(answer: Answer) -> list[Any]:
    """Return what an answer says of each row: the most probable label, the number, the tuple of labels that hold, or the list of tags."""
    import numpy as np

    if answer.kind == "number":
        numbers: list[Any] = answer.values[:, 0].tolist()
        return numbers
    names = np.array(answer.labels, dtype=object)
    if answer.offsets is not None:
        said = names[answer.values.argmax(axis=1)].tolist()
        return [said[start:stop] for start, stop in zip(answer.offsets[:-1].tolist(), answer.offsets[1:].tolist(), strict=True)]
    if answer.kind == "label":
        chosen: list[Any] = names[answer.values.argmax(axis=1)].tolist()
        return chosen
    row_H, code_H = np.nonzero(answer.values >= 0.5)
    return [tuple(part.tolist()) for part in np.split(names[code_H], np.searchsorted(row_H, np.arange(1, len(answer.values))))][
        :len(answer.values)]


def reasons(column: Column, values: pa.ChunkedArray) -> pa.Array:
    """Return for each value of an input column why the model cannot read it, null where it can: string [N]."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from bessemer.data.columns import texts
    from bessemer.modalities import modality_of

    kind = modality_of(column)
    raw = texts(values, lists=kind.lists)
    try:
        why: pa.Array = kind.clean(raw)[1]
        return why
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UserError):
        nothing = pa.scalar(None, pa.string())
        return pc.if_else(raw.is_valid(), pa.scalar(f"of type {raw.type}, which cannot be read as {column.modality['kind']}"), nothing)


def _names(targets: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in targets)


def read_file(path: Path, note: Any, encoding: str | None = None, run: Path | None = None) -> pa.Table:
    """Read a whole file of rows; `note` is told of rows that cannot be read, and of the encoding (see `data/named_file.py`)."""
    table, rejected, said = _read(path, encoding, run)
    if said:
        note(said)
    if rejected:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in rejected.most_common(3))
        note(f"{rejected.total():,} rows of '{path}' cannot be read and are left out: {reasons}")
    return table


def _read(path: Path, encoding: str | None, run: Path | None) -> tuple[pa.Table, Counter[str], str]:
    """Return the rows of a file, why others cannot be read (reason -> rows), and what is to be said of its encoding."""
    import pyarrow as pa

    from bessemer.core.registry import plugin_of
    from bessemer.data.named_file import named_source

    config, said = named_source(path, encoding, run)
    tables, rejected = [], Counter[str]()
    for chunk in plugin_of("data/sources", config).function(config).read():
        tables.append(chunk.table)
        if chunk.rejected is not None:
            rejected.update(chunk.rejected["reason"].to_pylist())
    if not tables or not sum(table.num_rows for table in tables):
        raise UserError(f"'{path}' has no readable row")
    return pa.concat_tables(tables, promote_options="default"), rejected, said
