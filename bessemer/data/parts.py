"""The size of a split: a fraction below 1, or a whole number of rows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _part(value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("expected a fraction from 0 to below 1, or a whole number of rows")
    if isinstance(value, float) and not 0 <= value < 1 or value < 0:
        raise ValueError("expected a fraction from 0 to below 1, or a whole number of rows")
    return value


Part = Annotated[float | int, BeforeValidator(_part)]
