"""compress: export the trained network and make smaller, faster forms of it; a form that answers otherwise than allowed is an error."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from bessemer.core.config import Config
from bessemer.core.errors import GuardError, UserError
from bessemer.core.pick import Pick, make
from bessemer.core.recipe import StageConfig
from bessemer.core.registry import plugin_of, plugins, register
from bessemer.core.run import Cost, RunContext
from bessemer.stages._budget_config import Budget, Search
from bessemer.stages._checks import write_checks
from bessemer.stages._compressing import Chain, calibration_of, chain_names, same_graph, write_chain
from bessemer.stages._tasks import TASK

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from bessemer.core.forms import Form
    from bessemer.core.types import Answer

FLOAT, INT8 = "onnx-float32", "onnx-int8"
COPIED = ("schema.json", "tokenizer.json", "tokenizer_config.json", "heads.json", TASK)
REHEARSED_ROWS = 32
SEARCHED = "search:3"
"""Revision of the search: raised where it would choose among other candidates."""
CHANCE = 1.645
"""Standard errors that a limit may be missed by on so few rows: the one-sided 95% bound."""


class Compress(StageConfig):
    """Export and compression of a fine-tuned network."""

    needs: ClassVar[tuple[str, ...]] = ("data", "model")

    data: str = "prepare"
    """The prepared data; its validation split decides whether a form may be used."""
    model: str = "finetune"
    """The trained network."""
    export: Annotated[Config, Pick("export")] = Field(default_factory=lambda: make("export", "onnx"))
    """How the network becomes a graph."""
    methods: tuple[Chain, ...] | None = None
    """How the graph becomes smaller, a form for each: a method, or a list of methods that follow one another (`[dynamic_int8,
    sparse_storage]`). By default dynamic_int8 for text, nothing for tables."""
    calibration_rows: Annotated[int, Field(ge=1)] = 256
    """Training rows at most that show a method what the activations look like."""
    max_accuracy_drop: Annotated[float, Field(ge=0, le=1)] = 0.01
    """What a lossy form may lose on the validation split against the trained network: accuracy of labels, R² of numbers. Of labels it must
    lose more than chance explains: the lower end of the one-sided 95% interval is held against this limit and the next."""
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Part of the validation rows on which a lossy form must give the trained network's label."""
    rows: Annotated[int, Field(ge=1)] = 2000
    """Validation rows that are compared at most."""
    budget: Budget | None = None
    """What the delivered form may cost; with it, smaller networks and all methods are searched for one that meets it. The choice
    depends on measured latencies, and so on the machine."""
    search: Search | None = None
    """How it is searched, with a budget alone."""

    @model_validator(mode="after")
    def _effective(self) -> Compress:
        if plugin_of("export", self.export).name in ("openvino", "torch"):
            raise ValueError("export: methods of compression work on ONNX graphs; say to: openvino or to: torch in the export stage")
        if self.search is not None and self.budget is None:
            raise ValueError("search has no effect without a budget; give budget: {size_mb: …, latency_ms: …, accuracy_drop: …}")
        for name in ("max_accuracy_drop", "min_agreement", "calibration_rows"):  # a resolved recipe names the defaults too
            if self.budget is not None and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect with a budget, which limits accuracy_drop itself; remove it")
        return self


    def outside(self) -> tuple[Path | str, ...]:
        """Return, of a search, its revision and those of the methods that it may try; what a recipe names is part of the key anyway."""
        if self.budget is None:
            return ()
        return (SEARCHED, *(f"{name}:{item.revision}" for name, item in sorted(plugins("compress").items())))


@dataclass(frozen=True)
class Limits:
    """How far a lossy form may be from the trained network."""

    min_agreement: float
    max_accuracy_drop: float


class Otherwise(GuardError):
    """A lossy form answers otherwise than it may.

    Attributes:
        how: how far, in words.
    """

    def __init__(self, message: str, how: str) -> None:
        super().__init__(message)
        self.how = how


