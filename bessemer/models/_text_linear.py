"""Linear models over the terms of texts: how one is solved, what it answers, and how wrong it is.

A squared hinge knows no probabilities: its margins are scaled by the one number with which the validation rows are likeliest
(temperature scaling, Guo et al. 2017), which is kept in its weights. Each row counts a little for the other classes too, as in Platt
(1999), so that few rows that are all right do not make the model sure of everything.

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
    """

    kind: Truth
    loss: Loss
    max_iter: int
    seed: int

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
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        if self.loss == "logistic":
            found = LogisticRegression(C=c, max_iter=self.max_iter, random_state=self.seed).fit(train.terms, train.truth)
            return Weights(found.coef_, found.intercept_)
        found = LinearSVC(C=c, max_iter=self.max_iter, random_state=self.seed, dual="auto").fit(train.terms, train.truth)
        return _scaled(Weights(found.coef_, found.intercept_), valid)

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
