"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from bessemer.engine.config import TrainingConfig
from bessemer.nn.network import Network
from bessemer.nn.sparse import SparseLinear


def make_optimizer(network: torch.nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser over the trainable parameters; vectors (biases, normalisation) are not decayed.

    Each group's `scale` is its learning rate as a multiple of the schedule's.
    Equal to `torch.optim.AdamW` (bias correction on, eps 1e-8; Loshchilov & Hutter 2019) or `torch.optim.SGD`.
    """
    sparse = {id(module.values) for module in network.modules() if isinstance(module, SparseLinear)}  # one-dimensional, yet weights
    heads = tuple(f"{name}." for name in network.head_names()) if isinstance(network, Network) else ()
    scale = 1.0 if config.head_learning_rate is None else config.head_learning_rate / config.learning_rate
    groups: list[dict[str, Any]] = []
    for of_head in (False, True):
        chosen = [item for name, item in network.named_parameters() if item.requires_grad and name.startswith(heads) == of_head]
        for decayed in (True, False):
            part = [item for item in chosen if (item.ndim >= 2 or id(item) in sparse) == decayed]
            groups.append({"params": part, "scale": scale if of_head else 1.0, "weight_decay": config.weight_decay if decayed else 0.0})
    groups = [group for group in groups if group["params"]]
    if config.optim == "sgd":
        momentum = 0.9 if config.momentum is None else config.momentum
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum)
    betas = (0.9 if config.adam_beta1 is None else config.adam_beta1, 0.999 if config.adam_beta2 is None else config.adam_beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, fused=True)


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
