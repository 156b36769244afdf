"""The Python interface: `bessemer.run("recipe.yaml")` and `bessemer.Model.load(folder)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core import artifact
from bessemer.core.errors import UserError
from bessemer.core.events import Events
from bessemer.core.recipe import Recipe, load_recipe, make_recipe
from bessemer.core.run import Options, RunResult, execute

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.core.types import Predictor

PREFERRED = ("export", "compress")


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
    """Return the folder that predicts for a RUN argument: itself, or the best stage of a run's folder."""
    from bessemer.core.forms import FILE

    root = Path(path)
    if not root.is_dir():
        raise UserError(f"there is no folder '{path}'; give a run's folder, such as runs/NAME (bessemer run makes it)")
    if (root / FILE).is_file():
        return root
    manifests = {file.parent: artifact.load_manifest(file.parent) for file in sorted(root.glob(f"*/{artifact.MANIFEST}"))}
    keys = {manifest.key for manifest in manifests.values() if manifest is not None}
    found: dict[str, list[Path]] = {}
    for folder, manifest in manifests.items():
        if manifest is not None and (folder / FILE).is_file():
            found.setdefault(manifest.kind, []).append(folder)
    for kind in PREFERRED:
        for folder in reversed(found.get(kind, [])):
            manifest = manifests[folder]
            if manifest is not None and not set(manifest.inputs.values()) <= keys | _outside(root, folder):
                raise UserError(f"'{folder}' was made from an earlier stage that has since been run again; bring it up to date with "
                                f"bessemer run {root / 'recipe.yaml'}, or name the folder of the stage that should answer, such as "
                                f"{root / 'finetune'}")
            return folder
    trained = found.get("finetune", [])
    named = [folder for folder in trained if folder.name == "finetune"]
    if not trained:
        raise UserError(f"'{path}' holds no finished model yet; run the recipe first: bessemer run {root / 'recipe.yaml'}")
    return (named or trained)[0]


def _outside(root: Path, folder: Path) -> set[str]:
    """Return the keys of artifacts outside the run that the run's recipe gives to a stage."""
    recipe = load_recipe(root / "recipe.yaml")
    if folder.name not in recipe.stages:
        return set()
    references = [item for item in recipe.references(folder.name).values() if item not in recipe.stages]
    found = [artifact.load_manifest(Path(item)) for item in references]
    return {manifest.key for manifest in found if manifest is not None}


