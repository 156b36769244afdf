"""The terms of texts, weighed by TF-IDF: of words, of characters inside words, or of both beside each other.

Legend: N rows, T terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

Analyzer = Literal["char_wb", "word", "both"]
ROWS_FOR_MIN_DF = 1000
"""From so many training rows on a term must occur in two of them."""

TOKEN = r"(?u)\w+|[^\w\s]"
"""A word is a run of word characters; any other sign that is no space is a term of its own."""
NGRAMS: dict[str, tuple[int, int]] = {"word": (1, 2), "char_wb": (1, 4)}


@dataclass(frozen=True)
class Terms:
    """One or two of scikit-learn's vectorizers, whose terms stand beside each other.

    Attributes:
        settings: what makes them again: analyzer, sublinear_tf, min_df, max_features and, of one alone, ngram_range.
        parts: the vectorizers, in the order of their columns.
    """

    settings: Mapping[str, Any]
    parts: tuple[Any, ...]

    @staticmethod
    def of(analyzer: Analyzer, rows: int, max_features: int) -> Terms:
        """Return terms that are still to be fitted to so many rows."""
        settings: dict[str, Any] = {"analyzer": analyzer, "sublinear_tf": True, "min_df": 2 if rows >= ROWS_FOR_MIN_DF else 1,
                                    "max_features": max_features}
        if analyzer != "both":
            settings["ngram_range"] = list(NGRAMS[analyzer])
        return Terms(settings, tuple(_vectorizer(item, settings) for item in _analyzers(settings)))

    def fit_transform(self, texts: Sequence[str]) -> csr_matrix:
        """Learn the terms of these texts; return their weights, [N, T]."""
        return _beside([part.fit_transform(texts) for part in self.parts])

    def transform(self, texts: Sequence[str]) -> csr_matrix:
        """Return the weights of texts, [N, T]."""
        return _beside([part.transform(texts) for part in self.parts])

    @property
    def names(self) -> list[str]:
        """The terms in the order of their columns."""
        return [term for part in self.parts for term in sorted(part.vocabulary_, key=part.vocabulary_.__getitem__)]

    @property
    def idf(self) -> np.ndarray:
        """Each term's inverse document frequency, float64 [T]."""
        import numpy as np

        return np.concatenate([part.idf_ for part in self.parts])

    @property
    def kept(self) -> dict[str, Any]:
        """The settings that say what the columns are."""
        more = {"first_terms": len(self.parts[0].vocabulary_)} if len(self.parts) > 1 else {}
        return {**self.settings, **more}


def _analyzers(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return ("word", "char_wb") if settings["analyzer"] == "both" else (settings["analyzer"],)


def _vectorizer(analyzer: str, settings: Mapping[str, Any]) -> Any:
    """Return scikit-learn's vectorizer."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=analyzer, ngram_range=tuple(settings.get("ngram_range", NGRAMS[analyzer])),
                           sublinear_tf=settings["sublinear_tf"], token_pattern=TOKEN if analyzer == "word" else None,
                           min_df=settings["min_df"], max_features=settings["max_features"])


def _beside(parts: Sequence[Any]) -> Any:
    from scipy.sparse import hstack

    return parts[0] if len(parts) == 1 else hstack(parts, format="csr")
