"""Learning the trees of one target: objectives, row and class weights, early stopping, the search over settings.

Legend: N rows, P features, C classes, L labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.schema import Column
from bessemer.core.types import FitSpec
from bessemer.models._table_rows import Rows, kind_of

if TYPE_CHECKING:
    import numpy as np

    from bessemer.models.lightgbm import LightGBM


@dataclass(frozen=True)
class Learnt:
    """The trees of one target.

    Attributes:
        kind: of its answer.
        boosters: model texts, see `Trees.files`.
        shift: a number is shift + scale * what the trees say.
        scale: see shift.
        gains: float64 [P], the gain of the splits on each feature.
        facts: JSON values.
    """

    kind: Literal["label", "number", "flags"]
    boosters: list[str]
    shift: float
    scale: float
    gains: np.ndarray
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Goal:
    """One booster's worth of a target: objective and metric, and (training, validation) labels, weights and which rows."""

    params: dict[str, Any]
    truth: tuple[np.ndarray, np.ndarray]
    weights: tuple[np.ndarray, np.ndarray]
    keep: tuple[np.ndarray, np.ndarray]


def learn(config: LightGBM, spec: FitSpec, target: Column, splits: tuple[Rows, Rows], categories: list[int]) -> Learnt:
    """Learn one target: every setting that is tried learns all its boosters, the one with the least validation loss is kept."""
    import numpy as np

    from bessemer.models.lightgbm import need

    package = need()
    kind = kind_of(target)
    shift, scale = _standard(splits[0], target) if kind == "number" else (0.0, 1.0)
    goals = list(_goals(config, target, splits, (shift, scale)))
    fixed = {"deterministic": True, "force_row_wise": True, "num_threads": spec.threads or 0, "seed": spec.seed % 2**31,
             "verbosity": -1, "feature_pre_filter": False}
    sets = [_sets(package, goal, splits, fixed, categories) for goal in goals]
    best: tuple[float, dict[str, Any], list[Any]] | None = None
    tried = []
    for settings in candidates(config, spec.seed):
        boosters = []
        for goal, (train, validation) in zip(goals, sets, strict=True):
            boosters.append(package.train(
                {**fixed, **settings, **goal.params}, train, num_boost_round=config.num_boost_round, valid_sets=[validation],
                valid_names=["validation"], callbacks=[package.early_stopping(config.early_stopping_rounds, verbose=False)]))
        losses = [float(next(iter(item.best_score["validation"].values()))) for item in boosters]
        loss = float(np.mean(losses))
        rounds = [item.best_iteration for item in boosters]
        tried.append({**settings, "validation_loss": loss, "losses": losses, "rounds": rounds})
        if best is None or loss < best[0]:
            best = (loss, tried[-1], boosters)
    assert best is not None
    gains = np.sum([item.feature_importance("gain", iteration=item.best_iteration) for item in best[2]], axis=0)
    texts = [item.model_to_string(num_iteration=item.best_iteration) for item in best[2]]
    facts = {"metric": goals[0].params["metric"], "validation_loss": best[0], "settings": best[1], "tried": tried,
             "num_trees": sum(best[1]["rounds"]) * (len(target.labels) if goals[0].params["objective"] == "multiclass" else 1)}
    if kind == "number" and config.loss == "l2":
        facts["validation_rmse"] = scale * float(np.sqrt(best[1]["losses"][0]))
    return Learnt(kind, texts, shift, scale, gains, facts)


def _standard(train: Rows, target: Column) -> tuple[float, float]:
    """Return mean and deviation of a number target: LightGBM holds labels as float32, which large offsets would spoil."""
    import numpy as np

    known = train.truth[target.name]
    known = known[np.isfinite(known)]
    return float(known.mean()), float(known.std()) or 1.0


def _sets(package: Any, goal: _Goal, splits: tuple[Rows, Rows], fixed: dict[str, Any], categories: list[int]) -> tuple[Any, Any]:
    blocks = [rows.chosen(keep) for rows, keep in zip(splits, goal.keep, strict=True)]
    train = package.Dataset(blocks[0], label=goal.truth[0], weight=goal.weights[0], params=dict(fixed),
                            categorical_feature=categories, free_raw_data=False)
    validation = package.Dataset(blocks[1], label=goal.truth[1], weight=goal.weights[1], params=dict(fixed), reference=train,
                                 categorical_feature=categories, free_raw_data=False)
    return train, validation


def _goals(config: LightGBM, target: Column, splits: tuple[Rows, Rows], standard: tuple[float, float]) -> Iterator[_Goal]:
    """Yield what each booster of a target learns."""
    import numpy as np

    from bessemer.models.lightgbm import OBJECTIVES

    truths = tuple(rows.truth[target.name] for rows in splits)
    kind = kind_of(target)
    if kind == "number":
        shift, scale = standard
        first = {"objective": OBJECTIVES[config.loss], "metric": {"l2": "l2", "l1": "l1", "huber": "huber"}[config.loss]}
        each: list[dict[str, Any]] = [first]
        each += [{"objective": "quantile", "alpha": level, "metric": "quantile"} for level in config.quantiles]
        for params in each:
            yield _goal(params, tuple((truth - shift) / scale for truth in truths), splits, [np.isfinite(truth) for truth in truths])
        return
    columns = [truths] if kind == "label" else [tuple(truth[:, label] for truth in truths) for label in range(len(target.labels))]
    for pair in columns:
        if kind == "label" and len(target.labels) > 2:
            params = {"objective": "multiclass", "num_class": len(target.labels), "metric": "multi_logloss"}
        else:
            params = {"objective": "binary", "metric": "binary_logloss"}
        goal = _goal(params, pair, splits, [codes >= 0 for codes in pair])
        yield _balanced(goal) if config.class_weight == "balanced" else goal


def _goal(params: dict[str, Any], truth: tuple[np.ndarray, ...], splits: tuple[Rows, Rows], keep: list[np.ndarray]) -> _Goal:
    return _Goal(params, (truth[0][keep[0]], truth[1][keep[1]]), (splits[0].weights[keep[0]], splits[1].weights[keep[1]]),
                 (keep[0], keep[1]))


def _balanced(goal: _Goal) -> _Goal:
    """Return the goal with training weights under which every class weighs the same in all; validation is left as it is."""
    import numpy as np

    codes = goal.truth[0].astype(np.int64)
    mass = np.bincount(codes, weights=goal.weights[0])
    factor = np.divide(mass.sum(), mass * np.count_nonzero(mass), out=np.zeros_like(mass), where=mass > 0)
    return _Goal(goal.params, goal.truth, (goal.weights[0] * factor[codes], goal.weights[1]), goal.keep)


def candidates(config: LightGBM, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `config.trials` settings: the config's own, then random ones; the i-th depends on (seed, i) alone."""
    import numpy as np

    own = {name: getattr(config, name) for name in ("learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction",
                                                    "bagging_fraction", "lambda_l1", "lambda_l2")}
    yield {**own, "bagging_freq": int(config.bagging_fraction < 1)}
    for trial in range(1, config.trials):
        rng = np.random.default_rng((seed, trial))

        def between(low: float, high: float, rng: np.random.Generator = rng) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        yield {"learning_rate": between(0.01, 0.2), "num_leaves": round(between(4, 256)), "min_data_in_leaf": round(between(1, 100)),
               "feature_fraction": float(rng.uniform(0.4, 1)), "bagging_fraction": float(rng.uniform(0.5, 1)),
               "lambda_l1": between(1e-8, 10), "lambda_l2": between(1e-8, 10), "bagging_freq": 1}
