"""Linear models of tables: ridge regression for numbers, logistic regression for labels and flags.

Ridge is solved exactly from normal equations that one pass over the rows adds up (Hoerl and Kennard 1970). Saved as
table_linear.json and weights.safetensors; predicting needs numpy alone.
Legend: N rows, F numbers, K codes, D columns of the design (F numbers, then one for each value of each code), O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Column, Role
from bessemer.core.types import Answer, FitSpec, Model

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FILE, WEIGHTS = "table_linear.json", "weights.safetensors"


class Linear(Config):
    """Penalties to try and how much is read; the penalty with the least validation loss is kept."""

    alpha: tuple[Annotated[float, Field(ge=0)], ...] = Field((0.0, 1e-3, 0.1, 1.0, 10.0, 100.0, 1000.0), min_length=1)
    """Strengths of the L2 penalty to try for numbers; 0 is least squares of smallest norm."""
    c: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.1, 1.0, 10.0), min_length=1)
    """Inverse strengths of the L2 penalty to try for labels and flags."""
    max_iter: int = Field(1000, ge=1)
    """Most iterations of the solver of labels and flags."""
    max_rows: int = Field(200_000, ge=1)
    """Rows of a split that are read at most, the first ones."""
    max_values: int = Field(1000, ge=2)
    """Values of a category that have a weight of their own; a category with more shares so many among all its values (by hashing)."""
    max_features: int = Field(4000, ge=1)
    """Weights of one output at most: categories are left out, the largest first, until the others fit."""
    max_memory_gb: float = Field(1.0, gt=0)
    """Memory of the rows for labels and flags, which are held; fewer rows are read to keep to it. Numbers hold no rows."""


class Layout(BaseModel):
    """How numbers and codes become the columns of the design."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: int
    buckets: tuple[int, ...]
    """Columns of each code: its values, fewer where they are hashed, 0 where it is left out."""

    @property
    def width(self) -> int:
        """Return D."""
        return self.numbers + sum(self.buckets)

    def places(self, codes_NK: np.ndarray) -> np.ndarray:
        """Return for each code that is not left out its column among the code columns of the design, int64 [N, K']."""
        import numpy as np

        used = [index for index, buckets in enumerate(self.buckets) if buckets]
        starts = np.cumsum([0, *self.buckets])
        found = np.empty((len(codes_NK), len(used)), np.int64)
        for place, index in enumerate(used):
            found[:, place] = starts[index] + codes_NK[:, index] % self.buckets[index]
        return found


class Solved(BaseModel):
    """What was learnt of one target; its weights are `<position>.coef` [D, O] and `<position>.intercept` [O]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    kind: Literal["label", "number", "flags"]
    labels: tuple[str, ...] = ()


class Saved(BaseModel):
    """Content of table_linear.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Layout
    targets: tuple[Solved, ...]


@register("models", "linear")
def linear(config: Linear) -> Model:
    """Return a model of tables that fits itself."""

    def fit(spec: FitSpec) -> dict[str, Any]:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(spec.threads):
            return _fit(config, spec)

    return Model(fit=fit, predictor="table_linear", table=True)


def lay_out(config: Linear, spec: FitSpec) -> tuple[Layout, list[str]]:
    """Return the design's layout, and the names of the inputs that are left out in part or whole."""
    width, cardinalities = int(spec.info["numbers"]), [int(value) for value in spec.info["cardinalities"]]
    if width > config.max_features:
        raise UserError(f"model.max_features: the data have {width:,} numbers a row, more than the linear model's {config.max_features:,}; "
                        "raise it (memory grows with its square), or leave this stage out")
    buckets = [min(count, config.max_values) for count in cardinalities]
    left: list[str] = []
    for index in sorted(range(len(buckets)), key=lambda index: -cardinalities[index]):
        if width + sum(buckets) <= config.max_features:
            break
        buckets[index] = 0
        left += [name for name, (_, _, c0, c1) in spec.info["columns"].items() if c0 <= index < c1 and name not in left]
    if not width + sum(buckets):
        raise UserError("the data have no input column that a linear model can read; give number, category or date columns")
    return Layout(numbers=width, buckets=tuple(buckets)), left


