"""Solving the linear models of tables.

Legend: N rows, F numbers, D columns of the design, H columns of it for codes, A penalties, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.schema import Column
from bessemer.core.types import FitSpec
from bessemer.models import _table_rows as tables
from bessemer.models.linear import Layout, Linear, probabilities, until

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Weights:
    """A solved target: coef float64 [D, O], intercept float64 [O], facts as JSON values."""

    coef: np.ndarray
    intercept: np.ndarray
    facts: dict[str, Any]


@dataclass
class Sums:
    """Normal equations of one target, added up in float64 around the first block's means (so that offsets cost no digits).

    Attributes:
        centre: float64 [F], subtracted from the numbers.
        offset: subtracted from the target.
        weight: sum of the rows' weights.
        gram: float64 [D, D], X'WX of the shifted design.
        moments: float64 [D], X'W1.
        cross: float64 [D], X'Wy.
        total: 1'Wy.
    """

    centre: np.ndarray
    offset: float
    weight: float
    gram: np.ndarray
    moments: np.ndarray
    cross: np.ndarray
    total: float

    def add(self, numbers_NF: np.ndarray, hot_NH: Any, y_N: np.ndarray, weights_N: np.ndarray) -> None:
        """Add rows; `hot_NH` is a sparse matrix of zeros and ones."""
        import numpy as np

        width = numbers_NF.shape[1]
        x_NF, y_N = numbers_NF - self.centre, y_N - self.offset
        wx_NF, w_hot_NH = x_NF * weights_N[:, None], hot_NH.multiply(weights_N[:, None]).tocsr()
        self.gram[:width, :width] += wx_NF.T @ x_NF
        if hot_NH.shape[1]:
            mixed_HF = w_hot_NH.T @ x_NF
            self.gram[width:, :width] += mixed_HF
            self.gram[:width, width:] += mixed_HF.T
            self.gram[width:, width:] += (w_hot_NH.T @ hot_NH).toarray()
        self.moments[:width] += wx_NF.sum(axis=0)
        self.moments[width:] += np.ones(len(y_N)) @ w_hot_NH
        self.cross[:width] += wx_NF.T @ y_N
        self.cross[width:] += w_hot_NH.T @ y_N
        self.weight += float(weights_N.sum())
        self.total += float(weights_N @ y_N)

    def solve(self, alphas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return coef [D, A] and intercept [A] for each penalty, the intercept free of it, by one eigendecomposition."""
        import numpy as np

        mean_D, mean = self.moments / self.weight, self.total / self.weight
        gram = self.gram - np.outer(mean_D, self.moments)
        cross = self.cross - self.moments * mean
        values, vectors = np.linalg.eigh((gram + gram.T) / 2)
        floor = max(float(values[-1]), 0.0) * len(values) * np.finfo(np.float64).eps
        turned, found = vectors.T @ cross, []
        for alpha in alphas:
            solid = values > floor
            shrunk = np.where(solid, values, 0.0) + alpha
            found.append(vectors @ np.divide(turned, shrunk, out=np.zeros_like(turned), where=solid))
        coef = np.stack(found, axis=1)
        shift = mean_D.copy()
        shift[:len(self.centre)] += self.centre
        return coef, self.offset + mean - shift @ coef


def one_hot(layout: Layout, codes_NK: np.ndarray) -> Any:
    """Return the design's code columns, a sparse float64 matrix [N, H]."""
    import numpy as np
    from scipy.sparse import csr_matrix

    places = layout.places(codes_NK)
    starts = np.arange(len(places) + 1) * places.shape[1]
    return csr_matrix((np.ones(places.size), places.ravel(), starts), shape=(len(places), sum(layout.buckets)))


def _design(table: pa.Table, layout: Layout) -> tuple[np.ndarray, Any]:
    import numpy as np

    return tables.numbers_of(table).astype(np.float64), one_hot(layout, tables.codes_of(table))


