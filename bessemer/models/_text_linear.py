"""Linear models over the terms of texts: how one is solved, what it answers, and how wrong it is.

A squared hinge knows no probabilities: its margins are scaled by the one number with which the validation rows are likeliest
(temperature scaling, Guo et al. 2017), which is kept in its weights. Each row counts a little for the other classes too, as in Platt
(1999), so that few rows that are all right do not make the model sure of everything.

Where terms are weighed by ratio, each is also multiplied by how much more often it stands in texts of a class than in all others (naive
Bayes' log-count ratio: Wang & Manning 2012, Baselines and Bigrams), one class against the others at a time. The factors then stand in the
weights, so that what is solved answers as any other.

Legend: N rows, T terms, C classes, O outputs (1 for two classes or a number), L labels of which several may hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

Loss = Literal["squared_hinge", "logistic"]
Weighting = Literal["idf", "ratio"]
Truth = Literal["label", "flags", "number"]
_TINY = 1e-15


@dataclass(frozen=True)
class Weights:
    """A solved model: coef float64 [O, T], intercept float64 [O]."""

    coef: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows to learn from or to choose by: terms [N, T]; truth int64 [N] codes, int64 [N, L] flags or float64 [N]."""

    terms: csr_matrix
    truth: np.ndarray


@dataclass(frozen=True)
class Solver:
    """What is solved, and how.

    Attributes:
        kind: label, flags or number.
        loss: of labels and flags; a number is learnt by its squared error.
        max_iter: most iterations of the solver.
        seed: of the coordinate descent.
        weighting: whether a term of labels and flags counts by its log-count ratio too.
    """

    kind: Truth
    loss: Loss
    max_iter: int
    seed: int
    weighting: Weighting = "idf"

    def solve(self, train: Rows, valid: Rows, c: float) -> Weights:
        """Fit with this inverse strength of the L2 penalty."""
        import numpy as np
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is the user's bound; what is good enough the validation rows say
            if self.kind == "flags":
                parts = [self._flag(train, valid, place, c) for place in range(train.truth.shape[1])]
                return Weights(np.concatenate([part.coef for part in parts]), np.concatenate([part.intercept for part in parts]))
            if self.kind == "number":
                from sklearn.linear_model import Ridge

                found = Ridge(alpha=1 / c, solver="sparse_cg", max_iter=self.max_iter).fit(train.terms, train.truth)
                return Weights(np.atleast_2d(found.coef_), np.atleast_1d(found.intercept_))
            return self._classes(train, valid, c)

    def _classes(self, train: Rows, valid: Rows, c: float) -> Weights:
        if self.weighting == "ratio":
            return self._by_ratio(train, valid, c)
        found = self._solved(train, c)
        return _scaled(found, valid) if self.loss == "squared_hinge" else found

    def _by_ratio(self, train: Rows, valid: Rows, c: float) -> Weights:
        """Fit each class against all others (of two, the second), its terms times their ratios; margins and logits alike are scaled."""
        import numpy as np

        classes = np.unique(train.truth)
        parts = []
        for code in classes[1:] if len(classes) == 2 else classes:
            own = train.truth == code
            ratio_T = log_count_ratio(train.terms, own)
            found = self._solved(Rows(_times(train.terms, ratio_T), own.astype(np.int64)), c)
            parts.append(Weights(found.coef * ratio_T, found.intercept))
        return _scaled(Weights(np.concatenate([part.coef for part in parts]), np.concatenate([part.intercept for part in parts])), valid)

    def _solved(self, train: Rows, c: float) -> Weights:
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        if self.loss == "logistic":
            found: Any = LogisticRegression(C=c, max_iter=self.max_iter, random_state=self.seed)
        else:
            found = LinearSVC(C=c, max_iter=self.max_iter, random_state=self.seed, dual="auto")
        found.fit(train.terms, train.truth)
        return Weights(found.coef_, found.intercept_)

    def _flag(self, train: Rows, valid: Rows, place: int, c: float) -> Weights:
        """Fit one label by the rows that have it or do not; where all are alike, it is what they are."""
        import numpy as np

        found = []
        for rows in (train, valid):
            known = rows.truth[:, place] >= 0
            found.append(Rows(rows.terms[known], rows.truth[known, place]))
        share = (found[0].truth.sum() + 0.5) / (len(found[0].truth) + 1)
        if len(np.unique(found[0].truth)) < 2:
            return Weights(np.zeros((1, train.terms.shape[1])), np.array([np.log(share / (1 - share))]))
        return self._classes(found[0], found[1], c)


