"""Bessemer in scikit-learn's grammar: `Classifier` and `Regressor` with `fit`, `predict`, `score`, for tables and texts.

>>> from bessemer import Classifier
>>> Classifier(num_train_epochs=2).get_params()["num_train_epochs"]
2

Legend: N rows, F features, C classes.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
import weakref
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from bessemer.api import Model, run
from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.schema import Role, Schema
from bessemer.core.types import Model as Architecture
from bessemer.data.given import check_names, is_missing, label_words
from bessemer.data.given_texts import check_numbers, holds_texts, why_no_texts

if TYPE_CHECKING:
    import pyarrow as pa

TARGET, WEIGHT, SPLIT = "target", "weight", "split"
FEW = 4
"""A class with fewer rows than these has them in training and in validation alike."""


class _Estimator(BaseEstimator):
    """What both share: rows to a Parquet file, a recipe of two stages over it, the trained folder."""

    reads_text_: bool

    def __init__(self, model: Mapping[str, Any] | None = None, num_train_epochs: float | None = None, learning_rate: float | None = None,
                 validation: float = 0.15, random_state: int = 0, settings: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.num_train_epochs = num_train_epochs
        self.learning_rate = learning_rate
        self.validation = validation
        self.random_state = random_state
        self.settings = settings

    def _fit(self, columns: dict[str, Any], held_N: np.ndarray, kind: str) -> None:
        """Train on columns and keep the folder. `held_N`: 0 in training, 1 in validation, 2 in both."""
        import pyarrow as pa
        import pyarrow.parquet as parquet

        table = pa.table(columns)
        # given splits must have test rows too; nothing reads them here, so the validation rows stand there again
        chosen = {"train": np.flatnonzero(held_N != 1), "validation": np.flatnonzero(held_N), "test": np.flatnonzero(held_N)}
        table = pa.concat_tables([table.take(rows).append_column(SPLIT, pa.array([name] * len(rows), pa.string()))
                                  for name, rows in chosen.items()])
        with tempfile.TemporaryDirectory() as place:
            parquet.write_table(table, Path(place) / "rows.parquet")
            recipe, order_M = self._recipe(Path(place), table, kind), np.concatenate([*chosen.values()])
            try:
                result = run(recipe)
            except UserError:
                self._tell_gone(recipe, order_M, len(held_N))
                raise
            self._tell_left_out(order_M, len(held_N), result.stages["prepare"].folder)
            kept = Path(tempfile.mkdtemp(prefix="bessemer-"))
            shutil.copytree(result.stages["finetune"].folder, kept, dirs_exist_ok=True)
        self._keep(kept)

    def _tell_gone(self, recipe: dict[str, Any], order_M: np.ndarray, given: int) -> None:
        """Refuse a class all of whose rows were left out, with the reasons; where that is not what ended the run, do nothing."""
        labels = recipe["stages"]["prepare"]["targets"][TARGET].pop("labels", None)
        if labels is None or (Path(recipe["output_dir"]) / "prepare").exists():
            return
        folder = run(recipe, until="prepare").stages["prepare"].folder
        left = Schema.load(folder).by_role(Role.TARGET)[0].labels
        gone = [name for name, label in zip(self.classes_, labels, strict=True) if label not in left]
        if gone:
            self._tell_left_out(order_M, given, folder, 5)
            raise ValueError(f"every row of the class '{gone[0]}' was left out (see the warning), so it cannot be learnt; "
                             "give rows of it that can be read, or leave it out of y")

    def _tell_left_out(self, order_M: np.ndarray, given: int, folder: Path, depth: int = 4) -> None:
        """Warn of rows that were not learnt from, with the reasons. `order_M`: which given row each row of the file is."""
        import pyarrow.parquet as parquet

        lost = parquet.read_table(folder / "quarantine.parquet", columns=["row", "reason"])
        rows, first = np.unique(order_M[lost["row"].to_numpy() - 1], return_index=True)
        reasons = Counter(lost["reason"].take(first).to_pylist())
        if len(rows):
            told = ", ".join(f"{reason} ({count:,})" for reason, count in reasons.most_common())
            warnings.warn(f"{len(rows):,} of {given:,} rows were left out: {told}; the first is row {rows[0]} (from 0)", UserWarning,
                          stacklevel=depth)

    def _keep(self, folder: Path) -> None:
        self._finalizer_ = weakref.finalize(self, shutil.rmtree, str(folder), True)
        self.model_ = Model.load(folder)

    def _recipe(self, place: Path, table: pa.Table, kind: str) -> dict[str, Any]:
        inputs = {}
        for field in table.schema:
            if field.name in (TARGET, WEIGHT, SPLIT):
                continue
            inputs[field.name] = {"kind": "text" if self.reads_text_ else _kind(field.type)}
        said = {"model": None if self.model is None else dict(self.model), "num_train_epochs": self.num_train_epochs,
                "learning_rate": self.learning_rate, **(self.settings or {})}
        said = {name: value for name, value in said.items() if value is not None}
        default = self._defaults(int(np.sum(np.array(table[SPLIT]) == "train"))) if _is_network(said.get("model")) else {}
        weight = {"weight": WEIGHT} if WEIGHT in table.column_names else {}
        target = {"kind": "category", "labels": label_words(self.classes_.tolist())} if kind == "label" else {"kind": "number"}
        return {"name": "estimator", "seed": int(self.random_state or 0), "output_dir": str(place / "run"), "stages": {
            "prepare": {"sources": [{"kind": "parquet", "path": str(place / "rows.parquet")}], "inputs": inputs,
                        "targets": {TARGET: target}, "split": {"kind": "given", "column": SPLIT}, **weight},
            "finetune": {**default, **said}}}

    def _defaults(self, rows: int) -> dict[str, Any]:
        """Return how a network learns where nothing else is said."""
        if self.reads_text_:
            return {"model": {"kind": "bert"}, "num_train_epochs": 8, "learning_rate": 5e-4}
        batch = int(2 ** np.clip(np.round(np.log2(max(rows, 2) / 40)), 4, 8))
        return {"model": {"kind": "members"}, "num_train_epochs": 100, "learning_rate": 1.5e-3, "weight_decay": 1e-3,
                "early_stopping_patience": 16, "lr_scheduler_type": "constant", "warmup_ratio": 0, "per_device_train_batch_size": batch}

    def _inputs(self, X: Any, y: Any = None, *, reset: bool) -> tuple[dict[str, Any], Any]:
        """Return columns that the model reads, and checked y; texts alone are one column `text`."""
        if holds_texts(X):
            found = [str(text) for text in X]
            if not reset and not self.reads_text_:
                raise ValueError("the model was fitted on a table, and is given texts")
            if reset:
                self.reads_text_ = True
            if y is not None and len(y) != len(found):
                raise ValueError(f"Found input variables with inconsistent numbers of samples: {[len(found), len(y)]}")
            return {"text": found}, y
        if not reset and self.reads_text_:
            raise ValueError(why_no_texts(X))
        check_numbers(X)
        names = _names(X)
        check_names(names or ())
        if names is not None and not _only_numbers(X):
            return self._frame(X, y, names, reset=reset)
        extra = {} if y is None else {"y": y, "multi_output": False, "y_numeric": self._numeric}
        checked = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1,
                                **extra)
        array_NF, y = checked if y is not None else (checked, None)
        if np.isinf(array_NF).any():
            raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
        if reset:
            self.reads_text_ = False
            self.columns_ = [f"x{place}" for place in range(array_NF.shape[1])]
        import pyarrow as pa

        return {name: pa.array(array_NF[:, place], from_pandas=True) for place, name in enumerate(self.columns_)}, y

    def _frame(self, X: Any, y: Any, names: list[str], *, reset: bool) -> tuple[dict[str, Any], Any]:
        """Return the columns of a data frame that holds more than numbers."""
        if y is not None:
            check_consistent_length(X, y)
        if reset:
            self.reads_text_, self.n_features_in_ = False, len(names)
            self.feature_names_in_, self.columns_ = np.array(names, dtype=object), [f"x{place}" for place in range(len(names))]
        elif list(self.feature_names_in_) != names:
            raise ValueError(f"The feature names should match those that were passed during fit: {list(self.feature_names_in_)}, "
                             f"not {names}")
        found = {f"x{place}": _column(X[name], str(name)) for place, name in enumerate(X.columns)}
        return found, y

    _numeric = False

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings and, where it is fitted, the bytes of the trained folder."""
        state = dict(super().__getstate__())
        state.pop("_finalizer_", None)
        model = state.pop("model_", None)
        if model is not None:
            state["folder_"] = {str(file.relative_to(model.folder)): file.read_bytes() for file in sorted(model.folder.rglob("*"))
                                if file.is_file()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings and write the trained folder anew."""
        files = state.pop("folder_", None)
        super().__setstate__(state)
        if files is not None:
            folder = Path(tempfile.mkdtemp(prefix="bessemer-"))
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            self._keep(folder)

    def save(self, folder: str | Path) -> None:
        """Write the trained folder: `bessemer.Model.load`, `bessemer predict` and `bessemer serve` open it."""
        check_is_fitted(self, "model_")
        if Path(folder).exists():
            raise UserError(f"'{folder}' is there already; give a new name")
        shutil.copytree(self.model_.folder, folder)

    def __sklearn_tags__(self) -> Any:
        """Return what it can take: missing values yes, sparse matrices no; the same rows give the same model."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


class Classifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """Learn labels of rows or texts.

    Args:
        model: a model of recipes, such as `{"kind": "members", "members": 4}`; members of sub-networks by default, a small BERT for texts.
        num_train_epochs: passes over the rows; by default 100 with early stopping for tables, 8 for texts.
        learning_rate: 1.5e-3 for tables, 5e-4 for texts by default.
        validation: part of the rows that chooses the weights to keep.
        random_state: seed of the split, the weights and the order.
        settings: further keys of the recipe's finetune stage.

    Attributes:
        classes_: the labels, sorted.
        model_: the trained `bessemer.Model`; its labels are `classes_` as texts, as a recipe of the same data has them (1.0 is `1`).
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (array [N, F], data frame, or N texts) and y (N labels)."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        _check_labels(y)
        columns, y = self._inputs(X, y, reset=True)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_ = unique_labels(y)
        if len(self.classes_) < 2:
            raise ValueError(f"Classifier needs samples of at least 2 classes, but the data contains only one class: '{self.classes_[0]}'")
        code_N = np.searchsorted(self.classes_, y)
        columns[TARGET] = np.array(label_words(self.classes_.tolist()), object)[code_N].tolist()
        _weigh(columns, sample_weight, len(code_N))
        self._fit(columns, _held(code_N, self.validation, self.random_state), "label")
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities [N, C], columns as in `classes_`."""
        check_is_fitted(self, "model_")
        columns, _ = self._inputs(X, reset=False)
        values_NC = self.model_.predict_proba(columns).astype(np.float64)
        found: np.ndarray = values_NC / values_NC.sum(1, keepdims=True)
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each row."""
        found: np.ndarray = self.classes_[self.predict_proba(X).argmax(1)] if hasattr(self, "classes_") else self.predict_proba(X)
        return found


class Regressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """Learn a number of rows or texts; arguments and attributes as Classifier's, without `classes_`."""

    _numeric = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on X (array [N, F], data frame) and y (N numbers)."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        columns, y = self._inputs(X, y, reset=True)
        value_N = column_or_1d(np.asarray(y, np.float64), warn=True)
        columns[TARGET] = value_N
        _weigh(columns, sample_weight, len(value_N))
        rank_N = np.argsort(np.argsort(value_N, kind="stable"), kind="stable") * min(4, len(value_N) // 8 + 1) // len(value_N)
        self._fit(columns, _held(rank_N, self.validation, self.random_state), "number")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the estimate of each row."""
        check_is_fitted(self, "model_")
        columns, _ = self._inputs(X, reset=False)
        return np.array(self.model_.predict(columns), np.float64)


def _is_network(model: Any) -> bool:
    """Tell whether a model (None: the default) is trained by passes over rows; one with a `fit` of its own takes no settings of them."""
    if model is None:
        return True
    try:
        config = make("models", model)
    except ValueError:
        return True  # `run` says what is wrong with it, and where
    made: Architecture = plugin_of("models", config).function(config)
    return made.fit is None


def _names(X: Any) -> list[str] | None:
    columns = getattr(X, "columns", None)
    return None if columns is None else [str(name) for name in columns]


def _only_numbers(X: Any) -> bool:
    """Tell whether every column of a data frame holds numbers; truth values are none, as a column of them is learnt as such."""
    return all(getattr(kind, "kind", "O") in "fiu" for kind in getattr(X, "dtypes", []))


def _column(values: Any, name: str) -> pa.Array:
    """Return a data frame's column: numbers as float64, truth values and dates as they are, the rest as texts.

    Raises:
        ValueError: values that are none of these (times of day, durations, lists, bytes, …).
    """
    import pyarrow as pa

    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        # Several types in one column; only a category can be read of them.
        found = pa.array([None if is_missing(value) else str(value) for value in values], pa.string())
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    if pa.types.is_dictionary(found.type):  # a category, whatever its values are
        return pa.array([None if value is None else str(value) for value in found.to_pylist()], pa.string())
    kind = _kind(found.type)
    if kind is None:
        raise ValueError(f"the column '{name}' holds values of type {found.type}; expected numbers, true and false, dates, texts or "
                         "categories: convert the column or leave it out")
    wanted = {"number": pa.float64(), "category": pa.string()}
    return found.cast(wanted[kind], safe=False) if kind in wanted else found


def _kind(arrow: pa.DataType) -> str | None:
    """Return which modality reads a column of this type as an input of a table; None where none does."""
    import pyarrow as pa

    of = pa.types
    if of.is_floating(arrow) or of.is_integer(arrow) or of.is_decimal(arrow):
        return "number"
    if of.is_boolean(arrow):
        return "boolean"
    if of.is_date(arrow) or of.is_timestamp(arrow):
        return "date"
    return "category" if of.is_string(arrow) or of.is_large_string(arrow) or of.is_string_view(arrow) or of.is_null(arrow) else None


def _check_labels(y: Any) -> None:
    """Refuse labels of which some are missing; numpy would write them as texts beside texts, and compare them with none."""
    if isinstance(y, (list, tuple)) or (hasattr(y, "dtype") and getattr(y.dtype, "kind", "O") in "OT"):
        missing = [row for row, label in enumerate(y) if is_missing(label)]
        if missing:
            raise ValueError(f"y holds no label in {len(missing):,} of {len(y):,} rows, the first being row {missing[0]} (from 0); leave "
                             "these rows out of X and y")


def _weigh(columns: dict[str, Any], sample_weight: Any, rows: int) -> None:
    """Add the rows' weights as a column."""
    if sample_weight is None:
        return
    weight_N = np.broadcast_to(np.asarray(sample_weight, np.float64), (rows,)) if isinstance(sample_weight, (int, float)) else np.asarray(
        sample_weight, np.float64)
    if weight_N.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar")
    if len(weight_N) != rows:
        raise ValueError(f"sample_weight.shape == {weight_N.shape}, expected {(rows,)}!")
    if not (np.isfinite(weight_N).all() and (weight_N >= 0).all() and weight_N.any()):
        raise ValueError("sample_weight: expected finite weights, none negative, and at least one above zero")
    columns[WEIGHT] = weight_N


def _held(group_N: np.ndarray, part: float, seed: int | None) -> np.ndarray:
    """Return for each row 0 (training), 1 (validation) or 2 (both: its group is too small to be divided), the same part of each group."""
    rng = np.random.default_rng(int(seed or 0))
    found = np.zeros(len(group_N), np.int64)
    for group in np.unique(group_N):
        rows = np.flatnonzero(group_N == group)
        if len(rows) < FEW:
            found[rows] = 2
        else:
            found[rng.permutation(rows)[:max(1, round(part * len(rows)))]] = 1
    return found
