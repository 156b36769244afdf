"""What a report is made from: plain values in frozen models, so that the same results give the same bytes.

Everything but the title is optional; a section whose data are absent is left out.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen piece of a report; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Value(Part):
    """A number with its 95% interval; None where it is undefined or was not measured."""

    value: float | None = None
    """The point estimate."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end of the interval."""


class Headline(Part):
    """One of the numbers at the top."""

    label: str
    """What it is, in two or three words."""
    value: str
    """The number, formatted with its unit."""
    note: str = ""
    """Its interval, or what it is compared with."""
    tone: str = ""
    """`good`, `bad`, or nothing."""


class Form(Part):
    """One form of the model: the network in torch, a graph in float or int8, the baseline."""

    name: str
    """Shown to people."""
    accuracy: Value = Value()
    """On the test split."""
    recall: Value = Value()
    """Macro, on the test split."""
    f1: Value = Value()
    """Macro, on the test split."""
    size_bytes: int | None = None
    """Of the files that prediction needs."""
    latency_median_ms: float | None = None
    """One row at a time."""
    latency_p95_ms: float | None = None
    """One row at a time, the slowest of twenty."""
    speedup: float | None = None
    """How many times faster than torch fp32 (median)."""
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
    a_value: float | None = None
    """Score of the first."""
    b_value: float | None = None
    """Score of the second."""
    difference: Value
    """a - b with its paired interval."""
    p: float | None = None
    """McNemar's exact p."""
    verdict: str = ""
    """`better`, `worse` or `no difference`."""


class Curve(Part):
    """The training curves of one stage."""

    stage: str
    """The stage's name."""
    points: tuple[dict[str, float | None], ...]
    """Each has `step`, perhaps `epoch`, and any of: names with `loss`, `learning_rate`, `grad_norm`, other scores."""
    alarm: str = ""
    """The overfitting alarm, one sentence, or nothing."""
    best_step: int | None = None
    """The step whose weights were kept."""


class ClassRow(Part):
    """Scores of one class."""

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


class Evaluation(Part):
    """The score sheet of the final form; takes the result of `evaluate.score.score` as it is."""

    rows: int = 0
    """Labelled rows scored."""
    unlabelled: int = 0
    """Rows without a label, left out."""
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


class Funnel(Part):
    """What became of the rows of one source."""

    source: str
    """Its name."""
    rows_in: int
    """Rows read."""
    rejected: dict[str, int] = {}
    """Reason -> rows."""
    rows_out: int
    """Rows kept."""


class Split(Part):
    """One split of the prepared data."""

    name: str
    """train, validation, test."""
    rows: int
    """How many."""
    labels: dict[str, int] = {}
    """Label -> rows."""


class Quarantined(Part):
    """One row that was rejected."""

    source: str
    """Where it came from."""
    row: int
    """Its number there, from 1."""
    reason: str
    """Why."""
    content: str
    """What it was."""


class Example(Part):
    """One prediction."""

    text: str
    """What was read."""
    predicted: str
    """The most probable class."""
    confidence: float
    """Its probability."""
    truth: str | None = None
    """The true class, if known."""


class Stage(Part):
    """What one stage cost."""

    name: str
    """Its name in the recipe."""
    seconds: float
    """Wall time of the run that made it."""
    peak_memory_bytes: int | None = None
    """Highest resident memory."""
    disk_bytes: int | None = None
    """Size of its artifact."""


class Command(Part):
    """What to type next."""

    command: str
    """The line."""
    about: str = ""
    """What it does."""


class Card(Part):
    """What only the model card says."""

    licence: str = ""
    """SPDX identifier, lower case (`apache-2.0`); left out when unknown."""
    language: tuple[str, ...] = ()
    """ISO 639-1 codes."""
    tags: tuple[str, ...] = ()
    """Further tags."""
    base_model: str = ""
    """The weights that training started from."""
    intended_use: str = ""
    """A paragraph; a general one stands in its place."""
    training: str = ""
    """A paragraph on how it was trained."""
    limitations: tuple[str, ...] = ()
    """Sentences beside the general ones."""
    usage: str = ""
    """Python code; a general snippet stands in its place."""


class ReportData(Part):
    """Everything that a report and a model card show."""

    title: str
    """The recipe's name, for people."""
    summary: str = ""
    """One paragraph."""
    lang: str = "en"
    """Language of the report's own words, for the `lang` attribute."""
    data_name: str = ""
    """Name of the data set."""
    task: str = "text-classification"
    """The Hugging Face task identifier."""
    split: str = "test"
    """The split that the scores are of."""
    finished: str = ""
    """When the run ended, from its manifests; the only time that is shown."""
    headlines: tuple[Headline, ...] = ()
    """The numbers at the top; made from the forms where none are given."""
    forms: tuple[Form, ...] = ()
    """Every form, the most exact first."""
    comparisons: tuple[Comparison, ...] = ()
    """Paired comparisons."""
    curves: tuple[Curve, ...] = ()
    """Training curves a stage."""
    evaluation: Evaluation | None = None
    """Score sheet of the final form."""
    overlaps: tuple[Overlap, ...] = ()
    """Scores with and without overlapping rows."""
    looks: int | None = None
    """How often the test split was looked at."""
    funnel: tuple[Funnel, ...] = ()
    """Rows by source."""
    splits: tuple[Split, ...] = ()
    """Rows by split."""
    quarantine: tuple[Quarantined, ...] = ()
    """Examples of rejected rows."""
    examples: tuple[Example, ...] = ()
    """Predictions."""
    errors: tuple[Example, ...] = ()
    """The most confident errors, the worst first."""
    stages: tuple[Stage, ...] = ()
    """Costs."""
    host: dict[str, str] = {}
    """The machine that times were measured on."""
    environment: dict[str, str] = {}
    """Package -> version."""
    recipe: str = ""
    """The resolved recipe, YAML."""
    commands: tuple[Command, ...] = ()
    """What to do next."""
    card: Card = Card()
    """What only the model card says."""
