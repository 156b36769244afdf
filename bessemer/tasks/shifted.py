"""Labels of one kind of text learnt for another: rows weighted by how much they resemble the texts without a label.

Covariate shift (Shimodaira 2000), its weights from a classifier of the domain (Bickel, Brückner & Scheffer 2007,
https://doi.org/10.1145/1273496.1273507).

Legend: N rows, S rows with a label (source), U rows without (target domain), V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.schema import Role
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Loss, Task
from bessemer.tasks.classification import Classification, classification

if TYPE_CHECKING:
    import numpy as np
    import torch

FOLDS = 5


class Shifted(Config):
    """How rows with a label are weighted."""

    flatten: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Weights are raised to this power: 1 corrects the whole shift, less of it keeps more rows in effect (Shimodaira 2000)."""
    limit: Annotated[float, Field(gt=1)] = 10.0
    """No weight is more than this many times the mean one."""
    c: Annotated[float, Field(gt=0)] = 1.0
    """The domain classifier's C: smaller is smoother."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a label's mass spread over all classes."""
    target: str | None = None
    """The target column; data of several targets are learnt by supervised."""


@register("tasks", "shifted")
def shifted(config: Shifted, spec: TaskSpec) -> Task:
    """Return the task: classification of the rows with a label, each weighted by p(target domain | text) / p(source | text).

    The target domain's rows are those without a label (prepare's `unlabelled: keep`); none of them is a UserError. A validation split is
    scored by its labels, unweighted.
    """
    import numpy as np

    labelled = classification(Classification(target=config.target, label_smoothing=config.label_smoothing), spec)
    name = config.target or spec.schema.by_role(Role.TARGET)[0].name
    if spec.fitted_on is not None:
        return replace(labelled, name="shifted")
    known_N = spec.stored(name) >= 0
    if known_N.all():
        raise UserError("the task shifted adapts to texts without a label, and every training row has one; give the target domain's texts "
                        "as a further source and keep them by prepare's 'unlabelled: keep', or take the task classification")
    order_S = np.flatnonzero(known_N)
    weight_S = weights_of(counts_of(spec), known_N, config, spec.seed)

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        found = labelled.batch(order_S[positions_B], epoch)
        assert found.weights is not None
        return replace(found, weights=found.weights * torch.from_numpy(weight_S[positions_B]))

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        return labelled.loss(network, batch)

    assert labelled.costs is not None
    return replace(labelled, name="shifted", batch=batch, loss=loss, count=len(order_S), costs=labelled.costs[order_S])


def counts_of(spec: TaskSpec) -> Any:
    """Return which tokens each text has, as a scipy CSR matrix float32 [N, V] of rows of length 1; of pairs, both texts' tokens."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    rows, found = spec.take(np.arange(spec.count)), csr_matrix((spec.count, int(spec.codec.info["vocab_size"])), dtype=np.float32)
    for name in (spec.column, spec.second):
        if name:
            stored = rows[f"{name}.ids"].combine_chunks()
            ids, starts = stored.flatten().to_numpy().copy(), stored.offsets.to_numpy() - stored.offsets[0].as_py()
            found = found + csr_matrix((np.ones(len(ids), np.float32), ids, starts), shape=found.shape)
    found.data[:] = 1
    return normalize(found)


def weights_of(features_NV: Any, known_N: np.ndarray, config: Shifted, seed: int) -> np.ndarray:
    """Return a weight for each row with a label, float32 [S], mean 1.

    p(target | x) / p(source | x) x S / U is the ratio of the densities (Bickel et al. 2007, equation 9). Each row is judged by a logistic
    regression of the other folds' rows, so that none is told from the target domain by its own words alone.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    if min(known_N.sum(), (~known_N).sum()) < FOLDS:
        raise UserError(f"the task shifted tells {int(known_N.sum())} rows with a label from {int((~known_N).sum())} without; give {FOLDS} "
                        "of each at least")
    said_N2 = cross_val_predict(LogisticRegression(C=config.c, max_iter=1000), features_NV, known_N, cv=folds, method="predict_proba")
    ratio_S = (said_N2[known_N, 0] / said_N2[known_N, 1]) ** config.flatten
    weight_S = np.minimum(ratio_S / ratio_S.mean(), config.limit)
    found: np.ndarray = (weight_S / weight_S.mean()).astype(np.float32)
    return found
