"""Averages of the weights along a training: stochastic weight averaging and exponential moving averages.

Polyak & Juditsky 1992 (https://doi.org/10.1137/0330046); Izmailov et al. 2018 (https://arxiv.org/abs/1803.05407).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from bessemer.core.errors import UserError
from bessemer.engine.checkpoint import Tensors
from bessemer.engine.config import Averaging

EMA_DECAY = 0.999


class Averages:
    """The average so far; equal to `torch.optim.swa_utils.AveragedModel` updated after the same steps.

    Args:
        config: which average, and of which steps.
        trained: the parameters, by name.
        total: steps of the whole training.

    Attributes:
        values: the averages, by name; empty before the first.
        start: the step after which weights are averaged.
    """

    def __init__(self, config: Averaging, trained: dict[str, torch.nn.Parameter], total: int) -> None:
        self.values: Tensors = {}
        self.start = min(int(config.start * total), total - 1)
        self._config, self._trained = config, trained
        self._mix = get_swa_multi_avg_fn() if config.kind == "swa" else get_ema_multi_avg_fn(config.decay or EMA_DECAY)

    @torch.no_grad()
    def add(self, step: int) -> None:
        """Take in the weights after `step` steps, where it is one of those that count."""
        since = step - self.start - 1
        if since < 0 or since % self._config.every:
            return
        values: list[torch.Tensor] = [value.detach() for value in self._trained.values()]
        if not self.values:
            self.values = {name: value.detach().clone() for name, value in self._trained.items()}
            return
        count = since // self._config.every
        self._mix([self.values[name] for name in self._trained], values, count)  # type: ignore[no-untyped-call]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network its averages, and its own weights back afterwards."""
        own = {name: value.detach().clone() for name, value in self._trained.items()} if self.values else {}
        self._put(self.values)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, tensors: Tensors) -> None:
        for name, value in tensors.items():
            self._trained[name].copy_(value)


def check_averaging(network: torch.nn.Module, changing: bool) -> None:
    """Refuse networks whose averaged weights would be no network: `changing` where its connections are replaced while it trains."""
    if changing:
        raise UserError("averaging: this training changes which connections the network has, so weights of different steps have no mean; "
                        "remove averaging, or the adaptation sparse or the model's regrow")
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        raise UserError("averaging: the network has batch normalisation, whose statistics would be those of other weights; set "
                        "batch_norm: false or remove averaging")
