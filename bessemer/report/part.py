"""The base of every piece of a report, and a number with its interval."""

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