def ridge(config: Linear, spec: FitSpec, layout: Layout, targets: list[Column], told: dict[str, Any]) -> dict[str, Weights]:
    """Solve every number target in one pass over the training rows; the penalty is chosen in one pass over validation."""
    sums: dict[str, Sums] = {}
    for table in until(spec.train(), config.max_rows, told, "train"):
        numbers, hot = _design(table, layout)
        weights = tables.weights_of(table, spec.schema)
        for target in targets:
            y = tables.truth_of(table, target)
            keep = tables.present_in(y)
            if keep.any():
                found = sums.get(target.name) or _empty(numbers[keep], y[keep], layout)
                found.add(numbers[keep], hot[keep], y[keep], weights[keep])
                sums[target.name] = found
    for target in targets:
        if target.name not in sums or not sums[target.name].weight > 0:
            raise _absent("training", target)
    solved = {name: item.solve(config.alpha) for name, item in sums.items()}
    return _chosen(config, spec, layout, solved, (targets, sums, told))


def _absent(split: str, target: Column) -> UserError:
    return UserError(f"the {split} split has no row with a value of '{target.name}'; a model of tables needs some in both splits")


def _empty(numbers: np.ndarray, y: np.ndarray, layout: Layout) -> Sums:
    import numpy as np

    width = layout.width
    return Sums(numbers.mean(axis=0), float(y.mean()), 0.0, np.zeros((width, width)), np.zeros(width), np.zeros(width), 0.0)


def _chosen(config: Linear, spec: FitSpec, layout: Layout, solved: dict[str, tuple[np.ndarray, np.ndarray]],
            rest: tuple[list[Column], dict[str, Sums], dict[str, Any]]) -> dict[str, Weights]:
    """Return the solution of each target whose squared error on validation is the least (the first of equals)."""
    import numpy as np

    targets, sums, told = rest
    errors = {target.name: np.zeros(len(config.alpha)) for target in targets}
    spread = {target.name: np.zeros(3) for target in targets}  # weight, sum and squares around the training rows' offset
    for table in until(spec.validation(), config.max_rows, told, "validation"):
        numbers, hot = _design(table, layout)
        weights = tables.weights_of(table, spec.schema)
        for target in targets:
            y = tables.truth_of(table, target)
            keep = tables.present_in(y)
            coef, intercept = solved[target.name]
            said_NA = numbers[keep] @ coef[:layout.numbers] + hot[keep] @ coef[layout.numbers:] + intercept
            errors[target.name] += weights[keep] @ (said_NA - y[keep, None])**2
            near = y[keep] - sums[target.name].offset
            spread[target.name] += (weights[keep].sum(), weights[keep] @ near, weights[keep] @ near**2)
    found = {}
    for target in targets:
        weight, total, squares = spread[target.name]
        if not weight > 0:
            raise _absent("validation", target)
        best = int(errors[target.name].argmin())
        mse, variance = errors[target.name] / weight, squares / weight - (total / weight)**2
        tried = [{"alpha": alpha, "validation_rmse": float(np.sqrt(value))} for alpha, value in zip(config.alpha, mse, strict=True)]
        coef, intercept = solved[target.name]
        found[target.name] = Weights(np.ascontiguousarray(coef[:, best:best + 1]), intercept[best:best + 1].copy(), {
            "alpha": config.alpha[best], "validation_rmse": float(np.sqrt(mse[best])),
            "validation_r2": float(1 - mse[best] / variance) if variance > 0 else None, "tried": tried})
    return found


def logistic(config: Linear, spec: FitSpec, layout: Layout, targets: list[Column], told: dict[str, Any]) -> dict[str, Weights]:
    """Solve every label and flags target on rows held in memory; the penalty is chosen on validation."""
    import numpy as np

    width = layout.numbers + sum(1 for buckets in layout.buckets if buckets)
    limit = max(1, min(config.max_rows, int(config.max_memory_gb * 1e9 / (12 * max(1, width)))))

    def features(table: pa.Table) -> np.ndarray:
        places = layout.places(tables.codes_of(table)).astype(np.float32)  # below 2^24, so exact
        return np.concatenate([tables.numbers_of(table), places], axis=1)

    splits = []
    schema = spec.schema.model_copy(update={"columns": tuple(
        column for column in spec.schema.columns if column.role.value != "target" or column in targets)})
    for name, read in (("train", spec.train), ("validation", spec.validation)):
        rows = tables.read_rows(until(read(), limit, told, name), schema, features, tables.Bounds(limit, limit, spec.seed))
        splits.append(rows)
    tables.check_targets(schema, splits[0], splits[1])
    return {target.name: _logistic(config, spec, layout, target, (splits[0], splits[1])) for target in targets}


