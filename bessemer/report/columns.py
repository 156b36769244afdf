"""The pieces of a report that are about a table's columns, and about a later update of the model."""

from __future__ import annotations

from bessemer.report.part import Part, Value


class Association(Part):
    """How a column goes with one target, in the training rows."""

    target: str
    """The target."""
    measure: str
    """`pearson`, `spearman`, `eta` or `cramers_v`."""
    value: float
    """1 or -1 where one gives the other."""


class ColumnRow(Part):
    """What one input column holds."""

    name: str
    """The column."""
    kind: str = ""
    """Its modality."""
    missing: float | None = None
    """Share of training rows without a value."""
    missing_test: float | None = None
    """The same of the test rows."""
    distinct: int | None = None
    """Different values, in a sample where there are many rows."""
    edges: tuple[float, ...] = ()
    """Of the histogram of a number, rising."""
    values: tuple[str, ...] = ()
    """The most frequent values of a category."""
    train: tuple[float, ...] = ()
    """Share of the training rows in each bin of the histogram, or that have each of the values."""
    test: tuple[float, ...] = ()
    """The same of the test rows."""
    drift: float | None = None
    """How far the test rows are from the training rows (population stability index)."""
    associations: tuple[Association, ...] = ()
    """With each target the strongest measure."""
    flags: tuple[str, ...] = ()
    """What a person should look at."""


class UpdateRow(Part):
    """One score before and after an update."""

    data: str
    """`old` or `new` rows."""
    metric: str
    """Which score."""
    before: float | None = None
    """Of the model before."""
    after: float | None = None
    """Of the model after."""
    difference: Value = Value()
    """After - before with its paired interval."""


class DriftRow(Part):
    """How far new rows are from old ones in one column."""

    column: str
    """The column."""
    psi: float | None = None
    """Population stability index."""
    note: str = ""
    """What else was found."""


class Update(Part):
    """What an update decided, and from what."""

    stage: str
    """The stage's name."""
    decision: str
    """`promoted` or `kept aside`."""
    reason: str = ""
    """One sentence."""
    table: tuple[UpdateRow, ...] = ()
    """Before and after, over old and new rows."""
    drift: tuple[DriftRow, ...] = ()
    """The columns, the most changed first."""
