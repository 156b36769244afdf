"""OpenVINO: a trained network, or an ONNX graph, as a graph (.xml) and its weights (.bin), which OpenVINO runs without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bessemer.core.config import Config
from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of, register

if TYPE_CHECKING:
    import torch


class Openvino(Config):
    """How weights are stored."""

    weights: Literal["float32", "float16"] = "float32"
    """float16 stores them in half the bytes; they are float32 again when the graph is loaded."""


@register("export", "openvino")
def openvino_graph(config: Openvino) -> Callable[[Any, Path], None]:
    """Return (network in evaluation mode, file to write) -> None: weights lie beside it (`.bin`); the same network gives the same bytes."""

    def write(network: torch.nn.Module, file: Path) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            graph = Path(folder) / "model.onnx"
            onnx = make("export", "onnx")
            plugin_of("export", onnx).function(onnx)(network, graph)
            convert(graph, file, config.weights == "float16")

    return write


class UnknownOperators(UserError):
    """A graph has operators that OpenVINO does not know."""


def convert(source: Path, file: Path, halve: bool = False) -> None:
    """Write an ONNX graph as OpenVINO's. Quantized graphs of the kinds static_int8, mixed_int8 and float16 stay quantized.

    Args:
        source: the ONNX graph.
        file: the graph to write; its weights get the suffix `.bin`.
        halve: store float weights as float16.

    Raises:
        UnknownOperators: where OpenVINO cannot read the graph.
    """
    import re
    import tempfile

    try:
        import openvino
    except ImportError:
        raise UserError("an export to OpenVINO needs the package; run: pip install 'bessemer[openvino]'") from None
    try:
        graph = openvino.Core().read_model(str(source))
    except RuntimeError as error:
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        raise UnknownOperators(f"'{source.name}' has operators that OpenVINO does not know ({reason.strip()[:200]}); export it to "
                               "onnx") from None
    for index, node in enumerate(graph.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{index}")  # names of its own count on from graph to graph in a process
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.xml"
        openvino.save_model(graph, str(made), compress_to_fp16=halve)
        text = re.sub(r"\s*<rt_info>\s*<info name.*?</rt_info>", "", made.read_text(encoding="utf-8"), flags=re.DOTALL)
        file.with_suffix(".bin").write_bytes(made.with_suffix(".bin").read_bytes())
        file.write_text(text, encoding="utf-8")
