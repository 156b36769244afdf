"""MLP over the columns of a table: one network of dense (or, from birth, sparse) layers."""

from __future__ import annotations

from bessemer.core.registry import register
from bessemer.core.types import Model
from bessemer.models._table import TableModel, build


class Mlp(TableModel):
    """A multi-layer perceptron."""

    batch_norm: bool = False
    """Normalise each hidden layer over the batch (Ioffe & Szegedy 2015)."""


@register("models", "mlp")
def mlp(config: Mlp) -> Model:
    """Return the model."""
    return Model(build=lambda spec: build(config, spec, 1), table=True)
