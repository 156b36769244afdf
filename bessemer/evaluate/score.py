"""Everything that is said about one form of a model on one split, from its answers.

Legend: N rows, C classes, L labels, Q quantiles, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from bessemer.core.errors import GuardError, UserError, nearest
from bessemer.core.registry import plugins
from bessemer.core.types import Answer, Metric
from bessemer.evaluate._rows import flagged, held, labelled, valued
from bessemer.evaluate._sheets import sheet
from bessemer.evaluate._tags import has_spans, tagged

if TYPE_CHECKING:
    import numpy as np

MAIN: Mapping[str, tuple[str, ...]] = {
    "label": ("accuracy", "precision", "recall", "f1", "f1_micro", "f1_weighted", "roc_auc", "log_loss", "ece"),
    "number": ("r2", "rmse", "mae", "mse", "median_absolute_error", "mape", "pinball", "coverage", "interval_width"),
    "flags": ("f1_micro", "f1_macro", "subset_accuracy", "hamming_loss", "average_precision", "roc_auc"),
    "tags": ("accuracy", "span_f1", "span_precision", "span_recall"),
}
"""Kind of answer -> the metrics that every evaluation gives, by the names that users expect; those of quantiles where it has some."""

HEADLINES: Mapping[str, tuple[str, ...]] = {
    "label": ("accuracy", "recall", "f1"), "number": ("r2", "rmse", "mae"), "flags": ("f1_micro", "f1_macro", "subset_accuracy"),
    "tags": ("accuracy", "span_f1", "span_recall")}
QUANTILES_NEEDED = {"pinball": 1, "coverage": 2, "interval_width": 2}
_KINDS = {"label": "labels", "number": "numbers", "flags": "flags", "tags": "tags"}
TRUTHS = {"label": "label", "number": "value", "flags": "flags", "tags": "tags"}

CHUNK = 4_000_000
MAX_WORK = 200_000_000
BIAS = 0.25
"""Of the standard error: more than so much of it is not left in an interval."""


def named(name: str, kind: str = "label", quantiles: tuple[float, ...] = (), labels: tuple[str, ...] = ()) -> Metric:
    """Return a metric of a kind of answer by the name that users expect, an average as its ending: `f1`, `f1_micro`, `roc_auc`.

    Args:
        name: as in `MAIN[kind]`.
        kind: `"label"`, `"number"`, `"flags"` or `"tags"`.
        quantiles: the answer's levels, for a metric that is about them.
        labels: the answer's labels, for a metric that reads their names.

    Raises:
        UserError: no metric of this kind has this name (the nearest is given), or it needs quantiles and there are none.
    """
    known = plugins("evaluate")
    base, _, average = name.rpartition("_")
    ways: tuple[tuple[str, dict[str, Any]], ...] = (
        (name, {}), (f"{kind}_{name}", {}), (base, {"average": average}), (f"{kind}_{base}", {"average": average}))
    for plugin, settings in ways:
        if plugin not in known:
            continue
        fields = known[plugin].config.model_fields
        if settings and ("average" not in fields or average not in get_args(fields["average"].annotation)):
            continue
        if "quantiles" in fields:
            if not quantiles:
                raise UserError(f"metric '{name}' needs quantiles and the answer has none; choose another metric")
            settings = {"quantiles": quantiles}
        if "labels" in fields:
            settings = {"labels": labels}
        found: Metric = known[plugin].function(known[plugin].config.model_validate(settings))
        if found.kind == kind:
            return found
    other = next((theirs for theirs, names in MAIN.items() if name in names), None)
    if other is not None:
        raise UserError(f"metric '{name}' scores {_KINDS[other]}, not {_KINDS[kind]}; choose one of {', '.join(MAIN[kind])}")
    raise UserError(f"there is no metric '{name}'{nearest(name, MAIN[kind])}")


def headline(kind: str) -> tuple[str, ...]:
    """Return the three metrics that stand first in tables.

    >>> headline("number")
    ('r2', 'rmse', 'mae')
    """
    return HEADLINES[kind]


def larger_is_better(name: str, kind: str = "label") -> bool:
    """Return whether more of a metric is better.

    >>> larger_is_better("r2", "number"), larger_is_better("rmse", "number")
    (True, False)
    """
    return named(name, kind, quantiles=(0.5,)).higher_is_better


def applicable(answer: Answer) -> tuple[str, ...]:
    """Return the names in `MAIN` of an answer's kind that can be measured: those of quantiles only where it has enough."""
    return measurable(answer.kind, answer.quantiles, answer.labels)


