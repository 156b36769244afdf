"""What a report is made from: plain values in frozen models, so that the same results give the same bytes.

Everything but the title is optional; a section whose data are absent is left out.
"""

from __future__ import annotations

from bessemer.report.columns import ColumnRow, Update
from bessemer.report.front import Front
from bessemer.report.part import Part
from bessemer.report.sheets import Comparison, Evaluation, Form, Overlap, Target


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
    row: dict[str, str] = {}
    """The row's first columns as shown; shown in place of the text where there are several."""
    predicted: str
    """The most probable class, the number, or the labels that hold."""
    confidence: float | None = None
    """Probability of the class."""
    spread: str = ""
    """How far the model's members disagree, as shown."""
    truth: str | None = None
    """The truth, if known."""
    right: bool | None = None
    """Whether they are the same; None where that says nothing, as of numbers."""


class Suspects(Part):
    """Rows whose label looks wrong."""

    sentence: str
    """How many there are, and so how much is left to gain."""
    note: str = ""
    """How they were found."""
    total: int
    """How many there are."""
    rows: tuple[Example, ...] = ()
    """The surest; `predicted` is what the row looks to be, `truth` its label."""


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
    reads: str = "text"
    """What a row is: `text`, or `table`."""
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
    reference: str = "torch fp32"
    """The form that speeds are compared with."""
    comparisons: tuple[Comparison, ...] = ()
    """Paired comparisons."""
    fronts: tuple[Front, ...] = ()
    """What searches under a budget found."""
    curves: tuple[Curve, ...] = ()
    """Training curves a stage."""
    evaluation: Evaluation | None = None
    """Score sheet of the final form, of the first target."""
    others: tuple[Target, ...] = ()
    """Further targets."""
    updates: tuple[Update, ...] = ()
    """What updates decided."""
    columns: tuple[ColumnRow, ...] = ()
    """The input columns of a table, those that go most with a target first."""
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
    suspects: tuple[Suspects, ...] = ()
    """Labels that look wrong."""
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
