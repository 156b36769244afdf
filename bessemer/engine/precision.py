"""Mixed precision: products of matrices in bfloat16, sums, weights and the optimiser in float32 (Micikevicius et al. 2018; Kalamkar et al.
2019, https://arxiv.org/abs/1905.12322).

A bfloat16 has float32's range, so losses need no scaling. It pays only where the processor multiplies such numbers itself.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from bessemer.core.errors import UserError
from bessemer.core.types import Batch, Loss, Task

NATIVE = ("avx512_bf16", "amx_bf16")


def native(device: str) -> bool:
    """Return whether products in bfloat16 are this machine's own kind, and so faster than float32's."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
    told = getattr(torch.cpu, "get_capabilities", None)  # since torch 2.13; before it the tests of single features
    if told is not None:
        return any(told().get(name, False) for name in NATIVE)
    older = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(one is not None and one() for one in older)


def mixed(network: nn.Module, wanted: bool | str) -> str | None:
    """Return the kind of device on which the network's products are computed in bfloat16, or None.

    Args:
        network: what is trained.
        wanted: the config's `bf16`. `true` for a network that cannot is a UserError.
    """
    able = getattr(network, "bf16", False)
    if wanted is True and not able:
        raise UserError(f"bf16 is true, but a {type(network).__name__} is computed in float32 alone (networks of BERT's kind can do both); "
                        "remove the key or set bf16: auto")
    if not wanted or not able:
        return None
    device = next(network.parameters()).device.type
    return device if wanted is True or native(device) else None


def in_bfloat16(task: Task, device: str) -> Task:
    """Return the task with a loss whose products of matrices are computed in bfloat16."""
    exact = task.loss

    def loss(network: nn.Module, batch: Batch) -> Loss:
        with torch.autocast(device, dtype=torch.bfloat16, cache_enabled=False):
            return exact(network, batch)

    return replace(task, loss=loss)
