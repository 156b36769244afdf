"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from bessemer.engine.config import TrainingConfig
from bessemer.engine.layers import depths
from bessemer.nn.network import Network
from bessemer.nn.sparse import SparseLinear

UNCORRECTED = 2.0**40


def make_optimizer(network: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser over the trainable parameters; vectors (biases, normalisation) are not decayed.

    Each group's `scale` is its learning rate as a multiple of the schedule's; `l1` and `l2` are what `penalise` adds.
    Equal to `torch.optim.AdamW` (Loshchilov & Hutter 2019), `torch.optim.Adam` (Kingma & Ba 2015) or `torch.optim.SGD`; without
    bias_correction the first two step by lr m / (sqrt(v) + eps), as BERT's own optimiser does.
    """
    groups = _groups(network, config)
    if config.optim == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum)
    betas = (0.9 if config.adam_beta1 is None else config.adam_beta1, 0.999 if config.adam_beta2 is None else config.adam_beta2)
    kind = torch.optim.AdamW if config.optim == "adamw" else torch.optim.Adam
    made = kind(groups, lr=config.learning_rate, betas=betas, eps=config.adam_epsilon or 1e-8, fused=True)
    for value in [item for group in made.param_groups for item in group["params"]] if config.bias_correction is False else ():
        # The corrections divide by 1 - beta^step: after so many steps by 1. One more step leaves a float32 of this size as it is.
        made.state[value] = {"step": torch.tensor(UNCORRECTED), "exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
    return made


def _groups(network: torch.nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Return the parameters by learning rate and by whether they are decayed: the trunk from the bottom up, then the heads."""
    sparse = {id(module.values) for module in network.modules() if isinstance(module, SparseLinear)}  # one-dimensional, yet weights
    heads = tuple(f"{name}." for name in network.head_names()) if isinstance(network, Network) else ()
    of_heads = 1.0 if config.head_learning_rate is None else config.head_learning_rate / config.learning_rate
    depth = depths(network, "layer_decay") if config.layer_decay < 1 else {}
    groups: dict[tuple[bool, int, bool], dict[str, Any]] = {}
    for name, item in network.named_parameters():
        if not item.requires_grad:
            continue
        of_head, decayed, down = name.startswith(heads), item.ndim >= 2 or id(item) in sparse, depth.get(name, 0)
        scale = of_heads if of_head else config.layer_decay**down
        group = groups.setdefault((of_head, -down, not decayed), {"params": [], "scale": scale})
        group["params"].append(item)
        group.update({key: getattr(config, key) if decayed else 0.0 for key in ("weight_decay", "l1", "l2")})
    return [groups[key] for key in sorted(groups)]


@torch.no_grad()
def penalise(optimizer: torch.optim.Optimizer) -> None:
    """Add to the gradients what the penalties l2/2 w^2 and l1 |w| have: l2 w + l1 sign(w); what has no gradient gets none."""
    for group in optimizer.param_groups:
        for value in group["params"] if group["l1"] or group["l2"] else ():
            if value.grad is not None:
                value.grad.add_(value, alpha=group["l2"]).add_(value.sign(), alpha=group["l1"])


def forget(optimizer: torch.optim.Optimizer, value: torch.nn.Parameter, places: torch.Tensor) -> None:
    """Set what the optimiser keeps of a parameter to zero at some places of it (momentum, squares of gradients)."""
    for kept in optimizer.state.get(value, {}).values():
        if isinstance(kept, torch.Tensor) and kept.shape == value.shape:
            kept.view(-1)[places] = 0


def make_schedule(config: TrainingConfig, total_steps: int) -> Callable[[int], float]:
    """Return step (from 0) -> learning rate: a linear warm-up, then the decay that the config names.

    The warm-up takes ceil(warmup_ratio x total) steps and the decay reaches zero at `total_steps`, as in transformers.
    """
    warmup = min(math.ceil(config.warmup_ratio * total_steps), total_steps - 1)  # a single step is not spent on a rate of zero
    kind, peak = config.lr_scheduler_type, config.learning_rate

    def rate(step: int) -> float:
        if step < warmup:
            return peak * step / max(1, warmup)
        if kind == "constant":
            return peak
        done = (step - warmup) / max(1, total_steps - warmup)
        if kind == "cosine":
            return peak * max(0.0, 0.5 * (1 + math.cos(math.pi * done)))
        return peak * max(0.0, 1 - done)

    return rate