def log_count_ratio(terms: csr_matrix, own: np.ndarray) -> np.ndarray:
    """Return log((p / |p|) / (q / |q|)) of each term, float64 [T]: p and q are one more than the texts that have it in a class (`own`,
    bool [N]) and in all others (Wang & Manning 2012, equation 2, of binary counts).
    """
    import numpy as np

    counts = []
    for rows in (own, ~own):
        counts.append(1.0 + np.bincount(terms[rows].indices, minlength=terms.shape[1]))
    p_T, q_T = counts
    found: np.ndarray = np.log((p_T / p_T.sum()) / (q_T / q_T.sum()))
    return found


def _times(terms: csr_matrix, factor_T: np.ndarray) -> csr_matrix:
    """Return the terms of each row times a factor; where they stand is shared, not copied."""
    from scipy.sparse import csr_matrix

    return csr_matrix((terms.data * factor_T[terms.indices], terms.indices, terms.indptr), shape=terms.shape)


def scores(terms: csr_matrix, weights: Weights) -> np.ndarray:
    """Return the raw scores of rows, float64 [N, O]."""
    import numpy as np

    found: np.ndarray = np.asarray(terms @ weights.coef.T) + weights.intercept
    return found


def answers_of(kind: Truth, classes: int, weights: Weights) -> Callable[[csr_matrix], np.ndarray]:
    """Return (terms) -> probabilities float32 [N, C] or [N, L], or numbers float64 [N, 1]; of classes as scikit-learn gives them."""
    import numpy as np
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression

    if kind == "number":
        return lambda terms: scores(terms, weights)
    if kind == "flags":
        return lambda terms: expit(scores(terms, weights)).astype(np.float32)
    linear: Any = LogisticRegression()
    linear.classes_, linear.coef_, linear.intercept_ = np.arange(classes), weights.coef, weights.intercept
    return lambda terms: linear.predict_proba(terms).astype(np.float32)


def quality(kind: Truth, said: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Return what is chosen by, larger is better, then what decides between equals.

    Of labels that is the accuracy, of flags the micro F1, then the log likelihood; of numbers the mean squared error.
    """
    import numpy as np

    if kind == "number":
        return -float(np.square(said[:, 0] - truth).mean()), 0.0
    if kind == "label":
        likely = said[np.arange(len(truth)), truth].astype(np.float64)
        return float((said.argmax(1) == truth).mean()), float(np.log(np.maximum(likely, _TINY)).mean())
    known, holds = truth >= 0, said > 0.5
    hits = float((holds & (truth == 1)).sum())
    wrong = float((holds[known] != (truth[known] == 1)).sum())
    likely = np.where(truth == 1, said, 1 - said)[known].astype(np.float64)
    return 2 * hits / max(1.0, 2 * hits + wrong), float(np.log(np.maximum(likely, _TINY)).mean())


def _scaled(found: Weights, valid: Rows) -> Weights:
    """Return margins as logits: times the number with which the validation rows are likeliest."""
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if not len(valid.truth):
        return found
    score_NO = scores(valid.terms, found)
    score_NC = np.concatenate([np.zeros_like(score_NO), score_NO], axis=1) if score_NO.shape[1] == 1 else score_NO
    rows, classes = score_NC.shape
    aim_NC = np.full((rows, classes), 1 / (rows + classes))
    aim_NC[np.arange(rows), valid.truth] = (rows + 1) / (rows + classes)

    def loss(power: float) -> float:
        return -float((aim_NC * log_softmax(score_NC * np.exp(power), axis=1)).sum())

    scale = float(np.exp(minimize_scalar(loss, bounds=(-4.0, 5.0), method="bounded").x))
    return Weights(found.coef * scale, found.intercept * scale)
