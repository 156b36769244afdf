"""Exports that ONNX Runtime does not run: the graphs of a compress stage for OpenVINO, or the network as a torch program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bessemer.core.errors import UserError
from bessemer.core.pick import make
from bessemer.core.registry import plugin_of
from bessemer.core.run import RunContext
from bessemer.stages.compress import Limits, check, network_of, validation_rows

if TYPE_CHECKING:
    from bessemer.core.forms import Form

GRAPHS = ("onnx", "table_onnx")
# A form made of a lossy graph is held against that graph, which it should follow closely: only rounding differs.
LIMITS = Limits(min_agreement=0.95, max_accuracy_drop=0.02)


@dataclass(frozen=True)
class Made:
    """A written form, and the form of the compress stage that it must answer like."""

    form: Form
    like: str


def written(to: str, source: Path, network: Path, out: Path, run: RunContext) -> list[Made]:
    """Write the forms of an export to `openvino` or `torch`, in the order of the compress stage's.

    Args:
        to: the runtime.
        source: the compress stage's folder.
        network: the folder of the network that its graphs were made of.
        out: the folder to write to.
        run: of the stage.
    """
    from bessemer.core.forms import read_forms

    graphs = [form for form in read_forms(source) if plugin_of("predictors", form.predictor).name in GRAPHS]
    exact = next((form for form in graphs if not form.lossy), None)
    if exact is None:
        raise UserError(f"to: '{source}' holds no float graph, so nothing can be exported to {to}; give a compress stage of a network")
    if to == "torch":
        return [_torch(exact, network, out, run)]
    found = [item for form in graphs if (item := _openvino(form, source, out, run)) is not None]
    if found and found[0].like != graphs[0].name:
        run.note(f"{found[0].form.name}, made of {found[0].like}, answers in place of {graphs[0].name}")
    return found


def _torch(exact: Form, network: Path, out: Path, run: RunContext) -> Made:
    from bessemer.nn.table import is_table_network

    config = make("export", "torch")
    with run.progress("export to torch", None, "graphs"):
        plugin_of("export", config).function(config)(network_of(network, is_table_network(network)), out / "model.pt2")
    return Made(_form("torch-program", "torch_program", exact, "model.pt2", ("model.pt2",)), exact.name)


def _openvino(form: Form, source: Path, out: Path, run: RunContext) -> Made | None:
    import onnx

    from bessemer.export.openvino import UnknownOperators, convert
    from bessemer.predictors.onnx_form import ROWS_AT_ONCE

    given = str(form.predictor.file)  # type: ignore[attr-defined]
    metadata = {item.key for item in onnx.load(str(source / given), load_external_data=False).metadata_props}
    if ROWS_AT_ONCE in metadata:
        run.note(f"{form.name} is left out: its activations share a scale a batch, which only its own runtime is told; static_int8 and "
                 "dynamic_int8 with {scales: row} have none")
        return None
    file = Path(given).with_suffix(".xml").name
    with run.progress(f"export {form.name} to openvino", None, "graphs"):
        try:
            convert(source / given, out / file)
        except UnknownOperators as error:
            if not form.lossy:
                raise
            run.note(f"{form.name} is left out: {error}")
            return None
    name = form.name.replace("onnx-", "openvino-", 1)
    return Made(_form(name, "openvino", form, file, (file, Path(file).with_suffix(".bin").name)), form.name)


def _form(name: str, kind: str, like: Form, file: str, files: tuple[str, ...]) -> Form:
    from bessemer.core.forms import Form

    settings: dict[str, Any] = {"kind": kind, "file": file}
    if hasattr(like.predictor, "max_length"):
        settings["max_length"] = like.predictor.max_length
    heads = tuple(part for part in like.files if part == "heads.json")
    return Form(name=name, predictor=make("predictors", settings), files=(*files, *heads), lossy=like.lossy)


def parity(made: Sequence[Made], inputs: Mapping[str, Path], out: Path, rows: int, run: RunContext) -> dict[str, dict[str, float]]:
    """Compare each form with the graph that it was made of, on validation rows: float within 1e-4, lossy within LIMITS."""
    from bessemer.core.forms import open_form

    table, truths = validation_rows(inputs["data"], rows)
    found = {}
    for item in made:
        run.check()
        reference = open_form(inputs["compressed"], item.like).predict(table)
        answers = open_form(out, item.form.name).predict(table)
        found[item.form.name] = check(item.form, reference, answers, truths, None if run.rehearsal else LIMITS)
    return found
