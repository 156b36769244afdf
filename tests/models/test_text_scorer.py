"""TF-IDF asked without scikit-learn says what scikit-learn says, whatever the language, and a row says the same alone and among others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from bessemer.models import _text_scorer
from bessemer.models._text_scorer import scorer_of
from bessemer.models._text_terms import NGRAMS, TOKEN, Analyzer, Terms

TEXTS = ["The cat sat, the CAT ran!", "质量很好，很好。物流慢", "ดีมาก ไม่ดี", "İstanbul straße ẞ", "שלום עולם", "a", "! ?",
         "été  déjà\tvu\nété",
         "xyzzy " * 40, "supercalifragilisticexpialidocious" * 2, "one two three one two"]
NEW = [*TEXTS, "", "nothing known Ω", "the the the cat", "好很"]


def plain(analyzer: Analyzer) -> TfidfVectorizer:
    return TfidfVectorizer(analyzer=analyzer, ngram_range=NGRAMS[analyzer], sublinear_tf=True,
                           token_pattern=TOKEN if analyzer == "word" else None)


@pytest.mark.parametrize("analyzer", ["word", "char_wb", "both"])
def test_scores_are_scikit_learns(analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_text_scorer, "MOST", 3)  # words are forgotten on the way
    terms = Terms.of(analyzer, len(TEXTS), 100_000)
    terms.fit_transform(TEXTS)
    parts = ("word", "char_wb") if analyzer == "both" else (analyzer,)
    x_NT = np.concatenate([plain(part).fit(TEXTS).transform(NEW).toarray() for part in parts], axis=1)
    assert x_NT.shape[1] == len(terms.names)
    draw = np.random.default_rng(0)
    coef, intercept = draw.normal(size=(3, x_NT.shape[1])).astype(np.float32), draw.normal(size=3)
    scorer = scorer_of(terms.kept, terms.names, terms.idf, (coef, intercept))
    found = scorer.scores(NEW)
    np.testing.assert_allclose(found, x_NT @ coef.T + intercept, rtol=1e-5, atol=1e-5)
    for row, text in enumerate(NEW):
        assert np.array_equal(scorer.scores([text])[0], found[row])
    assert scorer.scores([]).shape == (0, 3)