@register("stages", "compress")
def compress(config: Compress, inputs: Mapping[str, Path], out: Path, run: RunContext) -> dict[str, Any]:
    """Write the float graph, the compressed graphs, the preprocessing and `predictor.json`; check each against the network."""
    from bessemer.core.forms import write_forms

    network_folder = inputs["model"]
    if not (network_folder / "model.safetensors").is_file() or not (network_folder / "predictor.json").is_file():
        raise UserError(f"'{network_folder}' holds no fine-tuned network, so there is nothing to compress; give a finetune stage of a "
                        "network")
    if config.budget is not None:
        from bessemer.stages._budget import search

        return search(config, inputs, out, run)
    forms, methods = graph_forms(config, network_folder, inputs["data"], out, run)
    write_forms(out, tuple([*forms[1:], forms[0]]))
    table_rows, truths = validation_rows(inputs["data"], min(REHEARSED_ROWS, config.rows) if run.rehearsal else config.rows)
    limits = Limits(config.min_agreement, config.max_accuracy_drop)
    reference = timed_predictions(network_folder, None, table_rows, run)
    parity = {}
    for item in forms:
        found = timed_predictions(out, item.name, table_rows, run)
        parity[item.name] = check(item, reference, found, truths, None if run.rehearsal else limits)
    write_checks(out, table_rows)
    return {"methods": methods, "parity": parity, "rows": table_rows.num_rows}


def graph_forms(config: Compress, network_folder: Path, data: Path, out: Path, run: RunContext) -> tuple[list[Form], dict[str, Any]]:
    """Write preprocessing, the float graph and a graph for each chain of methods; return the forms, the float one first, and facts."""
    from bessemer.core.forms import Form
    from bessemer.nn.table import is_table_network

    table = is_table_network(network_folder)
    copy_files(network_folder, out)
    with run.progress("export", None, "graphs"):
        plugin_of("export", config.export).function(config.export)(network_of(network_folder, table), out / "model.onnx")
    run.check()

    def form(name: str, file: str, lossy: bool) -> Form:
        files = (file, "heads.json") if (out / "heads.json").is_file() else (file,)
        return Form(name=name, predictor=graph_predictor(network_folder, table, file), files=files, lossy=lossy)

    forms, methods = [form(FLOAT, "model.onnx", False)], {}
    chains = config.methods if config.methods is not None else _methods(table)
    for name, chain in zip(chain_names(chains), chains, strict=True):
        file = f"model_{name}.onnx"
        rows = min(REHEARSED_ROWS, config.calibration_rows) if run.rehearsal else config.calibration_rows
        with run.progress(f"compress ({name})", None, "graphs"):
            calibration = calibration_of(data, rows, run.seed)
            methods[name] = write_chain(chain, out / "model.onnx", out / file, calibration, run.scratch)
        if same_graph(out / "model.onnx", out / file):
            (out / file).unlink()
            methods[name]["left_out"] = True
            run.note(f"{name} changed nothing of this network, so there is no such form: it has no weights of the kind that it changes")
            continue
        forms.append(form(INT8 if name == "dynamic_int8" else f"onnx-{name}", file, bool(methods[name]["lossy"])))
        run.check()
    return forms, methods


def network_of(folder: Path, table: bool) -> torch.nn.Module:
    """Return the network of a trained folder, in evaluation mode."""
    from bessemer.nn.checkpoint import answering, load_network
    from bessemer.nn.table import load_table_network

    if table:
        return load_table_network(folder).eval()
    return load_network(folder, answering(folder)).eval()


def graph_predictor(folder: Path, table: bool, file: str) -> Config:
    """Return what opens an ONNX graph of a network."""
    from bessemer.core.schema import Schema

    if table:
        return make("predictors", {"kind": "table_onnx", "file": file})
    length = int(Schema.load(folder).texts()[0].modality["max_length"])
    return make("predictors", {"kind": "onnx", "file": file, "max_length": length})


def _methods(table: bool) -> tuple[tuple[Config, ...], ...]:
    """Return the methods where the recipe names none: a table's network is small already, and its numbers need their digits."""
    return () if table else ((make("compress", "dynamic_int8"),),)


