"""What compress shares with those that search for a way to compress: chains of methods, and the rows that methods calibrate on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from bessemer.core.config import Config
from bessemer.core.pick import Pick
from bessemer.core.registry import plugin_of
from bessemer.core.types import Calibration

if TYPE_CHECKING:
    import numpy as np

BATCH_ROWS = 16


class _OneOrMore:
    """Says in the JSON Schema that a method may stand alone where a list of them may."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, (str, dict, Config)) else value


Chain = Annotated[tuple[Annotated[Config, Pick("compress")], ...], BeforeValidator(_several), Field(min_length=1), _OneOrMore()]
"""One method, or a list of methods each of which works on what the one before it wrote."""


def chain_names(chains: Sequence[Sequence[Config]]) -> list[str]:
    """Return a name for each chain: its kinds joined by `+`; one that comes again gets a number, from 2 on."""
    found: list[str] = []
    for chain in chains:
        name = "+".join(plugin_of("compress", method).name for method in chain)
        again = sum(other == name or other.rpartition("-")[0] == name for other in found)
        found.append(f"{name}-{again + 1}" if again else name)
    return found


def write_chain(chain: Sequence[Config], source: Path, target: Path, calibration: Calibration, scratch: Path) -> dict[str, Any]:
    """Run a chain of methods from file to file.

    Args:
        chain: the methods, in order.
        source: the float graph.
        target: the file to write.
        calibration: rows for methods that look at activations.
        scratch: a folder for what lies between two methods; left empty.

    Returns:
        Facts of the one method, or `bytes`, `bytes_before`, `lossy` of the whole and the facts of each under `steps`.
    """
    steps, given = [], source
    for index, method in enumerate(chain):
        written = target if index == len(chain) - 1 else scratch / f"{index}-{target.name}"
        steps.append(plugin_of("compress", method).function(method)(given, written, calibration))
        if given != source:
            given.unlink()
        given = written
    if len(steps) == 1:
        only: dict[str, Any] = steps[0]
        return only
    return {"bytes": steps[-1]["bytes"], "bytes_before": steps[0]["bytes_before"], "lossy": any(step["lossy"] for step in steps),
            "steps": steps}


def same_graph(source: Path, made: Path) -> bool:
    """Tell whether a method left every operator and every weight of a graph as they were."""
    import onnx
    from onnx import numpy_helper

    def operators(file: Path) -> list[str]:
        return [node.op_type for node in onnx.load(str(file), load_external_data=False).graph.node]

    def weights(file: Path) -> list[tuple[Any, ...]]:
        arrays = [numpy_helper.to_array(item) for item in onnx.load(str(file)).graph.initializer]
        return sorted((str(item.dtype), item.shape, item.tobytes()) for item in arrays)

    return operators(source) == operators(made) and weights(source) == weights(made)


def calibration_of(data: Path, rows: int, seed: int) -> Calibration:
    """Return up to `rows` evenly spaced training rows of prepared data as inputs of a graph; texts of a batch are of like length."""
    import numpy as np

    from bessemer.core.task_spec import TableSpec
    from bessemer.stages._learning import open_split

    spec = open_split(data, "train", seed)
    count = min(rows, spec.count)
    positions = np.unique(np.linspace(0, spec.count - 1, count).astype(np.int64))
    if not isinstance(spec, TableSpec):
        positions = positions[np.argsort(spec.lengths[positions], kind="stable")]

    def feeds(chosen: np.ndarray) -> dict[str, np.ndarray]:
        if isinstance(spec, TableSpec):
            found = spec.read(chosen)
            return {"numbers": np.asarray(found.numbers, np.float32), "codes": found.codes.astype(np.int64)}
        return spec.inputs(spec.take(chosen))

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(positions), BATCH_ROWS):
            yield feeds(positions[start:start + BATCH_ROWS])

    return Calibration(len(positions), batches)
