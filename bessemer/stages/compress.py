"""compress: export the trained network and make smaller, faster forms of it; a form that answers otherwise than allowed is an error."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import Pick, make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import plugin_of, register
from bessemer.core.run import Cost, RunContext

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

FLOAT, INT8 = "onnx-float32", "onnx-int8"
COPIED = ("schema.json", "tokenizer.json", "tokenizer_config.json")
REHEARSED_ROWS = 32


class Compress(StageConfig):
    """Export and compression of a fine-tuned network."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model")

    data: str = "prepare"
    """The prepared data; its validation split decides whether a form may be used."""
    model: str = "finetune"
    """The trained network."""
    export: Annotated[Config, Pick("export")] = Field(default_factory=lambda: make("export", "onnx"))
    """How the network becomes a graph."""
    methods: tuple[Annotated[Config, Pick("compress")], ...] = Field(
        default_factory=lambda: (make("compress", "dynamic_int8"),))
    """How the graph becomes smaller."""
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Accuracy on the validation split that a lossy form may lose against the trained network."""
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Part of the validation rows on which a lossy form must give the trained network's label."""
    rows: Annotated[int, Field(ge=1)] = 2000
    """Validation rows that are compared at most."""


@dataclass(frozen=True)
class Limits:
    """How far a lossy form may be from the trained network."""

    min_agreement: float
    max_accuracy_drop: float


@register("stages", "compress")
def compress(config: Compress, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write the float graph, the compressed graphs, the preprocessing and `predictor.json`; check each against the network."""
    from bessemer.core.forms import Form, write_forms
    from bessemer.core.schema import Role, Schema
    from bessemer.nn.checkpoint import load_network

    network_folder = inputs["model"]
    if not (network_folder / "model.safetensors").is_file() or not (network_folder / "predictor.json").is_file():
        raise UserError(f"'{network_folder}' holds no fine-tuned network, so there is nothing to compress; give a finetune stage of a "
                        "network")
    schema = Schema.load(network_folder)
    length = int(schema.only(Role.INPUT, "text").modality["max_length"])
    copy_files(network_folder, out)
    with run.progress("export", None, "graphs"):
        network = load_network(network_folder, ("classification",), schema.by_role(Role.TARGET)[0].labels)
        plugin_of("export", config.export).function(config.export)(network.eval(), out / "model.onnx")
    run.check()

    def form(name: str, file: str, lossy: bool) -> Form:
        predictor = make("predictors", {"kind": "onnx", "file": file, "max_length": length})
        return Form(name=name, predictor=predictor, files=(file,), lossy=lossy)

    forms = [form(FLOAT, "model.onnx", False)]
    methods = {}
    for method in config.methods:
        chosen = plugin_of("compress", method)
        file = f"model_{chosen.name}.onnx"
        with run.progress(f"compress ({chosen.name})", None, "graphs"):
            methods[chosen.name] = chosen.function(method)(out / "model.onnx", out / file)
        forms.append(form(INT8 if chosen.name == "dynamic_int8" else f"onnx-{chosen.name}", file, True))
        run.check()
    write_forms(out, tuple([*forms[1:], forms[0]]))
    table, truth = validation_rows(inputs["data"], min(REHEARSED_ROWS, config.rows) if run.rehearsal else config.rows)
    limits = Limits(config.min_agreement, config.max_accuracy_drop)
    reference = timed_predictions(network_folder, None, table, run)
    parity = {}
    for item in forms:
        found = timed_predictions(out, item.name, table, run)
        parity[item.name] = check(item.name, item.lossy, reference, found, truth, None if run.rehearsal else limits)
    return {"methods": methods, "parity": parity, "rows": len(truth)}


def copy_files(source: Path, out: Path) -> None:
    """Copy what turns raw rows into inputs from one model folder to another."""
    for name in COPIED:
        shutil.copyfile(source / name, out / name)
    shutil.copytree(source / "columns", out / "columns", dirs_exist_ok=True)


def validation_rows(data: Path, limit: int) -> tuple[pa.Table, np.ndarray]:
    """Return up to `limit` evenly spaced rows of the validation split: raw inputs, and codes int [N]."""
    import numpy as np

    from bessemer.core.schema import Role, Schema
    from bessemer.data.shards import ShardReader

    schema = Schema.load(data)
    reader = ShardReader(data / "validation")
    positions = np.unique(np.linspace(0, len(reader) - 1, min(limit, len(reader))).astype(np.int64))
    table = reader.take(positions)
    return (table.select([column.name for column in schema.by_role(Role.INPUT)]),
            table.column(schema.by_role(Role.TARGET)[0].name).to_numpy())


def timed_predictions(folder: Path, name: str | None, table: pa.Table, run: RunContext) -> np.ndarray:
    """Predict rows by a form and tell a rehearsal what that costs."""
    from bessemer.core.forms import open_form

    started = time.perf_counter()
    predictor = open_form(folder, name)
    with run.progress(f"check {predictor.form}", table.num_rows, "rows") as progress:
        opened = time.perf_counter()
        found = predictor.predict(table).probabilities
        progress.advance(table.num_rows)
    run.cost(Cost(f"open {predictor.form}", opened - started, 1, 1))
    run.cost(Cost(f"check {predictor.form}", time.perf_counter() - opened, table.num_rows,
                  _full_rows(run, table.num_rows)))
    return found


def _full_rows(run: RunContext, rows: int) -> int:
    splits = run.input_manifests["data"].facts.get("rows", {}) if run.rehearsal else {}
    return max(rows, min(2000, int(splits.get("validation", rows))))


def check(name: str, lossy: bool, reference: np.ndarray, found: np.ndarray, truth: np.ndarray,
          limits: Limits | None) -> dict[str, float]:
    """Compare a form's probabilities with the trained network's: equal within 1e-4, or within the limits where it is lossy."""
    import numpy as np

    from bessemer.export.parity import agreement, assert_close

    same = agreement(reference, found)
    largest = float(np.abs(reference - found).max())
    if not lossy:
        assert_close(reference, found, 1e-4, f"probabilities of the form {name} against the trained network's")
        return {"agreement": same, "largest_difference": largest}
    drop = float((reference.argmax(1) == truth).mean() - (found.argmax(1) == truth).mean())
    if limits is not None and (same < limits.min_agreement or drop > limits.max_accuracy_drop):
        raise GuardError(f"the form {name} answers otherwise than the trained network: the same label on {same:.1%} of {len(truth)} "
                         f"validation rows (min_agreement {limits.min_agreement:.1%}), accuracy lower by {drop:.4f} "
                         f"(max_accuracy_drop {limits.max_accuracy_drop}); leave this method out, or allow more")
    return {"agreement": same, "accuracy_drop": drop, "largest_difference": largest}