def measurable(kind: str, quantiles: tuple[float, ...] = (), labels: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names in `MAIN` of a kind that can be measured: of quantiles where there are enough, of spans where tags mark some."""
    found = tuple(name for name in MAIN[kind] if len(quantiles) >= QUANTILES_NEEDED.get(name, 0))
    return tuple(name for name in found if not name.startswith("span_") or has_spans(labels))


def known_rows(truth: np.ndarray, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and values of the rows that have a truth, checked against the answer's shape.

    Raises:
        ValueError: the shapes do not belong together.
        GuardError: a number that was predicted is not finite.
    """
    import numpy as np

    if answer.kind == "tags":
        return _known_tags(truth, answer)
    width = answer.values.shape[1]
    expected = 1 + len(answer.quantiles) if answer.kind == "number" else len(answer.labels)
    if width != expected:
        raise ValueError(f"{len(answer.labels)} labels and {len(answer.quantiles)} quantiles do not fit {width} columns of values")
    if answer.kind == "label":
        return labelled(truth, answer.values)
    if answer.kind == "flags":
        return flagged(truth, answer.values)
    found, values = valued(truth, answer.values)
    wrong = ~np.isfinite(answer.values).all(axis=1)
    if wrong.any():
        raise GuardError(f"{int(wrong.sum()):,} of {len(wrong):,} predictions are not finite numbers, the first at row "
                         f"{int(wrong.argmax())}; they cannot be scored")
    return found, values


def _known_tags(truth: np.ndarray, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """Return the true tags and those that are said, int64 [m, T] each, of the rows that have some."""
    import numpy as np

    assert answer.offsets is not None
    size_N = np.diff(answer.offsets)
    known_N = (truth != -1).sum(axis=1)
    wrong = (known_N > 0) & (known_N != size_N)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"row {row} has {known_N[row]} tags and {size_N[row]} answers")
    said = np.full((len(size_N), max(int(size_N.max(initial=0)), truth.shape[1])), -1, np.int64)
    said[np.arange(said.shape[1]) < size_N[:, None]] = answer.values.argmax(axis=1)
    return tagged(truth, said[:, :truth.shape[1]])


def measure(truth: np.ndarray, answer: Answer) -> dict[str, float]:
    """Return name -> value of every main metric, without intervals; nan where undefined. For validation while training.

    Args:
        truth: as in `score`.
        answer: as in `score`.
    """
    truth, values = known_rows(truth, answer)
    found = {}
    for name in applicable(answer):
        metric = named(name, answer.kind, answer.quantiles, answer.labels)
        found[name] = float(metric.finalise(metric.update(None, _codes(truth), values)))
    return found


def _codes(truth: np.ndarray) -> np.ndarray:
    """Return flags as the ints that a metric takes; others as they are."""
    return truth.astype("int8") if truth.dtype == bool else truth


def affordable(num_rows: int, num_classes: int, resamples: int) -> int:
    """Return how many resamples are drawn: all that were asked for, fewer (at least 100) on very large sets."""
    work = max(1, num_rows * max(2, num_classes))
    return min(resamples, max(100, MAX_WORK // work))


def resampled(num_rows: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield bootstrap weights float64 [r, N] in chunks of bounded memory; resample i depends on (seed, i, N) alone."""
    import numpy as np

    step = max(1, CHUNK // max(1, num_rows))
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        table = np.empty((stop - start, num_rows))
        for index in range(start, stop):
            drawn = np.random.default_rng((seed, index)).integers(0, num_rows, num_rows)
            table[index - start] = np.bincount(drawn, minlength=num_rows)
        yield table


def interval(values: np.ndarray, value: float, rows: int = 0) -> tuple[float | None, float | None]:
    """Return the central 95% of resampled values [R], leaving out undefined ones; (None, None) where none is left.

    Where every row is right, or every one wrong, so is every resample: then one end is the exact limit of a share, see `least_share`.

    A mean over many rare labels is lower in nearly every resample than over the rows themselves, as a resample holds fewer of them. Where
    that bias is more than a quarter of the standard error (Efron & Tibshirani 1993, section 10.2, would not ignore it then), the interval
    is moved by it.

    Args:
        values: of the resamples.
        value: of the rows themselves.
        rows: how many there are; 0 where the value is no share of them.
    """
    import numpy as np

    defined = values[~np.isnan(values)]
    if not len(defined):
        return None, None
    if rows and value in (0.0, 1.0) and (defined == value).all():
        return (least_share(rows), 1.0) if value else (0.0, 1 - least_share(rows))
    low, high = (float(end) for end in np.percentile(defined, (2.5, 97.5)))
    bias = float(defined.mean()) - value
    if abs(bias) <= BIAS * float(defined.std()):
        return low, high
    least, most = (0.0 if defined.min() >= 0 else -math.inf), (1.0 if defined.max() <= 1 else math.inf)
    return min(value, max(least, low - bias)), max(value, min(most, high - bias))


def least_share(rows: int) -> float:
    """Return the lower end of the exact 95% interval of a share that all of so many rows have (Clopper & Pearson 1934).

    >>> round(least_share(16), 3)
    0.794
    """
    return float(0.025 ** (1 / rows))


def number(value: float) -> float | None:
    """Return a number that JSON can hold: None where it is undefined."""
    return None if math.isnan(value) else float(value)


def score(truth: np.ndarray, answer: Answer, seed: int, resamples: int = 1000) -> dict[str, Any]:
    """Score an answer by every main metric of its kind, each with a percentile bootstrap 95% interval over the same resamples.

    Args:
        truth: label: int [N], class codes, below 0 where a row has none; number: float [N], nan where a row has none; flags: int
            [N, L] of 0 and 1, below 0 where a row has none. Rows without a truth are left out.
        answer: of the same N rows.
        seed: keys the resamples.
        resamples: how many to draw; fewer on very large sets, the number is in the result.

    Returns:
        JSON values: kind, rows, unlabelled, seed, resamples; metrics: name -> value, low, high (None: undefined). Label: labels;
        per_class; confusion [C][C] (rows are truth); roc: label, auc, fpr, tpr (≤ 200 points, ≤ 10 classes); calibration: low, high,
        confidence, accuracy, count of each bin that holds rows. Number: scatter: [truth, estimate] of ≤ 300 rows, evenly by position;
        residuals: edges, counts, lowest, highest, mean, median of truth - estimate; quantiles, where the answer has some: level, below
        (share of rows whose truth is at most the quantile). Flags: labels; per_label: label, precision, recall, f1, support,
        average_precision, roc_auc.

    Raises:
        UserError: no row has a truth.
        GuardError: a number that was predicted is not finite.
    """
    given = len(truth)
    truth, values = known_rows(truth, answer)
    if not len(truth):
        raise UserError(f"none of the {given:,} rows to score has a {TRUTHS[answer.kind]}; give rows with a known {TRUTHS[answer.kind]}")
    metrics = {name: named(name, answer.kind, answer.quantiles, answer.labels) for name in applicable(answer)}
    states = {name: metric.update(None, _codes(truth), values) for name, metric in metrics.items()}
    drawn = affordable(len(truth), len(answer.labels), resamples)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in metrics}
    for weights in resampled(len(truth), seed, drawn):
        for name, metric in metrics.items():
            parts[name].append(metric.finalise(states[name], weights))
    found = {name: _entry(float(metric.finalise(states[name])), parts[name], len(truth) if metric.share else 0)
             for name, metric in metrics.items()}
    return {"kind": answer.kind, "rows": len(truth), "unlabelled": given - len(truth), "seed": seed, "resamples": drawn, "metrics": found,
            **sheet(truth, replace(answer, values=values, spread=None, offsets=None))}


def _entry(value: float, parts: list[np.ndarray], rows: int) -> dict[str, float | None]:
    """Return a value with its interval; of an undefined value no resample says anything."""
    import numpy as np

    low, high = interval(np.concatenate(parts), value, rows) if parts and not math.isnan(value) else (None, None)
    return {"value": number(value), "low": low, "high": high}


def most_confident_errors(truth: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Return positions int64 [≤ k] of wrong rows, the most confident first (ties by position)."""
    import numpy as np

    truth = np.asarray(truth)
    wrong = np.flatnonzero((truth >= 0) & (probabilities.argmax(axis=1) != truth))
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:k]


def worst(truth: np.ndarray, answer: Answer, k: int) -> np.ndarray:
    """Return positions int64 [≤ k] of the rows that are most wrong, the worst first (ties by position).

    Label: the most confident errors. Number: the largest absolute errors. Flags: rows with a wrong flag, the most confident flag first.
    Tags: rows with the most wrong tags.
    """
    import numpy as np

    if answer.kind == "label":
        return most_confident_errors(truth, answer.values, k)
    if answer.kind == "number":
        away = np.abs(np.asarray(truth, dtype=np.float64) - answer.values[:, 0])
        known = np.flatnonzero(~np.isnan(away) & (away > 0))
    elif answer.kind == "tags":
        kept = np.flatnonzero((np.asarray(truth) != -1).any(axis=1))
        right, said = _known_tags(truth, answer)
        away = np.zeros(len(truth))
        away[kept] = (right != said).sum(axis=1)
        known = np.flatnonzero(away)
    else:
        flags = np.asarray(truth)
        away = np.abs(flags - answer.values.astype(np.float64)).max(axis=1, initial=0.0)
        known = np.flatnonzero((flags >= 0).all(axis=1) & (held(answer.values) != (flags > 0)).any(axis=1))
    return known[np.argsort(-away[known], kind="stable")][:k]
