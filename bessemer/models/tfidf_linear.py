"""The classical baseline: TF-IDF of word and character n-grams and a linear model, through scikit-learn.

Saved without pickle: vocabulary.json, weights.safetensors (idf, coef, intercept), linear.json (settings).
Legend: N rows, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of, register
from bessemer.core.schema import Column, Role
from bessemer.core.types import FitSpec, Modality, Model
from bessemer.models._table_rows import present_in, truth_of
from bessemer.models._text_linear import Loss, Rows, Solver, Truth, Weighting, Weights, answers_of, quality
from bessemer.models._text_terms import Analyzer, Terms

if TYPE_CHECKING:
    import numpy as np

FILES = ("linear.json", "vocabulary.json", "weights.safetensors")
_FACT = {"label": "validation_accuracy", "flags": "validation_micro_f1", "number": "validation_mse"}


class TfidfLinear(Config):
    """The grid, chosen from on the validation split alone."""

    analyzers: tuple[Analyzer, ...] = Field(("char_wb", "word", "both"), min_length=1)
    """Kinds of terms to try: char_wb (1 to 4 characters inside words: any language), word (1 and 2 words), both beside each other."""
    losses: tuple[Loss, ...] = Field(("squared_hinge", "logistic"), min_length=1)
    """What to learn labels by: a linear support-vector machine, whose margins are made probabilities by the validation rows, or logistic
    regression. All are tried with the first kind of terms, the better one with the others. A number is learnt by least squares."""
    weightings: tuple[Weighting, ...] = Field(("idf",), min_length=1)
    """How a term of labels counts: idf, by how rare it is; ratio, also by how much more often it stands in texts of the label than in
    others (naive Bayes' log-count ratio, Wang & Manning 2012), which often suits opinions. All are tried with the first kind of terms, the
    better one with the others."""
    c: tuple[float, ...] = Field((1.0, 4.0, 16.0, 64.0), min_length=1)
    """Inverse strengths of the L2 penalty to try, one after another while the validation rows do not get worse; of a squared hinge a
    sixteenth of each, which is as strong."""
    max_features: int = Field(100_000, ge=1)
    """At most so many terms of a kind, the most frequent ones."""
    max_iter: int = Field(1000, ge=1)
    """Most iterations of the solver."""
    later: ClassVar[Mapping[str, Any]] = {"weightings": ("idf",)}


@register("models", "tfidf_linear", revision=3)
def tfidf_linear(config: TfidfLinear) -> Model:
    """Return a model of its own: no network, it fits itself."""

    def fit(spec: FitSpec) -> dict[str, Any]:
        return _fit(config, spec)

    return Model(fit=fit)


def _fit(config: TfidfLinear, spec: FitSpec) -> dict[str, Any]:
    """Fit every candidate, keep the best on validation (the first of equals), write it, return facts."""
    from threadpoolctl import threadpool_limits

    text = spec.schema.only(Role.INPUT, "text")
    target, kind = target_of(spec.schema.by_role(Role.TARGET))
    train_texts, train_truth = _rows(spec.train, text.name, target)
    valid_texts, valid_truth = _rows(spec.validation, text.name, target)
    _check(train_truth, valid_truth, target, kind)
    best: tuple[tuple[float, float], Terms, Weights, dict[str, Any]] | None = None
    tried: list[dict[str, Any]] = []
    ways = _ways(config, kind)
    for analyzer in config.analyzers:
        terms = Terms.of(analyzer, len(train_texts), config.max_features)
        train, valid = Rows(terms.fit_transform(train_texts), train_truth), Rows(terms.transform(valid_texts), valid_truth)
        for loss, weighting in ways:
            before: tuple[float, float] | None = None
            for c in config.c:
                with threadpool_limits(1):  # the products are sparse: threads only wait for one another
                    weights = Solver(kind, loss, config.max_iter, spec.seed, weighting).solve(train, valid, _strength(kind, loss, c))
                found = quality(kind, answers_of(kind, len(target.labels), weights)(valid.terms), valid_truth)
                way = {"analyzer": analyzer, **({} if kind == "number" else {"loss": loss, "weighting": weighting}), "c": c}
                tried.append({**way, _FACT[kind]: abs(found[0])})
                if best is None or found > best[0]:
                    best = (found, terms, weights, way)
                if before is not None and found[0] < before[0]:
                    break
                before = found
        assert best is not None
        ways = [(best[3].get("loss", ways[0][0]), best[3].get("weighting", "idf"))]
    assert best is not None
    chosen, terms, weights, way = best
    _save(spec.out, terms, weights, {**terms.kept, **way, "kind": kind, "labels": list(target.labels)})
    return {_FACT[kind]: abs(chosen[0]), **way, "tried": tried, "num_terms": len(terms.names), "num_train_rows": len(train_texts)}


def _ways(config: TfidfLinear, kind: Truth) -> list[tuple[Loss, Weighting]]:
    """Return what is tried with the first kind of terms; a number knows neither a loss nor labels to weigh by."""
    return [(config.losses[0], "idf")] if kind == "number" else list(product(config.losses, config.weightings))


def _strength(kind: Truth, loss: Loss, c: float) -> float:
    """Return the solver's own inverse strength: a squared hinge pulls some sixteen times as hard as the logistic loss."""
    return c / 16 if loss == "squared_hinge" and kind != "number" else c


def target_of(targets: Sequence[Column]) -> tuple[Column, Truth]:
    """Return the one target and its kind; several, or a kind that is not learnt here, is a UserError."""
    if len(targets) != 1:
        names = ", ".join(column.name for column in targets) or "none"
        raise UserError(f"the model 'tfidf_linear' learns one target, the data have {len(targets)} ({names}); prepare them with one "
                        "target, or choose a network, which learns several at once")
    config = make("modalities", dict(targets[0].modality))
    modality: Modality = plugin_of("modalities", config).function(config)
    kind = modality.answer
    if kind not in _FACT:
        raise UserError(f"the target '{targets[0].name}' is of kind '{targets[0].modality['kind']}', which the model 'tfidf_linear' does "
                        "not learn; expected a label (category), several labels a row (multilabel) or a number; choose a network")
    return targets[0], kind  # type: ignore[return-value]


def _rows(read: Callable[[], Any], text: str, target: Column) -> tuple[list[str], np.ndarray]:
    """Return the texts and truths of the rows that have a label."""
    import numpy as np

    texts: list[str] = []
    truths = []
    for table in read():
        truth = truth_of(table, target)
        known = present_in(truth)
        texts.extend(table[text].filter(known).to_pylist())
        truths.append(truth[known])
    return texts, np.concatenate(truths) if truths else np.zeros(0, np.int64)


def _check(train: np.ndarray, valid: np.ndarray, target: Column, kind: Truth) -> None:
    import numpy as np

    labels = target.labels
    if kind == "label":
        if len(labels) < 2:
            raise UserError(f"the target '{target.name}' has {len(labels)} label(s) in the training data; a classifier "
                            "needs two or more")
        missing = np.flatnonzero(np.bincount(train, minlength=len(labels)) == 0)
        if len(missing):
            raise GuardError(f"the label '{labels[missing[0]]}' of '{target.name}' never occurs in the training data; "
                             "remove it from the data or give rows that have it")
    if not len(valid):
        raise UserError(f"the validation split has no row with a label for '{target.name}'; the baseline's "
                        "settings are chosen by it")
    if not len(train):
        raise UserError(f"the training split has no row with a value for '{target.name}'; give rows that have one")


def _save(folder: Path, terms: Terms, weights: Weights, settings: dict[str, Any]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    (folder / "vocabulary.json").write_text(json.dumps(terms.names, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "linear.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({"idf": np.ascontiguousarray(terms.idf), "coef": np.ascontiguousarray(weights.coef, np.float32),
               "intercept": np.ascontiguousarray(weights.intercept)}, folder / "weights.safetensors")


def load_linear(folder: Path, prefix: str = "") -> Callable[[list[str]], np.ndarray]:
    """Return (texts) -> float32 [N, C] probabilities, or float64 [N, 1] numbers, of a folder that `fit` wrote: scikit-learn's, but for the
    last digit of float32, without it; `prefix`: with what the names of its files begin.
    """
    from safetensors.numpy import load_file

    from bessemer.models._text_scorer import link_of, scorer_of

    settings_file, terms_file, weights_file = (folder / f"{prefix}{name}" for name in FILES)
    for file in (settings_file, terms_file, weights_file):
        if not file.is_file():
            raise UserError(f"'{folder}' has no {file.name}; expected a folder of the model 'tfidf_linear'")
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    tensors = load_file(weights_file)
    terms = json.loads(terms_file.read_text(encoding="utf-8"))
    scorer = scorer_of(settings, terms, tensors["idf"], (tensors["coef"], tensors["intercept"]))
    link = link_of(settings.get("kind", "label"), len(settings["labels"]))
    return lambda texts: link(scorer.scores(texts))
