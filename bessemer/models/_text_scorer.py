"""A linear model over the terms of texts, asked: each row alone, without scikit-learn, so that a row costs a fraction of a millisecond.

The terms are those that `_text_terms` learns by scikit-learn's vectorizers: words and pairs of words, or one to four characters inside
words, counted, 1 + log(count) times the inverse document frequency, each kind of length 1. What the characters of a word are is
remembered. A row's answer never depends on the rows beside it.

Legend: T terms, O outputs (1 for two classes or a number), C classes, K terms of a row.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bessemer.models._text_terms import NGRAMS, TOKEN, Analyzer

if TYPE_CHECKING:
    import numpy as np

    from bessemer.models._text_linear import Truth

MOST, LONGEST = 50_000, 32
"""Words whose characters are remembered, and the longest of them; a text without spaces is one word, and seldom comes twice."""
FREQUENT = 10_000
"""Of the words that are terms themselves so many, the most frequent ones, are known from the start: most of what a new text holds."""

_words = re.compile(TOKEN).findall


@dataclass
class TermScorer:
    """Scores of texts by weights of terms.

    Attributes:
        parts: each kind of terms with the column of each term.
        ranges: fewest and most words, or characters, of a term, by kind.
        idf_T: inverse document frequency, float64.
        coef_TO: float32.
        intercept_O: float64.
    """

    parts: Sequence[tuple[Analyzer, Mapping[str, int]]]
    ranges: Mapping[str, tuple[int, int]]
    idf_T: np.ndarray
    coef_TO: np.ndarray
    intercept_O: np.ndarray
    remembered: dict[str, array[int]] = field(default_factory=dict)

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Return raw scores, float64 [N, O]."""
        import numpy as np

        found_NO = np.empty((len(texts), len(self.intercept_O)))
        for row, text in enumerate(texts):
            found_NO[row] = self.score(text)
        return found_NO

    def score(self, text: str) -> np.ndarray:
        """Return the raw scores of one text, float64 [O]."""
        import numpy as np

        low = text.lower()
        score_O = self.intercept_O.copy()
        for analyzer, places in self.parts:
            found = self._of_words(low, places) if analyzer == "word" else self._of_characters(low, places)
            if found:
                place_K, count_K = _counted(np.frombuffer(found, np.int64))
                weight_K = (1.0 + np.log(count_K)) * self.idf_T[place_K]
                weight_K /= math.sqrt(weight_K @ weight_K)
                score_O += weight_K.astype(np.float32) @ self.coef_TO.take(place_K, axis=0)
        return score_O

    def learn_words(self, words: Sequence[str]) -> None:
        """Remember the characters of words that will come often."""
        for analyzer, places in self.parts:
            if analyzer == "char_wb":
                self._of_characters(" ".join(words), places)

    def _of_words(self, text: str, places: Mapping[str, int]) -> array[int]:
        words = _words(text)
        least, most = self.ranges["word"]
        terms = list(words) if least == 1 else []
        for size in range(max(2, least), most + 1):
            terms += map(" ".join, zip(*(words[start:] for start in range(size)), strict=False))
        return _known(terms, places)

    def _of_characters(self, text: str, places: Mapping[str, int]) -> array[int]:
        found = array("q")
        for word in text.split():
            known = self.remembered.get(word)
            if known is None:
                known = _known(_inside(f" {word} ", *self.ranges["char_wb"]), places)
                if len(word) <= LONGEST:
                    if len(self.remembered) >= MOST:
                        self.remembered.clear()
                    self.remembered[word] = known
            found.extend(known)
        return found


def _known(terms: Sequence[str], places: Mapping[str, int]) -> array[int]:
    return array("q", [place for place in map(places.get, terms) if place is not None])


def _inside(word: str, least: int, most: int) -> list[str]:
    """Return each part of `least` to `most` characters; a word that is shorter than a size is one part, once.

    >>> _inside(" ab ", 3, 5)
    [' ab', 'ab ', ' ab ']
    """
    found: list[str] = []
    for size in range(least, most + 1):
        found += [word[start:start + size] for start in range(max(1, len(word) - size + 1))]
        if len(word) <= size:
            break
    return found


def _counted(place_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different numbers in their order, and how often each occurs."""
    import numpy as np

    place_K.sort()
    start_K = np.concatenate(([0], np.flatnonzero(place_K[1:] != place_K[:-1]) + 1, [len(place_K)]))
    return place_K[start_K[:-1]], start_K[1:] - start_K[:-1]


def scorer_of(settings: Mapping[str, Any], terms: Sequence[str], idf_T: np.ndarray, weights: tuple[np.ndarray, np.ndarray]) -> TermScorer:
    """Return the scorer of what `Terms.kept`, `names` and `idf` gave, and the weights coef [O, T] and intercept [O]."""
    import numpy as np

    both = settings["analyzer"] == "both"
    analyzers: tuple[Analyzer, ...] = ("word", "char_wb") if both else (settings["analyzer"],)
    ends = [int(settings["first_terms"]), len(terms)] if both else [len(terms)]
    parts, start = [], 0
    for analyzer, end in zip(analyzers, ends, strict=True):
        parts.append((analyzer, {term: place for place, term in enumerate(terms[start:end], start)}))
        start = end
    ranges: dict[str, tuple[int, int]] = {name: tuple(settings.get("ngram_range", size)) for name, size in NGRAMS.items()}
    coef, intercept = weights
    made = TermScorer(parts, ranges, idf_T.astype(np.float64), np.ascontiguousarray(coef.T, np.float32), intercept.astype(np.float64))
    if both:
        single = [place for place, term in enumerate(terms[:ends[0]]) if " " not in term]
        made.learn_words([terms[place] for place in sorted(single, key=idf_T.__getitem__)[:FREQUENT]])
    return made


def link_of(kind: Truth, classes: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return (scores [N, O]) -> probabilities float32 [N, C] or [N, L], or numbers float64 [N, 1]."""
    import numpy as np

    if kind == "number":
        return lambda score_NO: score_NO
    if kind == "flags":
        return lambda score_NL: _sigmoid(score_NL).astype(np.float32)

    def classified(score_NO: np.ndarray) -> np.ndarray:
        if score_NO.shape[1] == 1 and classes == 2:
            sure_N = _sigmoid(score_NO[:, 0])
            return np.stack([1 - sure_N, sure_N], axis=1).astype(np.float32)
        power_NC = np.exp(score_NO - score_NO.max(axis=1, keepdims=True, initial=-np.inf))
        found: np.ndarray = (power_NC / power_NC.sum(axis=1, keepdims=True)).astype(np.float32)
        return found

    return classified


def _sigmoid(x: np.ndarray) -> np.ndarray:
    import numpy as np

    found: np.ndarray = np.exp(-np.logaddexp(0.0, -x))
    return found
