"""Masked language model and next-sentence prediction (Devlin et al. 2019, section 3.1): BERT's own pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.registry import register
from bessemer.core.task_spec import TaskSpec
from bessemer.core.types import Batch, Loss, Task

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bessemer.nn.network import Network

_ROWS_A_SCAN = 8192


class MlmNsp(Config):
    """How many tokens are hidden and how; pairs are half true, half from another row."""

    mask_probability: float = Field(0.15, gt=0, lt=1)
    """Share of the ordinary tokens that are predicted; at least one a row."""
    replaced: float = Field(0.8, ge=0, le=1)
    """Share of those that are shown as the mask token."""
    randomised: float = Field(0.1, ge=0, le=1)
    """Share of those that are shown as a random token; the rest are shown as they are."""

    @model_validator(mode="after")
    def _shares(self) -> MlmNsp:
        if self.replaced + self.randomised > 1:
            raise ValueError("'replaced' and 'randomised' are shares of the same tokens; together they are at most 1")
        return self


@register("tasks", "mlm_nsp")
def mlm_nsp(config: MlmNsp, spec: TaskSpec) -> Task:
    """Return the task: rows of several sentences are split at a keyed boundary, rows of one train the masks alone."""
    import numpy as np

    from bessemer.nn.masking import Masking

    if spec.second:
        raise UserError(f"next-sentence prediction makes its own pairs and the data hold pairs ('{spec.column}', '{spec.second}'); take "
                        "the task 'mlm'")
    masking = Masking.of(spec.codec.info, config.mask_probability, config.replaced, config.randomised)
    multi_M = _multi(spec)

    def batch(positions_B: np.ndarray, epoch: int) -> Batch:
        import torch

        from bessemer.nn.masking import mask_tokens

        arrays, label_B, paired_B, row_ids_B = _pairs(spec, multi_M, positions_B, epoch)
        arrays, hidden_N = mask_tokens(masking, arrays, row_ids_B, spec.seed, epoch)
        return Batch(
            inputs={spec.column: {name: torch.from_numpy(array) for name, array in arrays.items()}},
            targets={"mlm": torch.from_numpy(hidden_N), "nsp": torch.from_numpy(label_B)},
            present={"mlm": torch.ones(len(row_ids_B), dtype=torch.bool), "nsp": torch.from_numpy(paired_B)},
            weights=torch.ones(len(row_ids_B)), row_ids=torch.tensor(row_ids_B),
            task_ids=torch.zeros(len(row_ids_B), dtype=torch.int64))

    costs = np.minimum(spec.lengths.astype(np.int64) + 3, spec.max_length)
    return Task(name="mlm_nsp", heads=("mlm", "nsp"), batch=batch, costs=costs, count=spec.count,
                loss=lambda network, batch: _loss(spec, network, batch))


def _multi(spec: TaskSpec) -> np.ndarray:
    """Return the ascending positions of the rows that have two sentences or more, int64 [M]."""
    import numpy as np
    import pyarrow.compute as pc

    found = []
    for begin in range(0, spec.count, _ROWS_A_SCAN):
        positions = np.arange(begin, min(begin + _ROWS_A_SCAN, spec.count))
        num_sentences = pc.list_value_length(spec.take(positions)[f"{spec.column}.starts"]).to_numpy()
        found.append(positions[num_sentences >= 2])
    multi_M = np.concatenate(found) if found else np.zeros(0, np.int64)
    if len(multi_M) < 2:
        raise UserError(f"next-sentence prediction needs two or more rows with several sentences in '{spec.column}', "
                        f"found {len(multi_M)} in {spec.count} rows; pretrain with the task 'mlm'")
    return multi_M


def _pairs(spec: TaskSpec, multi_M: np.ndarray, positions_B: np.ndarray, epoch: int,
           ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Return the collated pairs, the labels [B] (0 is next, 1 is from another row), who has a pair [B], row ids [B]."""
    import numpy as np

    from bessemer.nn.pairs import Lists, assemble, choose, others, split_and_pair, tail_cuts

    rows = spec.take(positions_B)
    row_ids_B = rows["row_id"].to_numpy()
    ids, starts = Lists.of(rows[f"{spec.column}.ids"]), Lists.of(rows[f"{spec.column}.starts"])
    cut_B, swap_B = split_and_pair(ids, starts, row_ids_B, spec.seed, epoch)
    replaced_S = np.flatnonzero(swap_B)
    tails = spec.take(others(positions_B[replaced_S], row_ids_B[replaced_S], multi_M, spec.seed, epoch))
    tail_cut_S = tail_cuts(Lists.of(tails[f"{spec.column}.starts"]), row_ids_B[replaced_S], spec.seed, epoch)
    parts = choose(ids, cut_B, (Lists.of(tails[f"{spec.column}.ids"]), tail_cut_S, replaced_S), spec.max_length - 3)
    return assemble(parts, spec.codec.info), swap_B.astype(np.int64), cut_B > 0, row_ids_B


def _loss(spec: TaskSpec, network: torch.nn.Module, batch: Batch) -> Loss:
    """Return the sum of both mean losses, as Hugging Face's BertForPreTraining does."""
    import torch.nn.functional as F

    from bessemer.nn.masking import masked_loss

    net, inputs = cast("Network", network), batch.inputs[spec.column]
    hidden_BLD = net.encode(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    mlm_total, sums, per_row_B = masked_loss(net, hidden_BLD, inputs["masked_positions"], batch.targets["mlm"])
    paired_B = batch.present["nsp"]
    logits_P2, label_P = net.nsp_logits(net.pool(hidden_BLD))[paired_B].float(), batch.targets["nsp"][paired_B]
    losses_P = F.cross_entropy(logits_P2, label_P, reduction="none")
    per_row_B = per_row_B.clone()
    per_row_B[paired_B] += losses_P.detach()
    count = label_P.shape[0]
    sums = {**sums, "nsp_loss": (losses_P.detach().sum(), count),
            "nsp_accuracy": ((logits_P2.argmax(-1) == label_P).sum(), count)}
    return Loss(mlm_total + losses_P.sum() / max(count, 1), sums, per_row_B)
