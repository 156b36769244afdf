"""A torch program (`torch.export`, .pt2): the network's operators and weights in one file, for those who serve with torch.

It runs without the classes of Bessemer and can be compiled ahead of time by `torch.export` tools.
https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.config import Config
from bessemer.core.registry import register

if TYPE_CHECKING:
    import torch


class TorchProgram(Config):
    """There is nothing to set."""


@register("export", "torch")
def torch_program(_config: TorchProgram) -> Callable[[Any, Path], None]:
    """Return (network in evaluation mode, file to write) -> None; the same weights give the same bytes."""

    def write(network: torch.nn.Module, file: Path) -> None:
        import io

        import torch

        from bessemer.export.onnx import example

        if network.training:
            raise ValueError("the network is in training mode, so dropout would be exported; call eval() first")
        inputs, free, _ = example(network)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (), kwargs=inputs, dynamic_shapes=free)
            # The tracer notes where in the source each operator comes from, and keeps the example as a pickle: neither is shipped.
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)
            program.example_inputs = None  # type: ignore[assignment]
            content = io.BytesIO()
            torch.export.save(program, content)
        file.write_bytes(content.getvalue())

    return write
