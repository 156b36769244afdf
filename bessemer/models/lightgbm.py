"""Gradient boosting of decision trees through the lightgbm package (Ke et al. 2017), over raw columns.

It reads numbers as they are (missing ones as nan) and codes as categories. Saved without pickle: trees-<i>.txt in LightGBM's own
text format, and lightgbm.json.
Legend: N rows, P features, F stored numbers, K stored codes, C classes, L labels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role, Schema
from bessemer.core.types import FitSpec, Model

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from bessemer.models._table_rows import Rows

FILE = "lightgbm.json"
RAW = ("number", "boolean")
OBJECTIVES = {"l2": "regression", "l1": "regression_l1", "huber": "huber"}
Part = Annotated[float, Field(gt=0, le=1)]


class LightGBM(Config):
    """Settings of the trees, early stopping on the validation split, and how many settings are tried."""

    trials: int = Field(1, ge=1)
    """Settings tried: the ones given here first, then seeded random ones; the best on validation is kept."""
    num_boost_round: int = Field(2000, ge=1)
    """Most trees (of each class); early stopping decides."""
    early_stopping_rounds: int = Field(100, ge=1)
    """Trees without a better validation loss after which it stops."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Shrinkage of each tree."""
    num_leaves: int = Field(31, ge=2)
    """Leaves of a tree at most."""
    min_data_in_leaf: int = Field(20, ge=1)
    """Rows of a leaf at least."""
    feature_fraction: Part = 1.0
    """Part of the features that each tree sees."""
    bagging_fraction: Part = 1.0
    """Part of the rows that each tree sees."""
    lambda_l1: float = Field(0.0, ge=0)
    """L1 penalty of leaf values."""
    lambda_l2: float = Field(0.0, ge=0)
    """L2 penalty of leaf values."""
    loss: Literal["l2", "l1", "huber"] = "l2"
    """What is minimised for number targets."""
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Quantiles of number targets that are learnt beside the estimate, rising."""
    class_weight: Literal["none", "balanced"] = "none"
    """balanced: every class (and either side of every label) weighs the same in all."""
    max_rows: int = Field(2_000_000, ge=1)
    """Training rows that are held in memory at most; of more, a seeded sample of blocks is taken."""
    max_rows_read: int = Field(20_000_000, ge=1)
    """Training rows that are looked at, at most, to take that sample from."""
    max_memory_gb: float = Field(4.0, gt=0)
    """Memory of the features as numbers of 8 bytes; wide rows are sampled further to keep to it."""

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("expected rising levels, each once")
        return value


class Feature(BaseModel):
    """Where the features of one input column come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    raw: bool = False
    """Whether it is the clean column itself, as float64; else the stored numbers and codes below."""
    numbers: tuple[int, int] = (0, 0)
    codes: tuple[int, int] = (0, 0)

    @property
    def width(self) -> int:
        """Return how many features the column gives."""
        return 1 if self.raw else self.numbers[1] - self.numbers[0] + self.codes[1] - self.codes[0]


class Trees(BaseModel):
    """What was learnt of one target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    kind: Literal["label", "number", "flags"]
    labels: tuple[str, ...] = ()
    quantiles: tuple[float, ...] = ()
    files: tuple[str, ...]
    """One for labels; one a label for flags; the estimate's and one a quantile for numbers."""
    shift: float = 0.0
    scale: float = 1.0
    """A number is shift + scale * what the trees say."""


class Saved(BaseModel):
    """Content of lightgbm.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: tuple[Feature, ...]
    targets: tuple[Trees, ...]


@register("models", "lightgbm")
def lightgbm(config: LightGBM) -> Model:
    """Return a model of tables that fits itself."""

    def fit(spec: FitSpec) -> dict[str, Any]:
        return _fit(config, spec)

    return Model(fit=fit, predictor="lightgbm", table=True)


def need() -> Any:
    """Return the lightgbm package; a missing one is a UserError."""
    try:
        import lightgbm as package
    except ImportError:
        raise UserError("the package 'lightgbm' is not installed, which the model 'lightgbm' needs: pip install 'bessemer[tables]'"
                        ) from None
    return package


def plan(schema: Schema, info: Mapping[str, Any]) -> tuple[Feature, ...]:
    """Return the features of the schema's input columns, in their order."""
    places = info["columns"]
    found = []
    for column in schema.by_role(Role.INPUT):
        n0, n1, c0, c1 = (int(place) for place in places.get(column.name, (0, 0, 0, 0)))
        if column.modality["kind"] in RAW:
            found.append(Feature(column=column.name, raw=True))
        elif n1 > n0 or c1 > c0:
            found.append(Feature(column=column.name, numbers=(n0, n1), codes=(c0, c1)))
    if not found:
        raise UserError("the data have no input column that trees can read; give number, category, date or text columns")
    return tuple(found)