class Model:
    """A trained model in any of its forms.

    Attributes:
        labels: class names, in the order of the columns of `predict_proba`.
        form: which form answers (`onnx-int8`, `torch-float32`, …).
    """

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        self._predictor = predictor
        self.folder = folder
        self.form = predictor.form
        self.labels = _target(predictor).labels

    @staticmethod
    def load(folder: str | Path, form: str | None = None) -> Model:
        """Open a run's folder or a model's folder; every file's checksum is verified."""
        from bessemer.core.forms import open_form

        place = model_folder(folder)
        manifest = artifact.load_manifest(place)
        if manifest is not None:
            artifact.verify(place, manifest)
        return Model(open_form(place, form), place)

    def predict(self, rows: Sequence[str] | pa.Table | Mapping[str, Sequence[Any]]) -> list[str]:
        """Return the label of each row."""
        codes = self.predict_proba(rows).argmax(axis=1)
        return [self.labels[code] for code in codes]

    def predict_proba(self, rows: Sequence[str] | pa.Table | Mapping[str, Sequence[Any]]) -> np.ndarray:
        """Return probabilities float32 [N, C], columns as in `labels`."""
        return self._predictor.predict(self.table(rows)).probabilities

    def evaluate(self, data: str | Path | pa.Table | Mapping[str, Sequence[Any]], seed: int = 0) -> dict[str, Any]:
        """Score labelled rows (a table, a mapping of columns, or a file): every metric with its 95% interval."""
        from bessemer.evaluate.score import score

        table = self.table(read_file(Path(data), None) if isinstance(data, (str, Path)) else data)
        truth = self._codes(table)
        return score(truth, self._predictor.predict(table).probabilities, self.labels, seed)

    def _codes(self, table: pa.Table) -> np.ndarray:
        import numpy as np
        import pyarrow.compute as pc

        from bessemer.core.errors import nearest
        from bessemer.core.types import Modality
        from bessemer.data.columns import OneType
        from bessemer.modalities import modality_of

        target = _target(self._predictor)
        if target.name not in table.column_names:
            raise UserError(f"the data have no column '{target.name}', which holds the labels{nearest(target.name, table.column_names)}")
        modality: Modality = modality_of(target)
        raw = OneType(target.name).open(table.column(target.name), np.arange(1, table.num_rows + 1), "the data")
        clean, _ = modality.clean(raw)
        codes = pc.index_in(clean, value_set=_strings(self.labels))
        unknown = pc.filter(clean, pc.and_(pc.is_null(codes), pc.is_valid(clean)))
        if len(unknown):
            raise UserError(f"the data hold {len(unknown)} rows with labels that the model does not know, such as "
                            f"'{unknown[0].as_py()}'; it knows: {', '.join(self.labels)}")
        return pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)

    def problems(self, table: pa.Table) -> pa.Array:
        """Return for each row why it cannot be predicted (empty, too long), null where it can: string [N]."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from bessemer.core.errors import nearest
        from bessemer.data.columns import no_texts
        from bessemer.modalities import modality_of

        found = pa.nulls(table.num_rows, pa.string())
        for column in self._predictor.schema.columns:
            name = column.named_in(table.column_names)
            if column.role == "input" and name is not None:
                found = pc.coalesce(found, no_texts(table.column(name)))
        table = self.table(table)
        for column in self._predictor.schema.columns:
            if column.role != "input":
                continue
            if column.name not in table.column_names:
                raise UserError(f"the data have no column '{column.name}', which the model reads{nearest(column.name, table.column_names)}")
            _, reasons = modality_of(column).clean(table.column(column.name).combine_chunks())
            found = pc.coalesce(found, reasons)
        return found

    def table(self, rows: Sequence[str] | pa.Table | Mapping[str, Sequence[Any]]) -> pa.Table:
        """Return rows as a table under the schema's names: texts alone are the one input column's."""
        import pyarrow as pa

        from bessemer.data.columns import texts

        inputs = [column.name for column in self._predictor.schema.columns if column.role == "input"]
        if isinstance(rows, Mapping):
            rows = pa.table({name: pa.array(list(values)) for name, values in rows.items()})
        if isinstance(rows, pa.Table):
            known = {column.named_in(rows.column_names): column.name for column in self._predictor.schema.columns}
            rows = rows.rename_columns([known.get(name, name) for name in rows.column_names])
            for name in set(inputs) & set(rows.column_names):  # JSON lines keep a value's type beside it
                rows = rows.set_column(rows.column_names.index(name), name, texts(rows.column(name)))
            return rows
        if isinstance(rows, str):
            raise UserError("expected a list of texts, not one text; write predict([text])")
        if len(inputs) != 1:
            raise UserError(f"the model has {len(inputs)} input columns ({', '.join(inputs)}); give a table or a mapping of columns")
        try:
            return pa.table({inputs[0]: pa.array(list(rows), pa.string())})
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
            wrong = next(index for index, text in enumerate(rows) if not _is_text(text))
            raise UserError(f"text {wrong + 1} is no Unicode text ({type(rows[wrong]).__name__}, {rows[wrong]!a:.60}); expected a str "
                            "without lone surrogates: is the terminal or script in UTF-8?") from None


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not any("\ud800" <= sign <= "\udfff" for sign in value))


def _target(predictor: Predictor) -> Any:
    return next(column for column in predictor.schema.columns if column.role == "target")


def _strings(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(list(values), pa.string())


def read_file(path: Path, note: Any) -> pa.Table:
    """Read a whole file of rows; `note` is told of rows that cannot be read."""
    import pyarrow as pa

    from bessemer.core.registry import plugin_of
    from bessemer.data.inspect import infer_source

    config = infer_source(path)
    tables, rejected = [], 0
    for chunk in plugin_of("data/sources", config).function(config).read():
        tables.append(chunk.table)
        rejected += chunk.rejected.num_rows if chunk.rejected is not None else 0
    if not tables or not sum(table.num_rows for table in tables):
        raise UserError(f"'{path}' has no readable row")
    if rejected:
        message = f"{rejected} rows of '{path}' cannot be read (malformed or not UTF-8) and are left out"
        if note is None:
            raise UserError(f"{message}; mend them first")
        note(message)
    return pa.concat_tables(tables, promote_options="default")
