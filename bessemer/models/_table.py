"""What the networks for tables share: their settings, and how they are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.types import BuildSpec

if TYPE_CHECKING:
    import torch


class TableModel(Config):
    """What every network for tables has."""

    hidden_sizes: tuple[Annotated[int, Field(ge=1, le=10_000_000)], ...] = (192, 192)
    """Width of each hidden layer; none makes an affine map."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the hidden units that each training step leaves out."""
    activation: Literal["relu", "gelu", "silu"] = "relu"
    """After each hidden layer."""
    residual: bool = False
    """A layer of equal width adds its input."""
    linear_skip: bool = False
    """An affine map from the inputs straight to the outputs is added."""
    number_embedding: Literal["none", "linear", "piecewise", "periodic"] = "none"
    """What each number becomes before the first layer (Gorishniy et al. 2022)."""
    number_embedding_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Values a number becomes."""
    frequency_scale: Annotated[float, Field(gt=0)] = 0.02
    """Standard deviation of the initial frequencies; with number_embedding: periodic."""
    category_embedding_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Values a category becomes at most; those of few values are one-hot."""
    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the hidden layers' connections that do not exist, from birth: they are neither stored nor computed."""
    sparse_pattern: Literal["random", "block", "group"] = "random"
    """Which connections exist; with a sparsity above 0."""
    regrow: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of a sparse layer's connections, the weakest, that are replaced by new ones at a time while training (SET: Mocanu et al. 2018);
    it falls to 0 in a half cosine over the first three quarters of the steps (RigL: Evci et al. 2020)."""
    regrow_every: Annotated[int, Field(ge=1)] = 100
    """Steps between two such replacements."""
    regrow_by: Literal["random", "gradient"] = "random"
    """Which connections are new: random ones (SET), or those with the largest gradients of the loss on the step's batch (RigL), at the
    price of one dense product at each replacement."""

    @model_validator(mode="after")
    def _effective(self) -> TableModel:
        if self.sparse_pattern != "random" and not self.sparsity:
            raise ValueError("sparse_pattern has no effect without a sparsity above 0")
        if self.regrow and not self.sparsity:
            raise ValueError("regrow has no effect without a sparsity above 0")
        if self.regrow_by != "random" and not self.regrow:
            raise ValueError("regrow_by has no effect without a regrow above 0")

        def given(name: str) -> bool:  # a recipe that was resolved names the defaults too
            return bool(getattr(self, name) != type(self).model_fields[name].default)

        if given("frequency_scale") and self.number_embedding != "periodic":
            raise ValueError("frequency_scale has an effect with number_embedding: periodic alone")
        if given("number_embedding_size") and self.number_embedding == "none":
            raise ValueError("number_embedding_size has no effect with number_embedding: none")
        return self


def build(config: TableModel, spec: BuildSpec, count: int) -> torch.nn.Module:
    """Return the network for the columns of `spec.info` and `spec.outputs` raw outputs, or that of an earlier stage's folder."""
    from bessemer.nn.table import TableConfig, TableNetwork, load_table_network

    if spec.weights is not None:
        network = load_table_network(spec.weights)
        if (network.config.num_numbers, network.config.num_outputs) != (spec.info["numbers"], spec.outputs):
            found = network.config
            raise UserError(f"'{spec.weights}' reads {found.num_numbers} numbers and gives {found.num_outputs} outputs, the "
                            f"data have {spec.info['numbers']} and {spec.outputs}; prepare the new data as the old were")
        return network
    plain = config.model_dump(exclude={"regrow", "regrow_every", "regrow_by"})
    shape = TableConfig(num_numbers=spec.info["numbers"], cardinalities=tuple(spec.info["cardinalities"]), num_outputs=spec.outputs,
                        **{"members": count, "adapters": "none", "batch_norm": False, **plain})
    if config.number_embedding != "piecewise":
        return TableNetwork(shape)
    import torch

    return TableNetwork(shape, [torch.tensor(edges, dtype=torch.float32) for edges in spec.info["edges"]])