def categorical(features: tuple[Feature, ...]) -> list[int]:
    """Return the positions of the features that are categories."""
    found: list[int] = []
    start = 0
    for feature in features:
        if not feature.raw:
            count = feature.codes[1] - feature.codes[0]
            found += range(start + feature.width - count, start + feature.width)
        start += feature.width
    return found


def matrix(clean: pa.Table, numbers: np.ndarray, codes: np.ndarray, features: tuple[Feature, ...]) -> np.ndarray:
    """Return the features, float64 [N, P]: the same function for training and serving.

    Args:
        clean: the clean input columns under the schema's names.
        numbers: float32 [N, F].
        codes: int32 [N, K].
        features: what `plan` found.
    """
    import numpy as np

    found, start = np.empty((len(clean), sum(feature.width for feature in features))), 0
    for feature in features:
        if feature.raw:
            found[:, start] = _floats(clean.column(feature.column))
        else:
            (n0, n1), (c0, c1) = feature.numbers, feature.codes
            found[:, start:start + n1 - n0] = numbers[:, n0:n1]
            found[:, start + n1 - n0:start + feature.width] = codes[:, c0:c1]
        start += feature.width
    return found


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return numbers or booleans as float64 [N], nan where missing."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type == pa.float64() and not column.null_count:
        return np.asarray(column.to_numpy())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    elif pa.types.is_string(column.type):  # a boolean column is kept as its words
        column = pc.if_else(pc.equal(column, "true"), 1.0, 0.0)
    found = pc.fill_null(column.cast(pa.float64(), safe=False), float("nan"))
    return np.asarray(found.to_numpy(), np.float64)


def _fit(config: LightGBM, spec: FitSpec) -> dict[str, Any]:
    from bessemer.models import _table_rows as tables
    from bessemer.models._boosting import learn

    need()
    features = plan(spec.schema, spec.info)
    width = sum(feature.width for feature in features)
    limit = max(1, min(config.max_rows, int(config.max_memory_gb * 1e9 / (8 * width))))

    def read(table: pa.Table) -> np.ndarray:
        return matrix(table, tables.numbers_of(table), tables.codes_of(table), features)

    train = tables.read_rows(spec.train(), spec.schema, read, tables.Bounds(limit, config.max_rows_read, spec.seed))
    validation = tables.read_rows(spec.validation(), spec.schema, read, tables.Bounds(limit, config.max_rows_read, spec.seed))
    tables.check_targets(spec.schema, train, validation)
    saved: list[Trees] = []
    facts = {}
    for target in spec.schema.by_role(Role.TARGET):
        learnt = learn(config, spec, target, (train, validation), categorical(features))
        files: list[str] = []
        for trees in learnt.boosters:
            files.append(f"trees-{sum(len(item.files) for item in saved) + len(files)}.txt")
            (spec.out / files[-1]).write_text(trees, encoding="utf-8")
        saved.append(Trees(target=target.name, kind=learnt.kind, labels=target.labels, files=tuple(files), shift=learnt.shift,
                           quantiles=config.quantiles if learnt.kind == "number" else (), scale=learnt.scale))
        facts[target.name] = {**learnt.facts, "importance": _importance(learnt.gains, features)}
    text = Saved(features=features, targets=tuple(saved)).model_dump_json(indent=1)
    (spec.out / FILE).write_text(text + "\n", encoding="utf-8")
    return {"targets": facts, "num_features": width, **_rows_facts(train, validation)}


def _rows_facts(train: Rows, validation: Rows) -> dict[str, Any]:
    return {"num_train_rows": len(train.weights), "num_train_rows_read": train.read, "all_train_rows": train.all,
            "num_validation_rows": len(validation.weights)}


def _importance(gains: np.ndarray, features: tuple[Feature, ...]) -> dict[str, float]:
    """Return the share of the splits' gain of the 20 columns that have most: gains float [P]."""
    total, start, found = float(gains.sum()) or 1.0, 0, {}
    for feature in features:
        found[feature.column] = round(float(gains[start:start + feature.width].sum()) / total, 6)
        start += feature.width
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:20])


def load(folder: Path) -> Saved:
    """Read lightgbm.json; a missing or damaged one is a UserError."""
    try:
        return Saved.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise UserError(f"'{folder / FILE}' is missing or damaged ({str(error).splitlines()[0]}); run the recipe again to make it anew"
                        ) from None


def columns_named(saved: Saved, schema: Schema) -> tuple[Column, ...]:
    """Return the schema's targets; trees of other targets or labels are a UserError."""
    targets = schema.by_role(Role.TARGET)
    if [(item.target, item.labels) for item in saved.targets] != [(item.name, item.labels) for item in targets]:
        raise UserError(f"the trees were learnt for {json.dumps([item.target for item in saved.targets], ensure_ascii=False)}, the schema "
                        "beside them has other targets or labels; the two are not of the same run: train again")
    return targets
