"""The classical baseline: TF-IDF of word or character n-grams and logistic regression, through scikit-learn.

Saved without pickle: vocabulary.json, weights.safetensors (idf, coef, intercept), linear.json (settings).
Legend: N rows, T terms, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.registry import register
from bessemer.core.schema import Role
from bessemer.core.types import FitSpec, Model

if TYPE_CHECKING:
    import numpy as np

Analyzer = Literal["word", "char_wb"]
# Words of any script and single symbols (emoji, punctuation): a text that is not empty always has a term.
_TOKEN = r"(?u)\w+|[^\w\s]"
_NGRAMS: dict[str, tuple[int, int]] = {"word": (1, 2), "char_wb": (1, 4)}
# Terms of one document only are dropped from this many rows on: they cannot help and are most of the vocabulary.
_ROWS_FOR_MIN_DF = 1000


class TfidfLinear(Config):
    """The grid, chosen from on the validation split alone."""

    analyzers: tuple[Analyzer, ...] = Field(("word", "char_wb"), min_length=1)
    """Kinds of terms to try: word (1 and 2 words), char_wb (1 to 4 characters inside words: any language)."""
    c: tuple[float, ...] = Field((1.0, 4.0, 16.0, 64.0), min_length=1)
    """Inverse strengths of the L2 penalty to try, one after another while the validation rows do not get worse."""
    max_features: int = Field(100_000, ge=1)
    """At most so many terms, the most frequent ones."""
    max_iter: int = Field(1000, ge=1)
    """Most iterations of the solver."""


@register("models", "tfidf_linear")
def tfidf_linear(config: TfidfLinear) -> Model:
    """Return a model of its own: no network, it fits itself."""

    def fit(spec: FitSpec) -> dict[str, Any]:
        return _fit(config, spec)

    return Model(fit=fit)


def _fit(config: TfidfLinear, spec: FitSpec) -> dict[str, Any]:
    """Fit every candidate, keep the best on validation (the first of equals), write it, return facts."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    text, target = spec.schema.only(Role.INPUT, "text"), spec.schema.only(Role.TARGET, "category")
    train_texts, train_codes = _rows(spec.train, text.name, target.name)
    valid_texts, valid_codes = _rows(spec.validation, text.name, target.name)
    _check(train_codes, valid_codes, target.labels, target.name)
    best: tuple[float, Any, Any, dict[str, Any]] | None = None
    tried = []
    for analyzer in config.analyzers:
        min_df = 2 if len(train_texts) >= _ROWS_FOR_MIN_DF else 1
        settings: dict[str, Any] = {"analyzer": analyzer, "ngram_range": list(_NGRAMS[analyzer]),
                                    "sublinear_tf": True, "min_df": min_df, "max_features": config.max_features}
        vectorizer = _vectorizer(settings)
        train_NT, valid_NT = vectorizer.fit_transform(train_texts), vectorizer.transform(valid_texts)
        before = 0.0
        for c in config.c:
            linear = LogisticRegression(C=c, max_iter=config.max_iter, random_state=spec.seed)
            with threadpool_limits(1):  # the products are sparse: threads only wait for one another
                linear.fit(train_NT, train_codes)
            accuracy = float((linear.predict(valid_NT) == valid_codes).mean())
            tried.append({"analyzer": analyzer, "c": c, "validation_accuracy": accuracy})
            if best is None or accuracy > best[0]:
                best = (accuracy, vectorizer, linear, {**settings, "c": c})
            if accuracy < before:
                break
            before = accuracy
    assert best is not None
    accuracy, vectorizer, linear, settings = best
    _save(spec.out, vectorizer, linear, {**settings, "labels": list(target.labels)})
    return {"validation_accuracy": accuracy, "analyzer": settings["analyzer"], "c": settings["c"], "tried": tried,
            "num_terms": len(vectorizer.vocabulary_), "num_train_rows": len(train_texts)}


def _vectorizer(settings: dict[str, Any], vocabulary: dict[str, int] | None = None) -> Any:
    """Return scikit-learn's vectorizer for saved settings; with a vocabulary it is ready for its idf."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    limits = {} if vocabulary else {"min_df": settings["min_df"], "max_features": settings["max_features"]}
    return TfidfVectorizer(
        analyzer=settings["analyzer"], ngram_range=tuple(settings["ngram_range"]),
        sublinear_tf=settings["sublinear_tf"],
        token_pattern=_TOKEN if settings["analyzer"] == "word" else None, vocabulary=vocabulary, **limits)


def _rows(read: Callable[[], Any], text: str, target: str) -> tuple[list[str], np.ndarray]:
    """Return the texts and codes of the labelled rows."""
    import numpy as np

    texts: list[str] = []
    codes = [np.zeros(0, np.int64)]
    for table in read():
        code_N = table[target].to_numpy().astype(np.int64)
        texts.extend(table[text].filter(code_N >= 0).to_pylist())
        codes.append(code_N[code_N >= 0])
    return texts, np.concatenate(codes)


def _check(train_codes: np.ndarray, valid_codes: np.ndarray, labels: tuple[str, ...], target: str) -> None:
    import numpy as np

    if len(labels) < 2:
        raise UserError(f"the target '{target}' has {len(labels)} label(s) in the training data; a classifier "
                        "needs two or more")
    missing = np.flatnonzero(np.bincount(train_codes, minlength=len(labels)) == 0)
    if len(missing):
        raise GuardError(f"the label '{labels[missing[0]]}' of '{target}' never occurs in the training data; "
                         "remove it from the data or give rows that have it")
    if not len(valid_codes):
        raise UserError(f"the validation split has no row with a label for '{target}'; the baseline's "
                        "settings are chosen by it")


def _save(folder: Path, vectorizer: Any, linear: Any, settings: dict[str, Any]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    (folder / "vocabulary.json").write_text(json.dumps(terms, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "linear.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file({"idf": np.ascontiguousarray(vectorizer.idf_), "coef": np.ascontiguousarray(linear.coef_),
               "intercept": np.ascontiguousarray(linear.intercept_)}, folder / "weights.safetensors")


def load_linear(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """Return (texts) -> float32 [N, C] probabilities of a folder that `fit` wrote, by the same scikit-learn objects."""
    import numpy as np
    from safetensors.numpy import load_file
    from sklearn.linear_model import LogisticRegression

    for name in ("linear.json", "vocabulary.json", "weights.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"'{folder}' has no {name}; expected a folder of the model 'tfidf_linear'")
    settings = json.loads((folder / "linear.json").read_text(encoding="utf-8"))
    terms = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "weights.safetensors")
    vectorizer = _vectorizer(settings, {term: index for index, term in enumerate(terms)})
    vectorizer.idf_ = tensors["idf"]
    linear = LogisticRegression()
    linear.classes_ = np.arange(len(settings["labels"]))
    linear.coef_, linear.intercept_ = tensors["coef"], tensors["intercept"]

    def predict(texts: list[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, len(settings["labels"])), np.float32)
        result: np.ndarray = linear.predict_proba(vectorizer.transform(texts)).astype(np.float32)
        return result

    return predict
