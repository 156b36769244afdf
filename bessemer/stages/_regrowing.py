"""What changes a network's connections while it trains: sparse layers that drop their weakest connections and grow others.

Sources: SET (Mocanu et al. 2018) grows random ones, RigL (Evci et al. 2020) those with the largest gradients; the part that is replaced
falls in a half cosine, as in RigL.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from bessemer.core.adaptation import Adaptation
    from bessemer.core.config import Config
    from bessemer.core.types import Batch, Task
    from bessemer.nn.sparse import SparseLinear

    Regrow = Callable[[int, int, list[Batch]], list[tuple[torch.nn.Parameter, torch.Tensor]]]

END = 0.75


def before_step(network: torch.nn.Module, adaptation: Adaptation, regrow: Regrow | None) -> Regrow | None:
    """Return what changes the network before each step: the model's own way, then the adaptation's."""
    change = adaptation.before_step
    if change is None:
        return regrow

    def both(step: int, total: int, batches: list[Batch]) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        found = regrow(step, total, batches) if regrow is not None else []
        change(network, step, total)
        return found

    return both


def part_of(part: float, step: int, total: int) -> float:
    """Return the part of the connections that a step replaces: `part` at first, 0 from three quarters of the steps on (RigL, eq. 1)."""
    end = END * total
    return part * 0.5 * (1 + math.cos(math.pi * step / end)) if step < end else 0.0


def regrowing(network: torch.nn.Module, task: Task, model: Config | None, seed: int) -> Regrow | None:
    """Return what replaces the weakest connections of sparse layers while training, where the model asks for it.

    Args:
        network: whose sparse layers regrow.
        task: whose loss tells gradients, where the model grows by them.
        model: its settings `regrow`, `regrow_every` and `regrow_by`.
        seed: of the run.
    """
    import torch

    from bessemer.engine.job import step_seed
    from bessemer.nn.sparse import SparseLinear

    part = getattr(model, "regrow", 0.0)
    layers = [module for module in network.modules() if isinstance(module, SparseLinear)]
    if not part or not layers:
        return None
    every, by_gradient = getattr(model, "regrow_every", 1), getattr(model, "regrow_by", "random") == "gradient"

    def regrow(step: int, total: int, batches: list[Batch]) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
        fraction = part_of(part, step, total)
        if step == 0 or step % every or fraction <= 0:
            return []
        generator = torch.Generator().manual_seed(step_seed(seed, step, -1))
        seen = gradients(network, task, layers, batches) if by_gradient else [None] * len(layers)
        return [(layer.values, layer.regrow(fraction, generator, pair)) for layer, pair in zip(layers, seen, strict=True)]

    return regrow


def gradients(network: torch.nn.Module, task: Task, layers: list[SparseLinear],
              batches: list[Batch]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each layer's inputs [N, I] and the loss's gradients by its outputs [N, O] on a step's batches.

    The network is asked as it answers, without dropout and by the running statistics of its norms, so that nothing in it changes.
    """
    import torch

    inputs: dict[torch.nn.Module, list[torch.Tensor]] = {layer: [] for layer in layers}
    outputs: dict[torch.nn.Module, torch.Tensor] = {}
    slopes: dict[torch.nn.Module, list[torch.Tensor]] = {layer: [] for layer in layers}

    def note(layer: torch.nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs[layer].append(given[0].detach().reshape(-1, given[0].shape[-1]))
        outputs[layer] = output

    hooks = [layer.register_forward_hook(note) for layer in layers]
    training = network.training
    network.eval()
    try:
        for batch in batches:
            total = task.loss(network, batch).total
            for layer, slope in zip(layers, torch.autograd.grad(total, [outputs[layer] for layer in layers]), strict=True):
                slopes[layer].append(slope.reshape(-1, slope.shape[-1]))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return [(torch.cat(inputs[layer]), torch.cat(slopes[layer])) for layer in layers]
