"""Members: many sub-networks over the columns of a table that share their weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bessemer.core.registry import register
from bessemer.core.types import Model
from bessemer.models._table import TableModel, build


class Members(TableModel):
    """Many members that share their weights: the large model of sub-networks (TabM: Gorishniy et al. 2024; Wen et al. 2020)."""

    members: Annotated[int, Field(ge=2, le=1024)] = 8
    """Sub-networks k."""
    hidden_sizes: tuple[Annotated[int, Field(ge=1, le=10_000_000)], ...] = (256, 256)
    """Width of each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Part of the hidden units that each training step leaves out."""
    adapters: Literal["full", "mini"] = "full"
    """What is a member's own: scales and biases of every layer (full), or of the first alone (mini)."""
    member_features: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Part of the features that each member attends to."""
    number_embedding: Literal["none", "linear", "piecewise", "periodic"] = "piecewise"
    """What each number becomes before the first layer."""
    number_embedding_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Values a number becomes."""


@register("models", "members")
def members(config: Members) -> Model:
    """Return the model."""
    return Model(build=lambda spec: build(config, spec, config.members), table=True)