def _fit(config: Linear, spec: FitSpec) -> dict[str, Any]:
    from safetensors.numpy import save_file

    from bessemer.models import _linear_fit as solve
    from bessemer.models._table_rows import kind_of

    layout, left = lay_out(config, spec)
    targets = spec.schema.by_role(Role.TARGET)
    if not targets:
        raise UserError("the data have no target, so there is nothing to learn; name one under prepare's 'targets'")
    numbers = [target for target in targets if kind_of(target) == "number"]
    others = [target for target in targets if kind_of(target) != "number"]
    found: dict[str, solve.Weights] = {}
    rows: dict[str, Any] = {}
    if numbers:
        found.update(solve.ridge(config, spec, layout, numbers, rows))
    if others:
        found.update(solve.logistic(config, spec, layout, others, rows))
    tensors = {}
    for index, target in enumerate(targets):
        tensors[f"{index}.coef"], tensors[f"{index}.intercept"] = found[target.name].coef, found[target.name].intercept
    save_file(tensors, spec.out / WEIGHTS)
    saved = Saved(layout=layout, targets=tuple(Solved(target=target.name, kind=kind_of(target), labels=target.labels)
                                               for target in targets))
    (spec.out / FILE).write_text(saved.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return {"targets": {target.name: found[target.name].facts for target in targets}, "num_features": layout.width,
            "left_out": left, **rows}


def until(tables: Iterator[pa.Table], limit: int, told: dict[str, Any], name: str) -> Iterator[pa.Table]:
    """Yield the first `limit` rows, and keep in `told` how many there were and whether they were all."""
    told[f"num_{name}_rows"], told[f"all_{name}_rows"] = 0, True
    for table in tables:
        if told[f"num_{name}_rows"] >= limit:
            told[f"all_{name}_rows"] = False
            return
        part = table.slice(0, limit - told[f"num_{name}_rows"])
        told[f"num_{name}_rows"] += len(part)
        told[f"all_{name}_rows"] &= len(part) == len(table)
        if len(part):
            yield part


def load_linear(folder: Path, targets: tuple[Column, ...]) -> Callable[[np.ndarray, np.ndarray], dict[str, Answer]]:
    """Return (numbers float32 [N, F], codes int32 [N, K]) -> target -> Answer of a folder that `fit` wrote; numpy alone."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        saved = Saved.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValidationError, SafetensorError) as error:
        raise UserError(f"'{folder}' holds no linear model, or a damaged one ({str(error).splitlines()[0]}); run the recipe again to make "
                        "it anew") from None
    if [(item.target, item.labels) for item in saved.targets] != [(item.name, item.labels) for item in targets]:
        raise UserError(f"'{folder}': the linear model was learnt for other targets or labels than the schema beside it names; the two "
                        "are not of the same run: train again")

    def answer(numbers_NF: np.ndarray, codes_NK: np.ndarray) -> dict[str, Answer]:
        places = saved.layout.places(codes_NK)
        found = {}
        for index, item in enumerate(saved.targets):
            coef, intercept = tensors[f"{index}.coef"], tensors[f"{index}.intercept"]
            outputs_NO = numbers_NF.astype("float64") @ coef[:saved.layout.numbers] + intercept
            for place in places.T:
                outputs_NO += coef[saved.layout.numbers + place]
            found[item.target] = _answer(item, outputs_NO)
        return found

    return answer


def _answer(item: Solved, outputs_NO: np.ndarray) -> Answer:
    if item.kind == "number":
        return Answer("number", outputs_NO)
    return Answer(item.kind, probabilities(item.kind, outputs_NO).astype("float32"), item.labels)


def probabilities(kind: str, outputs_NO: np.ndarray) -> np.ndarray:
    """Return the probabilities, float64 [N, O], of logits: of classes, or of each flag."""
    import numpy as np

    if kind == "flags":
        each: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(outputs_NO, -60, 60)))
        return each
    power = np.exp(outputs_NO - outputs_NO.max(axis=1, keepdims=True, initial=-np.inf))
    found: np.ndarray = power / power.sum(axis=1, keepdims=True)
    return found
