"""Guards: what would have gone wrong silently becomes an error, and overfitting an alarm."""

from __future__ import annotations

import math
from typing import Any

import torch

from bessemer.core.errors import GuardError
from bessemer.core.types import Batch, Loss

PROBE = 4096


def check_finite(loss: Loss, batch: Batch, step: int) -> float:
    """Return the loss as a float; a loss that is not finite is an error that names the rows."""
    value = float(loss.total.detach())
    if math.isfinite(value):
        return value
    rows = batch.row_ids
    if loss.per_row is not None and rows is not None and len(loss.per_row) == len(rows):
        bad = rows[~torch.isfinite(loss.per_row)]
        rows = bad if len(bad) else rows
    named = ", ".join(str(int(row)) for row in rows[:10]) if rows is not None else "unknown"
    more = f" and {len(rows) - 10} more" if rows is not None and len(rows) > 10 else ""
    raise GuardError(f"the loss is not finite ({value}) in step {step + 1}; row_id of the rows: {named}{more}; lower "
                     "learning_rate, set max_grad_norm, or look at these rows in the prepared data")


def check_gradient(norm: float, step: int, batch: Batch) -> None:
    """Raise where the gradient's norm is not finite."""
    if not math.isfinite(norm):
        rows = ", ".join(str(int(row)) for row in batch.row_ids[:10]) if batch.row_ids is not None else "unknown"
        raise GuardError(f"the gradient is not finite in step {step + 1}; row_id of the first rows: {rows}; lower learning_rate or "
                         "set max_grad_norm")


def probe(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of up to 4,096 evenly spaced values of every trainable tensor."""
    found = {}
    for name, value in network.named_parameters():
        if value.requires_grad:
            flat = value.detach().reshape(-1)
            found[name] = flat[:: max(1, len(flat) // PROBE)].clone()
    return found


def check_moved(network: torch.nn.Module, before: dict[str, torch.Tensor], learning_rate: float) -> None:
    """Raise where no trainable tensor has changed since `before`."""
    if not before:
        raise GuardError("no weight of the network is trainable, so nothing can be learnt; choose another adaptation")
    after = probe(network)
    if all(torch.equal(value, after[name]) for name, value in before.items()):
        raise GuardError(f"after the first steps not one of {len(before)} trainable tensors has moved (learning_rate is "
                         f"{learning_rate:g}); raise learning_rate")


def overfitting(validations: list[dict[str, Any]], name: str = "loss") -> dict[str, Any] | None:
    """Return the alarm: validation loss above its minimum by 5% for the last two validations while training loss fell.

    Args:
        validations: one dict a validation, with `step`, `train_loss` and `name`.
        name: which value is the validation loss.
    """
    values = [item[name] for item in validations if name in item]
    if len(values) < 3:
        return None
    lowest = min(range(len(values)), key=values.__getitem__)
    since = validations[lowest:]
    if len(since) < 3 or min(values[-2:]) <= 1.05 * values[lowest] or since[-1]["train_loss"] >= since[0]["train_loss"]:
        return None
    return {"since_step": validations[lowest]["step"], "lowest": values[lowest], "last": values[-1],
            "message": f"validation loss rose from {values[lowest]:.4f} (step {validations[lowest]['step']}) to {values[-1]:.4f} "
                       f"while training loss fell from {since[0]['train_loss']:.4f} to {since[-1]['train_loss']:.4f}"}
