"""The pieces of a report that come from score sheets: forms, comparisons, the evaluation of each kind of answer."""

from __future__ import annotations

from bessemer.report.part import Part, Value


class Form(Part):
    """One form of the model: the network in torch, a graph in float or int8, the baseline."""

    name: str
    """Shown to people."""
    metrics: dict[str, Value] = {}
    """The scores that stand first for its kind of answer, on the test split."""
    size_bytes: int | None = None
    """Of the files that prediction needs."""
    latency_median_ms: float | None = None
    """One row at a time."""
    latency_p95_ms: float | None = None
    """One row at a time, the slowest of twenty."""
    speedup: float | None = None
    """How many times faster than the reference (median)."""
    final: bool = False
    """Whether this is the form that the run delivers."""
    note: str = ""
    """One remark, such as the parity that was found."""


class Comparison(Part):
    """Two forms on the same rows, from `evaluate.paired`."""

    question: str
    """What the comparison answers: "Did pretraining help?"."""
    a: str
    """Name of the first."""
    b: str
    """Name of the second."""
    metric: str = "accuracy"
    """Which score is compared."""
    target: str = ""
    """Of which target, where there are several."""
    a_value: float | None = None
    """Score of the first."""
    b_value: float | None = None
    """Score of the second."""
    difference: Value
    """a - b with its paired interval."""
    p: float | None = None
    """McNemar's exact p, of labels."""
    verdict: str = ""
    """`better` (the first is), `worse` or `no difference`."""


class ClassRow(Part):
    """Scores of one class, or of one label among flags."""

    label: str
    """Its name."""
    precision: float
    """Of what was predicted as this class."""
    recall: float
    """Of what truly is this class."""
    f1: float
    """Their harmonic mean."""
    support: int
    """Rows that truly are this class."""
    average_precision: float | None = None
    """Of flags: the area under precision by recall."""
    roc_auc: float | None = None
    """Of flags: the area under the ROC curve."""


class Roc(Part):
    """One ROC curve."""

    label: str
    """The class held against the rest."""
    auc: float
    """Area under it."""
    fpr: tuple[float, ...]
    """False positive rates, rising."""
    tpr: tuple[float, ...]
    """True positive rates, rising."""


class Bin(Part):
    """One bin of the reliability diagram."""

    low: float
    """Lower edge of confidence."""
    high: float
    """Upper edge of confidence."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share of right rows."""
    count: int
    """Rows in it."""


class Residuals(Part):
    """How truth - estimate is spread."""

    edges: tuple[float, ...]
    """Of the bins, rising."""
    counts: tuple[int, ...]
    """Rows in each bin; the outer ones hold what lies beyond."""
    lowest: float
    """Of all."""
    highest: float
    """Of all."""
    mean: float
    """Of all: the bias."""
    median: float
    """Of all."""


class Quantile(Part):
    """One predicted quantile held against the truth."""

    level: float
    """What it says."""
    below: float
    """Share of rows whose truth is at most the quantile."""


class Evaluation(Part):
    """The score sheet of one form and one target; takes the result of `evaluate.score.score` as it is."""

    kind: str = "label"
    """`label`, `number` or `flags`."""
    target: str = ""
    """The column."""
    rows: int = 0
    """Rows with a truth, which are scored."""
    unlabelled: int = 0
    """Rows without a truth, left out."""
    seed: int = 0
    """Keys the resamples."""
    resamples: int = 0
    """Bootstrap resamples behind each interval."""
    labels: tuple[str, ...] = ()
    """Class names in code order."""
    metrics: dict[str, Value] = {}
    """Name -> value with interval."""
    per_class: tuple[ClassRow, ...] = ()
    """One row a class."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Counts; rows are truth."""
    roc: tuple[Roc, ...] = ()
    """Curves."""
    calibration: tuple[Bin, ...] = ()
    """Bins that hold rows."""
    per_label: tuple[ClassRow, ...] = ()
    """Of flags: one row a label."""
    scatter: tuple[tuple[float, float], ...] = ()
    """Of numbers: (truth, estimate) of some rows."""
    residuals: Residuals | None = None
    """Of numbers."""
    quantiles: tuple[Quantile, ...] = ()
    """Of numbers with quantiles."""


class Target(Part):
    """One further target: its scores by form, and the sheet of the final form."""

    name: str
    """The column."""
    forms: tuple[Form, ...] = ()
    """Every form's scores of this target."""
    evaluation: Evaluation
    """Of the final form."""


class Overlap(Part):
    """A score with and without the test rows that also stand in training."""

    metric: str
    """Which score."""
    everything: Value
    """On all test rows."""
    distinct: Value
    """Without the overlapping ones."""
    rows: int
    """All test rows."""
    overlapping: int
    """How many of them stand in training as well."""