def copy_files(source: Path, out: Path) -> None:
    """Copy what turns raw rows into inputs from one model folder to another."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    if (source / "columns").is_dir():
        shutil.copytree(source / "columns", out / "columns", dirs_exist_ok=True)


def copy_weights(form: Form, source: Path, out: Path) -> None:
    """Copy the files of a form's weights from one folder to another."""
    from bessemer.measure.size import weights

    for file in weights(source, form):
        place = out / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def validation_rows(data: Path, limit: int) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Return up to `limit` evenly spaced rows of the validation split: raw inputs, and each target's truth as metrics take it."""
    import numpy as np

    from bessemer.data.shards import ShardReader

    reader = ShardReader(data / "validation")
    return raw_rows(data, "validation", np.unique(np.linspace(0, len(reader) - 1, min(limit, len(reader))).astype(np.int64)))


def raw_rows(data: Path, split: str, positions: np.ndarray) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Return rows of a split by position: raw inputs, and each target's truth as metrics take it."""
    from bessemer.core.schema import Role, Schema
    from bessemer.data.shards import ShardReader

    schema, reader = Schema.load(data), ShardReader(data / split)
    truths = {column.name: reader.rows(column.name, positions) for column in schema.by_role(Role.TARGET)}
    return reader.take(positions, [column.name for column in schema.by_role(Role.INPUT)]), truths


def timed_predictions(folder: Path, name: str | None, table: pa.Table, run: RunContext) -> dict[str, Answer]:
    """Predict rows by a form and tell a rehearsal what that costs."""
    from bessemer.core.forms import open_form

    started = time.perf_counter()
    predictor = open_form(folder, name)
    with run.progress(f"check {predictor.form}", table.num_rows, "rows") as progress:
        opened = time.perf_counter()
        found = predictor.predict(table)
        progress.advance(table.num_rows)
    run.cost(Cost(f"open {predictor.form}", opened - started, 1, 1))
    run.cost(Cost(f"check {predictor.form}", time.perf_counter() - opened, table.num_rows,
                  _full_rows(run, table.num_rows)))
    return found


def _full_rows(run: RunContext, rows: int) -> int:
    splits = run.input_manifests["data"].facts.get("rows", {}) if run.rehearsal else {}
    return max(rows, min(2000, int(splits.get("validation", rows))))


def check(form: Form, reference: Mapping[str, Answer], found: Mapping[str, Answer], truths: Mapping[str, np.ndarray],
          limits: Limits | None) -> dict[str, float]:
    """Compare a form's answers with the trained network's: equal within 1e-4, or within the limits where it is lossy."""
    import numpy as np

    from bessemer.evaluate.score import headline, larger_is_better, measure
    from bessemer.export.parity import agreement, same_answers

    if not form.lossy:
        what = f"answers of the form {form.name} against the trained network's"
        return {"largest_difference": same_answers(reference, found, what, truths=truths)}
    parity: dict[str, float] = {}
    for target, answer in reference.items():
        same = agreement(answer.values, found[target].values) if answer.kind in ("label", "tags") else 1.0
        metric = headline(answer.kind)[0]
        before, after = (measure(truths[target], item)[metric] for item in (answer, found[target]))
        drop = before - after if larger_is_better(metric, answer.kind) else (after - before) / max(abs(before), 1e-12)
        name = f"{target} " if len(reference) > 1 else ""
        parity.update({f"{name}agreement": same, f"{name}{metric}_drop": drop,
                       f"{name}largest_difference": float(np.abs(answer.values - found[target].values).max())})
        # of few rows a single label is more than the limits: what chance alone explains is let pass
        chance = CHANCE * math.sqrt(max(0.0, 1 - same) / max(1, len(truths[target]))) if answer.kind == "label" else 0.0
        if limits is not None and (same < limits.min_agreement - chance or drop > limits.max_accuracy_drop + chance):
            how = (f"the same label on {same:.1%} of {len(truths[target])} validation rows (min_agreement {limits.min_agreement:.1%}), "
                   f"{metric} worse by {drop:.4f} (max_accuracy_drop {limits.max_accuracy_drop})")
            raise Otherwise(f"the form {form.name} answers otherwise than the trained network: {how}; leave this method out of "
                            "compress.methods, or allow more", how)
    return parity
