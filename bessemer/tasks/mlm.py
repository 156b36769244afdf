"""The masked language model with dynamic masking (Devlin et al. 2019, section 3.1; Liu et al. 2019, section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.registry import register
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Loss, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.nn.network import Network


class Mlm(Config):
    """How many tokens are hidden and how."""

    mask_probability: float = Field(0.15, gt=0, lt=1)
    """Share of the ordinary tokens that are predicted; at least one a row."""
    replaced: float = Field(0.8, ge=0, le=1)
    """Share of those that are shown as the mask token."""
    randomised: float = Field(0.1, ge=0, le=1)
    """Share of those that are shown as a random token; the rest are shown as they are."""

    @model_validator(mode="after")
    def _shares(self) -> Mlm:
        if self.replaced + self.randomised > 1:
            raise ValueError("'replaced' and 'randomised' are shares of the same tokens; together they are at most 1")
        return self


@register("tasks", "mlm")
def mlm(config: Mlm, spec: TaskSpec) -> Task:
    """Return the task; masks depend on (seed, epoch, row id, position) alone; epoch -1 is validation's."""
    import numpy as np

    from bessemer.nn.masking import Masking

    masking = Masking.of(spec.codec.info, config.mask_probability, config.replaced, config.randomised)

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        from bessemer.nn.masking import mask_tokens

        rows = spec.take(positions_B)
        arrays = spec.inputs(rows)
        row_ids_B = rows["row_id"].to_numpy()
        arrays, hidden_N = mask_tokens(masking, arrays, row_ids_B, spec.seed, epoch)
        return Batch(
            inputs={spec.column: {name: torch.from_numpy(array) for name, array in arrays.items()}},
            targets={"mlm": torch.from_numpy(hidden_N)}, present={"mlm": torch.ones(len(row_ids_B), dtype=torch.bool)},
            weights=torch.ones(len(row_ids_B)), row_ids=torch.tensor(row_ids_B),
            task_ids=torch.zeros(len(row_ids_B), dtype=torch.int64))

    def loss(network: torch.nn.Module, batch: Batch) -> Loss:
        from bessemer.nn.masking import masked_loss

        net, inputs = cast("Network", network), batch.inputs[spec.column]
        hidden_BLD = net.encode(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
        total, sums, per_row_B = masked_loss(net, hidden_BLD, inputs["masked_positions"], batch.targets["mlm"])
        return Loss(total, sums, per_row_B)

    costs = np.minimum(spec.lengths.astype(np.int64) + 2, spec.max_length)
    return Task(name="mlm", heads=("mlm",), batch=batch, loss=loss, costs=costs, count=spec.count,
                mass=lambda batch: len(batch.targets["mlm"]))