def _sparse(layout: Layout, blocks: list[np.ndarray]) -> Any:
    """Return the design of rows, dense where there are no codes."""
    import numpy as np
    from scipy.sparse import csr_matrix, hstack

    whole = np.concatenate(blocks)
    if not sum(layout.buckets):
        return whole.astype(np.float64)
    places = whole[:, layout.numbers:].astype(np.int64)
    starts = np.arange(len(places) + 1) * places.shape[1]
    hot = csr_matrix((np.ones(places.size), places.ravel(), starts), shape=(len(places), sum(layout.buckets)))
    return hstack([csr_matrix(whole[:, :layout.numbers].astype(np.float64)), hot], format="csr")


def _logistic(config: Linear, spec: FitSpec, layout: Layout, target: Column, splits: tuple[tables.Rows, tables.Rows]) -> Weights:
    import numpy as np

    kind, truths = tables.kind_of(target), [rows.truth[target.name] for rows in splits]
    keeps = [tables.present_in(truth) for truth in truths]
    x, valid_x = (_sparse(layout, rows.chosen(keep)) for rows, keep in zip(splits, keeps, strict=True))
    weights = [rows.weights[keep] for rows, keep in zip(splits, keeps, strict=True)]
    codes, valid_codes = (truth[keep] for truth, keep in zip(truths, keeps, strict=True))
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    tried: list[dict[str, Any]] = []
    for c in config.c:
        if kind == "label":
            coef, intercept, ended = _classes(config, c, (x, codes, weights[0]), len(target.labels))
        else:
            each = [_flag(config, c, (x, codes[:, label], weights[0])) for label in range(len(target.labels))]
            coef, intercept = np.stack([item[0] for item in each], axis=1), np.array([item[1] for item in each])
            ended = all(item[2] for item in each)
        loss = _log_loss(kind, valid_x @ coef + intercept, valid_codes, weights[1])
        tried.append({"c": c, "validation_log_loss": loss, "converged": ended})
        if best is None or loss < best[0]:
            best = (loss, coef, intercept)
    assert best is not None
    chosen = min(tried, key=lambda item: item["validation_log_loss"])
    return Weights(np.ascontiguousarray(best[1]), best[2].copy(), {**chosen, "tried": tried})


def _run(config: Linear, c: float, rows: tuple[Any, np.ndarray, np.ndarray]) -> tuple[Any, bool]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=c, max_iter=config.max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told as a fact, `converged`
        found.fit(rows[0], rows[1], sample_weight=rows[2])
    return found, bool((found.n_iter_ < config.max_iter).all())


def _classes(config: Linear, c: float, rows: tuple[Any, np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return coef [D, C], intercept [C], converged; a class without training rows stays 10 logits below the rarest other."""
    import numpy as np

    found, ended = _run(config, c, rows)
    seen = found.classes_
    each, base = found.coef_, found.intercept_
    if len(seen) == 2:
        each, base = np.concatenate([0 * each, each]), np.concatenate([0 * base, base])
    coef, intercept = np.zeros((each.shape[1], count)), np.full(count, float(base.min()) - 10)
    coef[:, seen], intercept[seen] = each.T, base
    return coef, intercept, ended


def _flag(config: Linear, c: float, rows: tuple[Any, np.ndarray, np.ndarray]) -> tuple[np.ndarray, float, bool]:
    """Return coef [D], intercept, converged of one label; one that always or never holds gets its smoothed rate."""
    import numpy as np

    x, codes, weights = rows
    keep = codes >= 0
    if len(np.unique(codes[keep])) < 2:
        rate = (float((codes[keep] == 1).sum()) + 1) / (int(keep.sum()) + 2)
        return np.zeros(x.shape[1]), float(np.log(rate / (1 - rate))), True
    found, ended = _run(config, c, (x[keep], codes[keep], weights[keep]))
    return found.coef_[0], float(found.intercept_[0]), ended


def _log_loss(kind: str, outputs: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> float:
    import numpy as np

    said = probabilities(kind, outputs)
    if kind == "label":
        right = np.take_along_axis(said, codes[:, None], axis=1)
        known = np.ones_like(right, bool)
    else:
        right, known = np.where(codes == 1, said, 1 - said), codes >= 0
    part = known * weights[:, None]
    return float(-(np.log(np.maximum(right, 1e-15)) * part).sum() / part.sum())
