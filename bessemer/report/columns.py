"""The pieces of a report that are about a table's columns, and about a later update of the model."""

from __future__ import annotations

from bessemer.report.part import Part, Value


class ColumnRow(Part):
    """What one input column holds."""

    name: str
    """The column."""
    kind: str = ""
    """Its modality."""
    missing: float | None = None
    """Share of rows without a value."""
    distinct: int | None = None
    """Different values."""
    edges: tuple[float, ...] = ()
    """Of the histogram of a number, rising."""
    counts: tuple[float, ...] = ()
    """Rows in each bin of the histogram, or of each of the most frequent values."""
    values: tuple[str, ...] = ()
    """The most frequent values of a category, as long as counts."""
    drift: float | None = None
    """How far the test rows are from the training rows (population stability index)."""
    correlation: float | None = None
    """With the target, on the training rows."""
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
